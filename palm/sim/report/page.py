"""Puts a report together: the words as plain HTML, the run as JSON, and the script that draws it, in one file.

Everything that comes from a run or from a scenario is escaped here, for markup or for JSON within markup; the script
sets text only. The page forbids itself the network.
"""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files
from typing import Mapping

from palm.observe.ledger import Ledger
from palm.sim.report.columns import columns
from palm.sim.report.film import Film
from palm.sim.report.story import Line, moment, story
from palm.sim.scenario.scenario import Scenario
from palm.sim.simulation import Result

_SCRIPTS = ("data.js", "words.js", "view.js", "canvas.js", "diagram.js", "plots.js", "page.js")
AROUND = 250_000_000
"""What is shown on both sides of a moment."""
_HOLE = re.compile(r"\{\{(\w+)\}\}")


def page(scenario: Scenario, result: Result, film: Film, replay: str) -> str:
    """The whole file. `replay` is the command that makes the same run again."""
    data = columns(scenario, result, film)
    jobs = [job["name"] for job in data["jobs"]]
    return _filled(
        _resource("page.html"),
        {
            "title": escape(f"{result.scenario}, seed {result.seed}: {result.verdict.value}"),
            "style": _resource("page.css"),
            "replay": escape(replay),
            "name": escape(result.scenario),
            "verdict": escape(result.verdict.value),
            "about": escape(scenario.about),
            "figures": escape(
                f"Seed {result.seed}; {result.simulated_s:.3f} s simulated in {result.wall_s:.2f} s; "
                f"{result.events:,} events; trace {result.trace_hash}"
            ),
            "checks": "\n".join(_check(one.verdict.value, one.check, one.why) for one in result.checks),
            "ledger_head": "".join(
                f'<th scope="col">{escape(name.replace("_", " "))}</th>' for name in ("job", *Ledger._fields)
            ),
            "ledger": "\n".join(_ledger(name, counts) for name, counts in _ledgers(result)),
            "story": "\n".join(_line(line, jobs) for line in story(scenario, result, film)),
            "data": in_script(data),
            "script": '"use strict";\n(() => {\n' + "\n".join(map(_resource, _SCRIPTS)) + "\n})();",
        },
    )


def in_script(data: object) -> str:
    """JSON that may stand in a script element: no `<` opens or closes anything."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _filled(template: str, values: Mapping[str, str]) -> str:
    """In one pass, so that what is filled in is never looked at again."""
    return _HOLE.sub(lambda hole: values[hole[1]], template)


def _check(verdict: str, check: str, why: str) -> str:
    mark = f'<span class="mark {verdict}">{verdict}</span>'
    return f"<tr><td>{mark}</td><td>{escape(check)}</td><td>{escape(why)}</td></tr>"


def _ledgers(result: Result) -> list[tuple[str, Ledger]]:
    jobs = list(result.history.counts.items())
    return [*jobs, ("all jobs", result.ledger)] if len(jobs) > 1 else jobs


def _ledger(name: str, counts: Ledger) -> str:
    return f"<tr><td>{escape(name)}</td>{''.join(f'<td>{count:,}</td>' for count in counts)}</tr>"


def _line(line: Line, jobs: list[str]) -> str:
    if line.message is not None:
        job, sequence = line.message
        target, label = f'data-job="{jobs.index(job)}" data-message="{sequence}"', "Follow it"
    else:
        lasts = line.to is not None and line.to > line.at
        begin, end = (line.at, line.to) if lasts else (max(line.at - AROUND, 0), line.at + AROUND)
        target, label = f'data-from="{begin}" data-to="{end}"', "Show"
    return (
        f'<li class="{line.mark}"><time>{escape(moment(line.at))}</time><span>{escape(line.text)}</span>'
        f'<button type="button" hidden {target} aria-label="{label}: {escape(line.text)}">{label}</button></li>'
    )
