"""Two versions of one server, for a rolling upgrade: the new one answers in another schema, and reads both."""

import json

from palm import RegisteredServer, run_server


class Old(RegisteredServer):
    def hello(self, message):
        return b"hello " + message


class New(RegisteredServer):
    """Takes plain text, as the old one did, or JSON; answers in JSON."""

    def hello(self, message):
        name = json.loads(message)["name"] if message.startswith(b"{") else message.decode()
        return json.dumps({"greeting": "hello", "name": name}).encode()


if __name__ == "__main__":
    run_server(New, "greet", ["hello"])
