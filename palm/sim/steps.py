"""The script of a scenario at work: waits for each step's trigger, does its action, and keeps count of what it
touched."""

from __future__ import annotations

from functools import partial
from typing import Callable, Generic, Mapping, Sequence, TypeVar

from palm.sim.draws import Key
from palm.sim.history import Entry, EntryKind, Interval, is_of
from palm.sim.network import Rule
from palm.sim.scenario import actions
from palm.sim.scenario.names import (
    HalfOf,
    InstanceOf,
    InZone,
    LeaderOf,
    Named,
    OneOf,
    OnHost,
    SameAs,
    Servers,
    Subject,
    Target,
    TheRegistry,
)
from palm.sim.scenario.script import After, At, Step, When
from palm.sim.stage import Actor, Done, Stage

A = TypeVar("A", bound=Actor)


class Script(Generic[A]):
    """Runs on the clock of its stage. `done` maps each step to when it was done, and `active` to when it bit."""

    def __init__(self, steps: tuple[Step, ...], stage: Stage[A], zones: Mapping[str, str], seed: int) -> None:
        self._steps = steps
        self._stage = stage
        self._clock = stage.clock
        self._zones = zones
        self._seed = seed
        self._rules: dict[str, Rule] = {}
        self._started: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._touched: dict[str, int] = {}
        self._touching: dict[str, Callable[[], int]] = {}
        self._subjects: dict[str, Sequence[A]] = {}
        self._counts: dict[str, int] = {}
        self._undo: dict[str, Callable[[], None]] = {}
        self._waiting: dict[EntryKind, list[tuple[Step, When]]] = {}
        """By event: the steps that wait for one. Every entry of a run is looked up here."""
        for step in steps:
            if isinstance(step.trigger, When):
                self._waiting.setdefault(EntryKind(step.trigger.event), []).append((step, step.trigger))

    def begin(self) -> None:
        if self._waiting or any(isinstance(step.action, actions.Point) for step in self._steps):
            self._stage.recorder.notice = self._heard  # else nobody needs to hear of every message
        for step in self._steps:
            if isinstance(step.trigger, At):
                self._clock.call_at(step.trigger.at_ns, lambda step=step: self._do(step, []))  # type: ignore[misc]  # bound per step

    @property
    def is_done(self) -> bool:
        """Every step was done, and nothing that lasts for a time still does."""
        return len(self._started) == len(self._steps) and not self._undo

    def heal(self) -> None:
        """End everything that still lasts, but the deaths of processes: the fault-free tail begins."""
        for step in list(self._undo):
            self._end(step)

    def intervals(self) -> dict[str, tuple[Interval, ...]]:
        """When each step's fault was active; a death lasts until the next life."""
        now = self._clock.now
        return {
            step.id: (Interval(self._started[step.id], self._ended.get(step.id, now)),)
            for step in self._steps
            if step.id in self._started
        }

    def touched(self) -> dict[str, int]:
        counts = dict(self._touched)
        counts.update({step: touched() for step, touched in self._touching.items()})
        for step, rule in self._rules.items():
            counts[step] = rule.bitten
        return counts

    def subjects(self) -> dict[str, tuple[str, ...]]:
        """By step: the instances that it was done to."""
        return {step: tuple(instance.name for instance in who) for step, who in self._subjects.items()}

    # -- triggers -----------------------------------------------------------------------------------------------------

    def _notice(self, entry: Entry) -> None:
        waiting = self._waiting.get(entry.kind)
        if not waiting:
            return
        for step, trigger in waiting:
            if step.id not in self._started and self._matches(trigger, entry):
                count = self._counts[step.id] = self._counts.get(step.id, 0) + 1
                if count == trigger.nth:
                    subjects = [
                        instance
                        for instance in self._stage.instances.get(entry.server, [])
                        if instance.name == entry.instance
                    ]
                    # Not from inside of user code or a node: after what runs now.
                    self._started[step.id] = self._clock.now
                    self._clock.call_soon(lambda step=step, subjects=subjects: self._do(step, subjects))  # type: ignore[misc]  # bound

    def _heard(self, entry: Entry) -> None:
        self._notice(entry)
        self._stage.heard(entry)

    def _matches(self, trigger: When, entry: Entry) -> bool:
        if trigger.server is not None and entry.server != trigger.server:
            return False
        if trigger.job is not None and not is_of(entry.job, trigger.job):
            return False
        if trigger.name is not None and entry.detail != trigger.name:
            return False
        return trigger.during is None or (trigger.during in self._started and trigger.during not in self._ended)

    # -- actions ------------------------------------------------------------------------------------------------------

    def _do(self, step: Step, subjects: Sequence[A]) -> None:
        now = self._clock.now
        self._started[step.id] = now
        action = step.action
        match action:
            case actions.Crash() | actions.Freeze() | actions.DiskFull() if self._of_registry(action.who):
                self._follow(step, self._stage.act(step.id, action, []))
            case actions.Restart() if self._of_registry(action.who):
                self._follow(step, self._stage.act(step.id, action, []))
                self._end_crash_of_registry(action.who)
            case actions.Heal():
                self._heal_links(step, action)
            case actions.Crash(memory="kept"):
                self._follow(step, self._stage.act(step.id, action, self._who(step, action.who, subjects)))
            case actions.Crash():
                who = self._who(step, action.who, subjects)
                self._touched[step.id] = sum(1 for instance in who if instance.is_up)
                for instance in who:
                    self._stage.crash(instance)
            case actions.Drain():
                who = self._who(step, action.who, subjects)
                self._touched[step.id] = sum(1 for instance in who if instance.is_up and not instance.leaves)
                for instance in who:
                    self._stage.drain(instance)
            case actions.Cancel():
                self._touching[step.id] = self._stage.cancel(action.job)
            case actions.Restart():
                who = self._who(step, action.who, subjects)
                for instance in who:
                    if instance.is_up:
                        self._stage.crash(instance)
                    self._stage.start(instance)
                self._touched[step.id] = len(who)
                self._end_deaths(step, who)
            case actions.Freeze():
                self._freeze(step, self._who(step, action.who, subjects), action.for_ns)
            case _ if isinstance(action, actions.OnLink):
                rule = self._rules[step.id] = self._stage.lay(action.link, action.rule(), step.id)
                self._lasts(step, action.for_ns, partial(self._stage.lift, rule))
            case _ if isinstance(action, actions.OnProcesses):
                self._follow(step, self._stage.act(step.id, action, self._who(step, action.who, subjects)))
            case _:
                self._follow(step, self._stage.act(step.id, action, []))
        if not action.lasts:
            self._ended[step.id] = now
        for other in self._steps:
            if isinstance(other.trigger, After) and other.trigger.step == step.id:
                self._clock.call_at(now + other.trigger.plus_ns, lambda other=other: self._do(other, []))  # type: ignore[misc]  # bound

    def _follow(self, step: Step, done: Done) -> None:
        """Keep in mind how it ends, and whom to ask what it touched."""
        self._touching[step.id] = done.touched
        if done.undo is not None:
            self._lasts(step, done.for_ns, done.undo)

    def _of_registry(self, who: Target) -> bool:
        """It means the registry, or what another step has done to that."""
        if isinstance(who, SameAs):
            [action] = [step.action for step in self._steps if step.id == who.step]
            return isinstance(getattr(action, "who", None), TheRegistry)
        return isinstance(who, TheRegistry)

    def _end_crash_of_registry(self, who: Target) -> None:
        for step in self._steps:
            if isinstance(step.action, actions.Crash) and step.id in self._started:
                back = who in (TheRegistry(), SameAs(step.id), step.action.who)
                if back and isinstance(step.action.who, TheRegistry):
                    self._ended.setdefault(step.id, self._clock.now)

    def _lasts(self, step: Step, duration: int | None, undo: Callable[[], None]) -> None:
        self._undo[step.id] = undo
        if duration is not None:
            self._clock.call_at(self._clock.now + duration, lambda: self._end(step.id))

    def _end(self, step: str) -> None:
        undo = self._undo.pop(step, None)
        if undo is not None:
            undo()
            self._ended[step] = self._clock.now

    def _heal_links(self, step: Step, action: actions.Heal) -> None:
        healed = [
            other.id
            for other in self._steps
            if other.id in self._undo
            and isinstance(other.action, actions.OnLink)
            and (action.link is None or other.action.link == action.link)
        ]
        for other_id in healed:
            self._end(other_id)
        self._touched[step.id] = len(healed)

    def _freeze(self, step: Step, who: Sequence[A], duration: int) -> None:
        self._subjects[step.id] = who
        thaws = [self._stage.freeze(instance) for instance in who if instance.is_up]
        self._touched[step.id] = len(thaws)

        def thaw() -> None:
            for go_on in thaws:
                go_on()

        self._lasts(step, duration, thaw)

    def _end_deaths(self, restart: Step, who: Sequence[A]) -> None:
        """A crash is active until the restart of all that it killed."""
        for step in self._steps:
            lasts = isinstance(step.action, actions.Crash) and step.id in self._started and step.id not in self._ended
            if lasts and all(instance in who or instance.is_up for instance in self._subjects.get(step.id, [])):
                self._ended[step.id] = self._clock.now

    # -- targets ------------------------------------------------------------------------------------------------------

    def _who(self, step: Step, target: Target, subjects: Sequence[A]) -> Sequence[A]:
        everybody = [instance for group in self._stage.instances.values() for instance in group]
        match target:
            case Subject():
                who = subjects
            case SameAs():
                who = self._subjects.get(target.step, [])
            case Servers() | Named() if self._server_of(target) in self._stage.instances:
                who = self._stage.instances[self._server_of(target)]
            case InstanceOf():
                who = [self._stage.instances[target.server][target.index]]
            case OnHost() | Named():
                place = target.host if isinstance(target, OnHost) else target.name
                who = [instance for instance in everybody if instance.place == place]
            case InZone():
                who = [instance for instance in everybody if self._zones.get(instance.place) == target.zone]
            case OneOf():
                who = self._some(step, [i for i in self._stage.instances[target.server] if i.is_up], 1)
            case LeaderOf():
                who = self._stage.leader(target.server)
            case HalfOf():
                who = self._half(step, target.of)
            case _:
                who = []
        self._subjects[step.id] = who
        return who

    @staticmethod
    def _server_of(target: Servers | Named) -> str:
        return target.server if isinstance(target, Servers) else target.name

    def _half(self, step: Step, of: str) -> Sequence[A]:
        if of == "hosts":
            places = list(self._zones)
            chosen = self._key(step).random(0).sample(places, max(1, len(places) // 2))
            return [i for group in self._stage.instances.values() for i in group if i.place in chosen]
        living = [instance for instance in self._stage.instances[of] if instance.is_up]
        return self._some(step, living, max(1, len(living) // 2))

    def _some(self, step: Step, among: Sequence[A], count: int) -> Sequence[A]:
        return self._key(step).random(0).sample(among, min(count, len(among)))

    def _key(self, step: Step) -> Key:
        return Key(self._seed, f"script/{step.id}")
