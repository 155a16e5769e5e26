"""A source: numbers go to the branch that is meant for them, those that are no numbers nowhere."""

from palm import SourceServer, run_server


class Numbers(SourceServer):
    outputs = {"sort": ["even", "odd"]}  # a route with other branches behind it is refused

    def sort(self, message):
        if not message.isdigit():
            return None  # filtered out: the message ends here, without a result
        return ("even" if int(message) % 2 == 0 else "odd"), message

    def copy(self, message):
        return message  # to every branch


if __name__ == "__main__":
    run_server(Numbers, "numbers", ["sort", "copy"])
