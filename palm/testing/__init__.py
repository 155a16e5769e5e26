"""What users' own tests build on: their servers in a simulated cluster, with faults."""

from palm.testing.reduction import check_reduction
from palm.testing.simulate import Link, Simulation, simulate

__all__ = ["Link", "Simulation", "check_reduction", "simulate"]
