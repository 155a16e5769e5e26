"""`simulate`: a user's own server classes in a simulated cluster, for a user's own tests.

    with simulate(SomeServer, name="my_server", instances=3, seed=7) as sim:
        assert sorted(sim.client().map(payloads, "my_server.business_logic")) == ...

The client is `palm.Client`, the servers are what `palm run` would run; only the network, the registry and time are
simulated.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from types import ModuleType, TracebackType
from typing import Callable, Self, Sequence

from palm.client import Client
from palm.errors import BadRequest
from palm.sim import sandbox
from palm.sim.cluster import Cluster, Instance, ServerSpec
from palm.sim.draws import Distribution, Fixed
from palm.sim.network import Cut, Ends, Link, Rule
from palm.sim.portal import SimWorld

NS = 1_000_000_000
CLIENT_PLACE = "client"


class Simulation:
    """A simulated cluster under a test. Times are simulated seconds.

    Each instance runs on a host of its own, named like it (`my_server[0]`); clients run on the host `client`, the
    registry on
    `registry`. Use it in a `with` block.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.cluster = Cluster(seed)
        self.cluster.world.network.add_host(CLIENT_PLACE)
        self._clients: list[Client] = []
        self._stack = ExitStack()
        self._modules: dict[str, ModuleType] = {}
        """Where the servers' code stands: what it took by name (`from time import sleep`) is simulated as well."""

    def __enter__(self) -> Self:
        self._stack.enter_context(sandbox.installed(self._modules.values()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                for client in self._clients:
                    client.close()
        finally:
            self.cluster.world.close()
            self._stack.close()

    # -- who is there -------------------------------------------------------------------------------------------------

    def serve(
        self,
        server: Callable[[], object],
        *,
        name: str,
        instances: int = 1,
        functions: Sequence[str] = (),
        service_s: float | Distribution = 0.0,
        durable: bool = False,
    ) -> list[Instance]:
        """Start that many instances of a class (or of what a factory makes), each with an object of its own.

        `functions` may be called; default: all public methods. `service_s` is how long a
        message takes (seconds, or a distribution from `palm.sim.draws`): the simulator cannot measure user code.
        `durable`: each has a disk for its copy of the server's store, as by `palm run --db`.
        """
        service = Fixed(round(service_s * NS)) if isinstance(service_s, int | float) else service_s
        module = sys.modules.get(getattr(server, "__module__", None) or "")
        if module is not None:
            self._modules[module.__name__] = module
            sandbox.adopt(module)
        places = [f"{name}[{index}]" for index in range(instances)]
        for place in places:
            self.cluster.world.network.add_host(place)
        spec = ServerSpec(
            name=name, make=server, places=places, functions=tuple(functions), service=service, durable=durable
        )
        return self.cluster.add_server(spec)

    def client(self, *, timeout: float | None = None, window: int = 1024) -> Client:
        """A new client process; closed at the end of the `with` block."""
        world = SimWorld(self.cluster, f"client-{len(self._clients)}", CLIENT_PLACE)
        client = Client(world=world, timeout=timeout, window=window)
        self._clients.append(client)
        return client

    def instance(self, name: str) -> Instance:
        """By name, as `my_server[1]`."""
        for instances in self.cluster.instances.values():
            for instance in instances:
                if instance.name == name:
                    return instance
        known = [instance.name for group in self.cluster.instances.values() for instance in group]
        raise BadRequest(f"no instance {name!r}; there are {', '.join(known)}")

    # -- time, and what goes wrong ------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Simulated seconds since the start."""
        return self.cluster.world.kernel.now / NS

    @property
    def trace_hash(self) -> str:
        """The same for each run of one seed; different for another course of events."""
        return self.cluster.world.kernel.trace.hexdigest()

    def run(self, seconds: float) -> None:
        """Let simulated time pass."""
        kernel = self.cluster.world.kernel
        kernel.run(kernel.now + round(seconds * NS))

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something at that moment of the run (simulated seconds since the start)."""

        def act() -> None:
            action()

        self.cluster.world.kernel.call_at(round(seconds * NS), act)

    def crash(self, name: str) -> None:
        """Kill that instance, as by SIGKILL. Harmless when it is down."""
        self.cluster.crash(self.instance(name))

    def restart(self, name: str) -> None:
        """Start it again; one that runs is killed first, one that was suspended goes on."""
        instance = self.instance(name)
        if instance.is_up:
            self.cluster.crash(instance)
        self.cluster.start(instance)

    def suspend(self, name: str) -> None:
        """Stop that instance with all that it has in memory, as on a machine that is suspended: its connections do not
        survive it, and what is sent to it is lost. It goes on at `restart`. Harmless when it is down."""
        self.cluster.suspend(self.instance(name))

    def drain(self, name: str) -> None:
        """End that instance in good order, as Ctrl-C: it finishes what it has taken, and goes. Harmless when it is
        down."""
        self.cluster.drain(self.instance(name))

    def freeze(self, name: str, seconds: float) -> None:
        """Stop that instance for a while, as by SIGSTOP."""
        host = self.instance(name).host
        if host is not None:
            host.freeze()
            kernel = self.cluster.world.kernel
            kernel.call_at(kernel.now + round(seconds * NS), host.thaw)

    def link(self, between: str, link: Link) -> None:
        """How the links behave that match, as `* <-> *` or `client -> my_server[0]`."""
        self.cluster.world.network.link(Ends.parse(between), link)

    def cut(self, between: str, seconds: float | None = None) -> Rule:
        """Let nothing through on the links that match, for a while or until `heal`."""
        network = self.cluster.world.network
        rule = network.lay(Ends.parse(between), Cut())
        if seconds is not None:
            kernel = self.cluster.world.kernel
            kernel.call_at(kernel.now + round(seconds * NS), lambda: self.heal(rule))
        return rule

    def heal(self, rule: Rule) -> None:
        """End a cut. Harmless when it has ended."""
        if rule.active:
            self.cluster.world.network.lift(rule)

    def fill_disk(self, name: str, full: bool = True) -> None:
        """Let that instance's disk be full from now on, or not any more."""
        disk = self.cluster.disks.get(self.instance(name).name)
        if disk is None:
            raise BadRequest(f"{name} has no disk: serve it with durable=True")
        disk.full = full

    def registry_down(self, seconds: float) -> None:
        """The whole registry is away for a while; its data stay."""
        registry, kernel = self.cluster.registry, self.cluster.world.kernel
        registry.down()
        kernel.call_at(kernel.now + round(seconds * NS), registry.up)

    def left_open(self) -> list[str]:
        """What is still held for jobs that are over, in words: an empty list where all is well."""
        return self.cluster.left_open()


def simulate(
    server: Callable[[], object],
    *,
    name: str,
    instances: int = 1,
    seed: int = 0,
    functions: Sequence[str] = (),
    service_s: float | Distribution = 0.0,
    durable: bool = False,
) -> Simulation:
    """A simulated cluster with one server; `Simulation.serve` adds more. `seed` decides everything that is drawn."""
    simulation = Simulation(seed=seed)
    simulation.serve(
        server, name=name, instances=instances, functions=functions, service_s=service_s, durable=durable
    )
    return simulation


__all__ = ["Link", "Simulation", "simulate"]
