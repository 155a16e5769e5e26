"""The report in a browser: what its reader sees, presses and types."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from palm.core.message import Batch, Header, JobId, Peer
from palm.core.route import parse_route
from palm.observe.ledger import Ledger
from palm.sim.checkers import CheckResult, Verdict
from palm.sim.history import Entry, EntryKind, History, Interval
from palm.sim.report import Film, page
from palm.sim.scenario.scenario import Scenario, parse
from palm.sim.simulation import Result, run
from palm.wire.codec import Codec

ROOT = Path(__file__).parents[2]
REPLAY = "palm simulate troubled.yaml --seed 7"
TROUBLED = """
palm: scenario/1
name: troubled
about: Lines are counted while a link is cut and an instance dies.
clock: {limit: 60s, settle: 20s}
world:
  hosts: {edge: , one: , two: , three: }
  servers:
    clean: {run: "examples/text/clean.py:Clean", hosts: [one]}
    count: {run: "examples/text/count.py:Count", hosts: [two, three], instances: 2, service: 3ms}
load:
  - {id: main, client: edge, route: [clean.line, count.words], messages: {count: 100, payload: words}, rate: 40/s}
script:
  - {id: gone, at: 2s, do: cut, link: "one -> two", for: 1s}
  - {id: die, at: 4s, do: crash, who: "count[1]", memory: lost}
  - {id: back, after: {step: die, plus: 1s}, do: restart, who: "step:die"}
