"""How long each word of a line is: a part for each word, and their lengths in the order of the line.

    palm run examples/scatter/words.py --workers 2
    palm call words.count "the quick brown fox"
"""

from palm import ScatterGatherServer, run_server


class Words(ScatterGatherServer):
    def scatter(self, line):
        """A part for each word; an empty line has one that is empty."""
        yield from line.split() or [b""]

    def count(self, word):
        return b"%s %d" % (word, len(word))

    def gather(self, results):
        return b", ".join(results)


if __name__ == "__main__":
    run_server(Words, "words", ["count"])
