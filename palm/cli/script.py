"""`python server.py run`: the same as `palm run server.py`, with the options that PALM's users know."""

from __future__ import annotations

import sys
from typing import Sequence

from palm.cli.loading import LOADED_AS, Announced
from palm.cli.run import make_script_parser, run_announced
from palm.gateway.children import obey_parent


def run_script(server: type[object], name: str, functions: Sequence[str] | None) -> None:
    """The end of a server script. While `palm run` loads the file, it only says what it would serve."""
    obey_parent()
    announced = Announced(server, name, tuple(functions or ()))
    if LOADED_AS in sys.modules:
        raise announced
    args = make_script_parser(name).parse_args()
    sys.exit(run_announced(announced, args))
