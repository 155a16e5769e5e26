"""What becomes of errors: `python errors.py`, with `palm run bank.py` beside it."""

from palm import Client, HandlerFailed, MessageFailed


def main(client):
    said = []
    for result in client.map([b"EUR", b"USD", b"XXX"], "bank.rate", ordered=True, errors="yield"):
        said.append(f"{result.kind}: {result.text}" if isinstance(result, HandlerFailed) else result.decode())
    for payload in (b'{"account": "ann", "amount": 5}', b'{"account": "ann", "amount": -5}', b'{"account": "ann"}'):
        try:
            said.append(client.call("bank.pay", payload).decode())
        except HandlerFailed as error:
            said.append(f"{error.kind} in {error.function}: {error.text}")
        except MessageFailed as error:
            said.append(str(error))
    job = client.job([b"ann", b"endless", b"bob"], "bank.audit", errors="skip")
    said += sorted(result.decode() for result in client.submit(job))
    return [*said, str(job.ledger)]


if __name__ == "__main__":
    with Client() as client:
        for line in main(client):
            print(line)
