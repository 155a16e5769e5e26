"""One process of a real run with one line of PALM changed: `python real_twin.py MODULE LINE INSTEAD ORDERS`."""

from __future__ import annotations

import importlib
import sys

from palm.testing.real.process import main
from tests.support.twin import twin

if __name__ == "__main__":
    module, line, instead, orders = sys.argv[1:]
    with twin(importlib.import_module(module), line, instead):
        main(orders)
