"""Golden traces: what the nodes say to each other, kept as text. A change of the protocol is seen here as a diff.

    python -m tests.golden.test_golden        writes them anew; read the diff before it is committed
"""

from __future__ import annotations

from pathlib import Path

from tests.golden.exchange import Exchange

TRACE = Path(__file__).with_name("two_stages_one_retry.txt")
SECOND = 1_000_000_000


def two_stages_one_retry() -> str:
    """The first results are lost on their way to the client, who asks again after 5 s and is answered from memory."""
    lines = Exchange(loses=lambda frame: frame == 1).run(7 * SECOND)
    return "\n".join(lines) + "\n"


def test_two_stages_and_one_retry_go_as_written() -> None:
    """Greeting, demand, two stages, a loss, the retry after 5 s answered from memory, and the end of the job."""
    assert two_stages_one_retry().splitlines() == TRACE.read_text().splitlines()


def test_the_trace_shows_what_it_is_for() -> None:
    """One loss, one second attempt, user code once at each stage, three results."""
    text = TRACE.read_text()
    assert text.count("loses results") == 1 and text.count("attempt 2") == 6
    assert text.count("user code ended") == 2 and text.count("the job has ended") == 1
    assert [text.count(f"-> deliver {result}") for result in ("#0 b'6'", "#1 b'3'", "#2 b'5'")] == [1, 1, 1]


def test_without_a_loss_nothing_is_sent_twice() -> None:
    """The same exchange on a wire that works."""
    assert not any("attempt" in line for line in Exchange(loses=lambda frame: False).run(7 * SECOND))


if __name__ == "__main__":
    TRACE.write_text(two_stages_one_retry())