"""
EVIL = "</script><script>window.pwned=1</script><img src=x onerror='window.pwned=2'>"

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return parse(TROUBLED, str(ROOT / "troubled.yaml"))


@pytest.fixture(scope="module")
def filmed(scenario: Scenario) -> tuple[Result, Film]:
    film = Film()
    return run(scenario, 7, film=film), film


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a report; fails at the end if its script raised or if it asked for anything but its own file."""
    wrong: list[str] = []
    contexts = []

    def open_(text: str, width: int = 1280, height: int = 800, scheme: Any = "light") -> Page:
        path = tmp_path / f"report-{len(contexts)}.html"
        path.write_text(text, encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        shown = context.new_page()
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        shown.on("request", lambda asked: wrong.append(asked.url) if asked.url != path.as_uri() else None)
        shown.goto(path.as_uri())
        shown.wait_for_function("window.palmReport && palmReport.view.stats.draws > 0")
        return shown

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def shown(opened: Open, scenario: Scenario, filmed: tuple[Result, Film]) -> Page:
    return opened(page(scenario, *filmed, REPLAY))


def window(shown: Page) -> float:
    """How much time the diagram shows, in ns."""
    span: float = shown.evaluate("palmReport.view.to - palmReport.view.from")
    return span


def settled(shown: Page) -> None:
    """Wait until everything that was asked for is drawn."""
    shown.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_the_first_line_is_the_replay_command(shown: Page) -> None:
    """Then the verdict, the checks, the ledger, and the story."""
    assert shown.inner_text("body").splitlines()[0] == REPLAY
    expect(shown.get_by_role("heading", level=1)).to_contain_text("troubled holds")
    expect(shown.get_by_role("table").first).to_contain_text("conserved")
    expect(shown.locator("table.ledger")).to_contain_text("100")
    expect(shown.get_by_text("At 2.000 s one -> two was cut for 1.000 s (gone)")).to_be_visible()


def test_a_click_on_an_arrow_follows_its_message(shown: Page, filmed: tuple[Result, Film]) -> None:
    """Its steps are listed in words: all that the history has of it, and every frame that carried it."""
    at = shown.evaluate(
        """() => {
            const {data, view} = palmReport, {frames, events} = data;
            const sent = events.sequence.findIndex((one, i) => one === 30 && events.kind[i] === data.raw.kinds.sent);
            view.show(events.at[sent] - 1e6, events.at[sent] + 3e6);
            return events.at[sent];
        }"""
    )
    settled(shown)
    place = shown.evaluate(
        """at => {
            const {data, view} = palmReport, {frames} = data;
            const i = frames.at.findIndex((one, k) => one >= at && frames.first[k] < frames.first[k + 1]);
            const canvas = document.getElementById("diagram");
            for (let x = 100; x < canvas.clientWidth; x += 2) for (let y = 20; y < canvas.clientHeight; y += 4)
                if (palmReport.nearest(x, y)?.frame === i) return [x, y];
        }""",
        at,
    )
    shown.locator("#diagram").click(position={"x": place[0], "y": place[1]})
    expect(shown.locator("#followed-title")).to_contain_text("Message 30 of main")
    steps = shown.locator("#followed-path li").all_inner_texts()
    entries = [entry for entry in filmed[0].history.entries if entry.sequence == 30]
    assert len(steps) >= len(entries) + 3
    assert "taken from its source by the client" in steps[0] and "result handed to the caller" in steps[-1]
    assert any("message client@edge → clean[0]" in step for step in steps)
    assert sum("user code begins" in step for step in steps) == sum(e.kind is EntryKind.HANDLING for e in entries)
    expect(shown.locator("#says")).to_contain_text("Following message 30")


def test_everything_can_be_done_with_keys(shown: Page) -> None:
    """Zoom, move, step to an event, follow it, on to the next message, and stop."""
    shown.locator("#diagram").focus()
    whole = window(shown)
    shown.keyboard.press("+")
    assert window(shown) == pytest.approx(whole / 2)
    shown.keyboard.press("Home")
    assert shown.evaluate("palmReport.view.from") == 0
    shown.keyboard.press("ArrowRight")
    assert shown.evaluate("palmReport.view.from") > 0
    shown.keyboard.press("0")
    assert window(shown) == whole
    shown.evaluate("() => { const i = palmReport.data.events.kind.indexOf(palmReport.data.raw.kinds.sent); "
                   "const at = palmReport.data.events.at[i]; palmReport.view.show(at - 10, at + 1e6); }")  # fmt: skip
    shown.keyboard.press(".")
    expect(shown.locator("#says")).to_contain_text("message 0 of main: taken from its source")
    shown.keyboard.press("Enter")
    expect(shown.locator("#followed-title")).to_contain_text("Message 0 of main")
    shown.keyboard.press("]")
    expect(shown.locator("#followed-title")).to_contain_text("Message 1 of main")
    shown.keyboard.press("Escape")
    expect(shown.locator("#followed")).to_be_hidden()
    reached = [shown.evaluate("document.activeElement.id || document.activeElement.textContent")]
    shown.locator("#copy, #theme").first.focus()
    for _ in range(40):
        shown.keyboard.press("Tab")
        reached.append(shown.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"Whole run", "Zoom in", "follow-number", "diagram"} <= set(reached)


def test_a_number_that_is_none_says_what_there_is(shown: Page) -> None:
    """The box for a message's number follows it, or says which numbers there are."""
    shown.fill("#follow-number", "12")
    shown.press("#follow-number", "Enter")
    expect(shown.locator("#followed-title")).to_contain_text("Message 12 of main")
    shown.fill("#follow-number", "100")
    shown.press("#follow-number", "Enter")
    expect(shown.locator("#follow-error")).to_contain_text("numbered from 0 to 99")


def test_filters_take_away_what_is_not_wanted(shown: Page) -> None:
    """By server, by kind of frame, by kind of event; and give it back."""
    def arrows() -> int:
        settled(shown)
        return int(shown.evaluate("palmReport.view.stats.drawn"))

    before = arrows()
    shown.get_by_text("Filters", exact=True).click()
    shown.get_by_label("registry").first.uncheck()
    without_registry = arrows()
    assert 0 < without_registry < before
    shown.get_by_label("result", exact=True).uncheck()
    assert 0 < arrows() < without_registry
    shown.get_by_role("group", name="Frames").get_by_role("button", name="none").click()
    assert arrows() == 0
    shown.get_by_role("group", name="Frames").get_by_role("button", name="all").click()
    shown.get_by_label("registry").first.check()
    assert arrows() > before, "heartbeats are shown now as well"


def test_the_story_leads_to_its_place(shown: Page) -> None:
    """`Show` beside a sentence shows that time; `Follow it` follows that message."""
    shown.get_by_role("button", name="Show: At 2.000 s one -> two").click()
    assert shown.evaluate("palmReport.view.from") == pytest.approx(1.85e9) and window(shown) == pytest.approx(1.3e9)
    shown.get_by_role("button", name="Follow it: The slowest of main").click()
    expect(shown.locator("#followed-title")).to_contain_text("of main")
    assert shown.evaluate("document.activeElement.id") == "diagram"


def test_dragging_moves_and_shift_dragging_chooses(shown: Page) -> None:
    """With the mouse on the diagram."""
    shown.evaluate("palmReport.view.show(1e9, 2e9)")
    settled(shown)
    shown.locator("#diagram").scroll_into_view_if_needed()
    box = shown.locator("#diagram").bounding_box()
    assert box is not None
    y = box["y"] + 60
    shown.mouse.move(box["x"] + 700, y)
    shown.mouse.down()
    shown.mouse.move(box["x"] + 500, y, steps=4)
    shown.mouse.up()
    assert shown.evaluate("palmReport.view.from") > 1.1e9 and window(shown) == pytest.approx(1e9)
    shown.keyboard.down("Shift")
    shown.mouse.move(box["x"] + 400, y)
    shown.mouse.down()
    shown.mouse.move(box["x"] + 500, y, steps=4)
    shown.mouse.up()
    assert window(shown) < 0.2e9


def test_tags_in_names_and_reasons_are_text(opened: Open, scenario: Scenario, filmed: tuple[Result, Film]) -> None:
    """Nothing of a run is ever run."""
    result, film = filmed
    checks = (CheckResult(check=EVIL, verdict=Verdict.BROKEN, why=EVIL),)
    entries = tuple(one._replace(instance=EVIL) if one.instance else one for one in result.history.entries)
    history = replace(result.history, entries=entries)
    hostile = replace(result, scenario=EVIL, checks=checks, verdict=Verdict.BROKEN, history=history)
    shown = opened(page(replace(scenario, about=EVIL), hostile, film, EVIL))
    shown.evaluate("palmReport.follow(0, 30)")
    expect(shown.locator("#followed-path")).to_contain_text(f"user code begins in {EVIL}")
    expect(shown.locator(".about")).to_have_text(EVIL)
    assert shown.evaluate("window.pwned") is None and shown.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_it_fits_and_reads_at_every_width(
    opened: Open, scenario: Scenario, filmed: tuple[Result, Film], width: int, scheme: str
) -> None:
    """Nothing is cut off to the side; text stands out by 4.5 to 1 or more; the canvases are not empty."""
    shown = opened(page(scenario, *filmed, REPLAY), width=width, scheme=scheme)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    if width > 1000:
        wide = "[...document.querySelectorAll('section')].filter(one => one.scrollWidth > one.clientWidth).length"
        assert shown.evaluate(wide) == 0
    for selector in ("body", ".about", ".figures", ".mark", ".story time", ".legend", "button"):
        assert shown.evaluate(CONTRAST, selector) >= 4.5, selector
    for canvas in ("diagram", "flight", "latency", "overview"):
        assert shown.evaluate(COLOURS, canvas) > 5, canvas


CONTRAST = """selector => {
    const node = document.querySelector(selector);
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const linear = one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
    const light = text => {
        const [r, g, b] = parse(text).map(one => linear(one / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let behind = node;
    while (parse(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    const [a, b] = [light(getComputedStyle(node).color), light(getComputedStyle(behind).backgroundColor)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""
COLOURS = """id => {
    const canvas = document.getElementById(id);
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
}"""


# -- large runs -------------------------------------------------------------------------------------------------------

MESSAGES = 25_000


def large(scenario: Scenario) -> tuple[Result, Film]:
    """100,000 events and 50,000 frames, made by hand: a message each 2 ms, on two instances in turn."""
    film = Film()
    job = JobId(Peer("c" * 16), 1, 1)
    film.jobs = {job: "main"}
    codec = Codec()
    route = parse_route(["clean.line", "count.words"])
    there, back = Header(job, route, 0), Header(job, route, 2)
    entries: list[Entry] = []
    for n in range(MESSAGES):
        at, server = n * 2_000_000, f"clean[{n % 2}]"
        entries.append(Entry(at, EntryKind.SENT, "main", n))
        entries.append(Entry(at + 500_000, EntryKind.HANDLING, "main", n, "clean", server))
        entries.append(Entry(at + 900_000, EntryKind.ANSWERED, "main", n, "clean", server))
        entries.append(Entry(at + 1_400_000, EntryKind.DELIVERED, "main", n))
        hops = (there, "client@edge", server, at), (back, server, "client@edge", at + 900_000)
        for header, src, dst, leaves in hops:
            (frame,) = codec.encode([Batch(header, 0, [n], [b"x"])])
            pipe: Any = SimpleNamespace(src=src, dst=dst, name=f"{src}>{dst}")
            film.frame(pipe, leaves, "cut" if n % 5000 == 1 else "sent", leaves + 500_000, frame)
    entries.sort(key=lambda entry: entry.at)
    film._shots.sort(key=lambda shot: shot.at)
    counts = Ledger(sent=MESSAGES, delivered=MESSAGES)
    history = History(
        entries=entries,
        end_ns=MESSAGES * 2_000_000,
        active={"gone": (Interval(10**9, 2 * 10**9),)},
        counts={"main": counts},
    )
    result = Result(
        scenario="large", seed=1, verdict=Verdict.HOLDS, checks=(), trace_hash="0", events=150_000, simulated_s=50.0,
        wall_s=1.0, ledger=counts, history=history,
    )  # fmt: skip
    return result, film


def test_a_hundred_thousand_events_move_smoothly(opened: Open, scenario: Scenario) -> None:
    """Zooming from the whole run down, half of all drawings take under a thirtieth of a second; and no drawing has more
    arrows than the canvas can show."""
    shown = opened(page(scenario, *large(scenario), REPLAY))
    assert shown.evaluate("palmReport.data.events.count") == 4 * MESSAGES
    took = shown.evaluate(
        """async () => {
            const {view, data} = palmReport, took = [], drawn = [];
            for (let share = 1; share > 0.001; share *= 0.85) {
                view.show(data.end * 0.4, data.end * (0.4 + 0.6 * share));
                await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
                took.push(view.stats.last_ms);
                drawn.push(view.stats.drawn);
            }
            return {took, drawn};
        }"""
    )
    assert statistics.median(took["took"]) < 33, took["took"]
    assert max(took["drawn"]) <= 7000 and min(took["drawn"]) > 10
    assert shown.evaluate("palmReport.follow(0, 12345)") is True
    expect(shown.locator("#followed-path li")).to_have_count(6)
