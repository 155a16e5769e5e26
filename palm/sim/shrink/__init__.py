"""A failing run, made as small as it goes: what is left is what matters."""

from palm.sim.shrink.candidates import Runs, Target, targets
from palm.sim.shrink.finding import Finding, find
from palm.sim.shrink.search import Shrunk, shrink

__all__ = ["Finding", "Runs", "Shrunk", "Target", "find", "shrink", "targets"]
