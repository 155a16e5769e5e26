"""Functions that fail: tried again, limited in time, run at most once, and given typed payloads."""

import asyncio
import dataclasses
import random

import palm
from palm import RegisteredServer, run_server


@dataclasses.dataclass
class Transfer:
    account: str
    amount: int


class Bank(RegisteredServer):
    @palm.function(retries=9, backoff=0.02, retry_on=ConnectionError)
    def rate(self, currency: str) -> float:
        """Asks a service that is often away: it is asked again, and the caller notices nothing."""
        if random.random() < 0.4:
            raise ConnectionError("the exchange does not answer")
        return {"EUR": 1.0, "USD": 1.1}[currency]

    @palm.function(timeout=0.5)
    async def audit(self, account: str) -> str:
        """One account takes for ever: its message fails after half a second, the others do not wait for it."""
        await asyncio.sleep(3600 if account == "endless" else 0.01)
        return f"{account} is in order"

    @palm.function(at_most_once=True)
    def pay(self, transfer: Transfer) -> str:
        """Must not be done twice, even if that means not to know."""
        if transfer.amount <= 0:
            raise ValueError(f"{transfer.amount} is no amount to pay")
        return f"{transfer.account} gets {transfer.amount}"


if __name__ == "__main__":
    run_server(Bank, "bank", ["rate", "audit", "pay"])
