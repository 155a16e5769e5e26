"""What users' own tests build on: their servers in a simulated cluster, with faults."""

from palm.testing.simulate import Link, Simulation, simulate

__all__ = ["Link", "Simulation", "simulate"]
