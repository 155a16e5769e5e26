"""A small portfolio and one future for it: what it may lose within ten trading days, in plain Python.

A future is drawn from a random stream of its own, so the same seed gives the same futures on any machine, in any order.
"""

import math
import random
import struct
from typing import NamedTuple

DAYS = 10
YEAR = 252
CORRELATION = 0.4
"""Of any two assets: one common factor stands behind all of them."""


class Position(NamedTuple):
    asset: str
    units: float
    price: float
    volatility: float
    """Of a year, as a share of the price."""
    strike: float = 0.0
    """Of a European put that a holder has bought on each unit, at the horizon; 0: none."""


PORTFOLIO = [
    Position("wheat", 4_000, 21.50, 0.32),
    Position("copper", 900, 88.00, 0.24, strike=84.00),
    Position("shipping", 2_500, 36.20, 0.41),
    Position("bonds", 3_000, 101.40, 0.06),
    Position("power", -1_200, 47.80, 0.55),
]


def loss(draw: random.Random) -> float:
    """What is lost in one future; a gain is negative."""
    step = math.sqrt(DAYS / YEAR)
    common = draw.gauss(0.0, 1.0)
    lost = 0.0
    for position in PORTFOLIO:
        own = draw.gauss(0.0, 1.0)
        shock = math.sqrt(CORRELATION) * common + math.sqrt(1 - CORRELATION) * own
        sigma = position.volatility * step
        price = position.price * math.exp(sigma * shock - sigma * sigma / 2)
        value = max(price, position.strike) if position.strike else price
        lost -= position.units * (value - position.price)
    return lost


def losses(seed: int, futures: int) -> bytes:
    """The losses of that many futures, as doubles: bytes, because bytes are compared bit for bit."""
    draw = random.Random(seed)
    return struct.pack(f"<{futures}d", *(loss(draw) for _ in range(futures)))


class Risk(NamedTuple):
    value_at_risk: float
    """Lost or exceeded in one of a hundred futures."""
    expected_shortfall: float
    """The mean loss of that worst hundredth."""


def risk(packed: bytes) -> Risk:
    """Of all losses together."""
    worst = sorted((loss for (loss,) in struct.iter_unpack("<d", packed)), reverse=True)
    tail = worst[: max(1, len(worst) // 100)]
    return Risk(tail[-1], math.fsum(tail) / len(tail))
