"""How processor time is written: what handlings need, and what PALM itself does for each frame and message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from palm.sim.draws import ZERO, Distribution
from palm.sim.processor import Costs
from palm.sim.scenario.distributions import DELAY
from palm.sim.scenario.forms import DURATION, Form, Key, schema_of, take


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClientCpu:
    """Processor time of PALM in a client."""

    frame: Annotated[int, Key("frame", DURATION)] = 0
    message: Annotated[int, Key("message", DURATION)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cpu:
    """Processor time: of each handling, beside its service time; and of PALM, to hand each over to user code, for each
    frame, and for each message in one."""

    handling: Annotated[Distribution, Key("handling", DELAY)] = ZERO
    handover: Annotated[int, Key("handover", DURATION)] = 0
    frame: Annotated[int, Key("frame", DURATION)] = 0
    message: Annotated[int, Key("message", DURATION)] = 0


def _form(shape: type[_Cpu] | type[_ClientCpu], example: str) -> Form[Costs]:
    expected = f"processor time, as {example}"

    return Form(
        expected,
        lambda node: _costs(take(node, shape, what="cpu")),
        lambda: {**schema_of(shape), "description": expected},
    )


def _costs(said: _Cpu | _ClientCpu) -> Costs:
    if isinstance(said, _Cpu):
        return Costs(handling=said.handling, handover=said.handover, frame=said.frame, message=said.message)
    return Costs(frame=said.frame, message=said.message)


CPU = _form(_Cpu, "{handling: 2ms, handover: 50us, frame: 40us, message: 3us}")
CLIENT_CPU = _form(_ClientCpu, "{frame: 40us, message: 3us}")
