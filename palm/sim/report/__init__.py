"""A run as one HTML file that a browser shows without a network."""

from palm.sim.report.film import Film
from palm.sim.report.page import page

__all__ = ["Film", "page"]
