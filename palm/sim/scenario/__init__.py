"""Scenario files: read strictly, with errors that name the line, into values that need no second look."""

from palm.sim.scenario.scenario import VERSION as VERSION
from palm.sim.scenario.scenario import Scenario as Scenario
from palm.sim.scenario.scenario import load as load
from palm.sim.scenario.scenario import parse as parse
from palm.sim.scenario.scenario import schema as schema
