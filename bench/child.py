"""`python -m bench.child module:function '{"argument": ...}'`: call it, print what it returns as JSON."""

from __future__ import annotations

import json
import sys
from importlib import import_module


def main() -> None:
    module, _, function = sys.argv[1].partition(":")
    print(json.dumps(getattr(import_module(module), function)(**json.loads(sys.argv[2]))))


if __name__ == "__main__":
    main()
