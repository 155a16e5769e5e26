"""From nothing to the first result: registry, server and client all start at one moment, in processes of their own."""

from __future__ import annotations

from time import monotonic

from bench.figures import Figure, alternate, compared
from bench.processes import Fleet, answer_of, free_port


def measure(*, smoke: bool, rounds: int) -> Figure:
    palm, raw = alternate(1 if smoke else max(rounds, 5), _palm_s, _raw_s)
    return compared("startup", "s", palm, raw, "under 1 s", lambda seconds, _: seconds < 1.0)


def first_result(etcd: str) -> float:
    """When the result was there; the clock is one for all processes."""
    from palm import Client

    with Client(etcd) as client:
        client.call("echo.echo", b"hello")
        return monotonic()


def raw_first_result(port: int) -> float:
    import zmq

    dealer = zmq.Context().socket(zmq.DEALER)
    dealer.set(zmq.RECONNECT_IVL, 10)
    dealer.connect(f"tcp://127.0.0.1:{port}")
    dealer.send(b"hello")
    dealer.recv()
    return monotonic()


def raw_server(port: int) -> None:
    import zmq

    router = zmq.Context().socket(zmq.ROUTER)
    router.bind(f"tcp://127.0.0.1:{port}")
    while True:
        router.send_multipart(router.recv_multipart())


def raw_bystander() -> None:
    """Stands for the registry: a third process that is only there."""
    import signal

    import zmq

    zmq.Context()
    signal.pause()


def _palm_s() -> float:
    port = free_port()
    etcd = f"127.0.0.1:{port}"
    begin = monotonic()
    with Fleet() as fleet:
        fleet.start("-m", "palm", "registry", "--port", str(port))
        fleet.server("echo", etcd)
        return float(answer_of(fleet.child("bench.startup:first_result", etcd=etcd)) - begin)


def _raw_s() -> float:
    port = free_port()
    begin = monotonic()
    with Fleet() as fleet:
        fleet.child("bench.startup:raw_bystander")
        fleet.child("bench.startup:raw_server", port=port)
        return float(answer_of(fleet.child("bench.startup:raw_first_result", port=port)) - begin)
