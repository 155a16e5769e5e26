"""Looks words up: `python ask.py WORD...`, beside search.py."""

import sys

from palm import Client


def main(client, words):
    answers = list(client.map([word.encode() for word in words], "search.find", ordered=True))
    for word, answer in zip(words, answers, strict=True):
        print(f"{word}: {answer.decode()}")
    return answers


if __name__ == "__main__":
    with Client() as client:
        main(client, sys.argv[1:] or ["harbour", "boats"])
