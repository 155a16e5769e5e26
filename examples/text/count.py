"""Second stage of the text example: how often each word is in a line, as `word=count` in order of the words."""

from collections import Counter

from palm import RegisteredServer, run_server


class Count(RegisteredServer):
    def words(self, message):
        counts = Counter(message.decode().split())
        return " ".join(f"{word}={counts[word]}" for word in sorted(counts)).encode()


if __name__ == "__main__":
    run_server(Count, "count", ["words"])
