"""Raw pyzmq at its best from Python, form (b): poll, then drain with NOBLOCK, a fixed number of frames a message.

No ids, no registry, no retries, no ledger: the yardstick. `recv_multipart` and `zmq.asyncio` are several times slower.
"""

from __future__ import annotations

import json
from itertools import repeat
from time import perf_counter, perf_counter_ns
from typing import Any

import zmq

DRAIN = 256


def serve_echo(copy: bool) -> None:
    """A ROUTER that sends back what it gets: two frames, the sender's id and the payload."""
    router = _socket(zmq.Context(), zmq.ROUTER)
    _announce(router)
    send, recv, more, now = router.send, router.recv, zmq.NOBLOCK | zmq.SNDMORE, zmq.NOBLOCK
    poll = _poller(router)
    while True:
        poll()
        for _ in range(DRAIN):
            try:
                peer = recv(now)
            except zmq.Again:
                break
            payload = recv(now, copy)
            send(peer, more)
            send(payload, now, copy)


def serve_stage(onward: str) -> None:
    """PULL to PUSH; the last stage of a chain has nowhere to go and listens with its PUSH, too."""
    context = zmq.Context()
    pull, push = _socket(context, zmq.PULL), _socket(context, zmq.PUSH)
    if onward:
        push.connect(onward)
        _announce(pull)
    else:
        push.bind("tcp://127.0.0.1:0")
        _announce(pull, push)
    send, recv, now = push.send, pull.recv, zmq.NOBLOCK
    poll = _poller(pull)
    while True:
        poll()
        for _ in range(DRAIN):
            try:
                payload = recv(now)
            except zmq.Again:
                break
            send(payload)


def serve_work(tasks: str, results: str) -> None:
    """A worker of a farm: takes, works, sends back. Says that it is there with an empty message."""
    from bench.butterfly import work

    context = zmq.Context()
    pull, push = _socket(context, zmq.PULL), _socket(context, zmq.PUSH)
    pull.connect(tasks)
    push.connect(results)
    push.send(b"")
    while True:
        payload = pull.recv()
        work()
        push.send(payload)


def farm(tasks: str, results: str, workers: int, messages: int, payload_bytes: int, window: int) -> float:
    """Messages a second through that many workers and back."""
    context = zmq.Context()
    push, pull = _socket(context, zmq.PUSH), _socket(context, zmq.PULL)
    push.bind(tasks)
    pull.bind(results)
    for _ in range(workers):
        pull.recv()
    return _pumped(push, pull, messages, payload_bytes, window, workers, True)


def stream(address: str, messages: int, payload_bytes: int, window: int, warm_up: int, copy: bool) -> float:
    """Messages a second, out and back, that many outstanding."""
    dealer = _socket(zmq.Context(), zmq.DEALER)
    dealer.connect(address)
    return _pumped(dealer, dealer, messages, payload_bytes, window, warm_up, copy)


def chain(first: str, last: str, messages: int, payload_bytes: int, window: int, warm_up: int) -> float:
    """Messages a second through the stages and back to us."""
    context = zmq.Context()
    push, pull = _socket(context, zmq.PUSH), _socket(context, zmq.PULL)
    push.connect(first)
    pull.connect(last)
    return _pumped(push, pull, messages, payload_bytes, window, warm_up, True)


def echo(address: str, calls: int, payload_bytes: int, warm_up: int) -> list[int]:
    """The round-trip times of single messages, one after the other, in ns."""
    dealer = _socket(zmq.Context(), zmq.DEALER)
    dealer.connect(address)
    payload = b"x" * payload_bytes
    send, recv, poll, now = dealer.send, dealer.recv, _poller(dealer), zmq.NOBLOCK
    times = []
    for _ in range(warm_up + calls):
        begin = perf_counter_ns()
        send(payload, now)
        poll()
        recv(now)
        times.append(perf_counter_ns() - begin)
    dealer.close()
    return times[warm_up:]


def _pumped(
    out: Any, back: Any, messages: int, payload_bytes: int, window: int, warm_up: int, copy: bool
) -> float:
    _pump(out, back, warm_up, payload_bytes, window, copy)
    begin = perf_counter()
    _pump(out, back, messages, payload_bytes, window, copy)
    rate = messages / (perf_counter() - begin)
    out.close()
    back.close()
    return rate


def _pump(out: Any, back: Any, messages: int, payload_bytes: int, window: int, copy: bool) -> None:
    source = repeat(b"x" * payload_bytes, messages)
    send, recv, poll, now = out.send, back.recv, _poller(back), zmq.NOBLOCK
    sent = taken = 0
    while taken < messages:
        while sent < messages and sent - taken < window:
            send(next(source), now, copy)
            sent += 1
        poll()
        for _ in range(DRAIN):
            try:
                recv(now, copy)
            except zmq.Again:
                break
            taken += 1


def _socket(context: Any, kind: int) -> Any:  # zmq's sockets are generic in ways that do not matter here
    socket = context.socket(kind)
    socket.set(zmq.LINGER, 0)
    # Windows bound what is under way; a mark would only drop (ROUTER) or block.
    socket.set(zmq.SNDHWM, 0)
    socket.set(zmq.RCVHWM, 0)
    return socket


def _poller(socket: Any) -> Any:
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    return poller.poll


def _announce(first: Any, *others: Any) -> None:
    first.bind("tcp://127.0.0.1:0")
    print(json.dumps([socket.get_string(zmq.LAST_ENDPOINT) for socket in (first, *others)]), flush=True)
