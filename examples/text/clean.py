"""First stage of the text example: one line of text to lower-case words with single spaces between them."""

import re

from palm import RegisteredServer, run_server


class Clean(RegisteredServer):
    def line(self, message):
        words = re.findall(r"[^\W_]+(?:'[^\W_]+)?", message.decode("utf-8", "replace").lower())
        return " ".join(words).encode()


if __name__ == "__main__":
    run_server(Clean, "clean", ["line"])
