"""`--record`: servers and clients of production write what they do into one file, which `palm calibrate` reads."""

from __future__ import annotations

from pathlib import Path

from palm.observe.record import delays, read
from palm.sim.calibrate import calibrate
from tests.support.cluster import LETTERS, cluster, palm

COUNT = 120


def test_servers_and_clients_append_to_one_recording(tmp_path: Path) -> None:
    """Two processes of a server and a client: each introduces itself, every message was handled by one of them, and
    the frames are found at both ends."""
    recording = tmp_path / "run.jsonl"
    lines = b"".join(b"line %d\n" % number for number in range(COUNT))
    with cluster() as made:
        first = made.serve("--record", str(recording))
        second = made.serve("--record", str(recording))
        done = made.palm("job", "letters.step", "--record", str(recording), stdin=lines)
        assert done.returncode == 0 and done.stdout.count(b"\n") == COUNT, done.stderr
        for running in (first, second):
            running.interrupt()
            assert running.wait() == 0
    with open(recording, "rb") as written:
        processes = read({recording.name: written})
    assert sorted(one.server for one in processes) == ["", "letters", "letters"]
    [client] = [one for one in processes if not one.server]
    assert sum(one.many for one in client.taken) == COUNT
    assert sorted(number for one in client.given for number in one.sequences) == list(range(COUNT))
    assert all(local and took > 0 for local, took in delays(processes)) and list(delays(processes))
    found = calibrate(processes)
    assert len(found.servers["letters"].service.samples) == COUNT
    assert found.servers["letters"].service.measured(0.5) >= 2_000_000  # it sleeps that long


def test_a_recording_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    """The error names the file, before anybody is served."""
    nowhere = str(tmp_path / "none" / "run.jsonl")
    refused = palm("run", LETTERS, "--etcd", "127.0.0.1:1", "--record", nowhere)
    assert refused.returncode == 1
    assert refused.stderr.decode().strip().endswith(
        f"cannot record to {nowhere}: No such file or directory (name a file that can be written)"
    )
