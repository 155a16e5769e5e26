"""The servers of these scenarios: functions that fail by chance, and one that must not run twice."""

import random

import palm
from palm import RegisteredServer


class Flaky(RegisteredServer):
    @palm.function(retries=30, backoff=0.05, retry_on=ConnectionError)
    def often(self, message):
        if random.random() < 0.3:
            raise ConnectionError("away")
        return message

    @palm.function(at_most_once=True)
    def pay(self, message):
        return message


class Front(RegisteredServer):
    def check(self, message):
        return message
