"""One simulated world: a kernel, a network, a registry, and the processes that live there.

This is the only place that knows how the adapters fit together. What runs in the processes, and what goes wrong, is the
business of whoever made the world.
"""

from __future__ import annotations

from palm.errors import BadRequest
from palm.ports.transport import Address
from palm.sim.draws import ZERO, Distribution
from palm.sim.host import Host, Process
from palm.sim.kernel import Kernel
from palm.sim.network import Network
from palm.sim.processor import FREE, Costs, Machine
from palm.sim.registry import RegistrySettings, SimRegistry
from palm.sim.registry_server import PLACE, RegistryServer
from palm.sim.stacks import Stacks
from palm.sim.transport import Fabric, TransportSettings


class World:
    """Made from a seed. Keep `palm.sim.sandbox.installed()` around the runs of it whose user code asks for the time,
    for chance, or for what a simulated process cannot have."""

    def __init__(self, seed: int, *, registry_members: int = 1) -> None:
        self.kernel = Kernel(seed)
        self.network = Network(self.kernel)
        self.registry = RegistryServer(self.network, members=registry_members)
        self.fabric = Fabric(self.network)
        self.stacks = Stacks()
        self.processes: dict[str, Host] = {}
        """The newest life of each process, by name."""
        self._machines: dict[str, Machine] = {}
        """By host, where something was computed or the number of cores was said."""

    def host(
        self,
        name: str,
        *,
        place: str | None = None,
        service: Distribution = ZERO,
        settings: TransportSettings = TransportSettings(),
        registry: RegistrySettings = RegistrySettings(),
        listen: Address | None = None,
        clock_offset: int = 0,
        drift_ppm: int = 0,
        costs: Costs = FREE,
    ) -> Host:
        """A new process. `place` is a host of the network, by default one of the process's own name; a name that was
        used before is a restart, and its former life must have ended. `service` is how long its user code takes a
        message; `costs`, what it and PALM need of the host's processors meanwhile.
        """
        place = name if place is None else place
        if not self.network.knows(place):
            self.network.add_host(place)
        former = self.processes.get(name)
        if name == PLACE or (former is not None and former.alive):
            raise BadRequest(f"a process named {name!r} is alive; crash it before it is started again")
        life = 0 if former is None else former.life + 1
        process = Process(name=name, place=place, life=life, clock_offset=clock_offset, drift_ppm=drift_ppm)
        host = self.processes[name] = Host(
            self.kernel,
            self.stacks,
            self.fabric,
            process,
            lambda host: SimRegistry(self.registry, host, registry),
            service=service,
            settings=settings,
            listen=listen,
            processor=None if costs == FREE else self.machine(place).processor(costs),
        )
        return host

    def machine(self, place: str, cores: int | None = None) -> Machine:
        """The processors of a host. Say how many they are before anything runs there; None: one for each process."""
        machine = self._machines.get(place)
        if machine is None:
            machine = self._machines[place] = Machine(self.kernel, cores)
        return machine

    def close(self) -> None:
        """Kill every process, and let go of what would keep the world in memory. Nothing runs in it afterwards."""
        for host in self.processes.values():
            host.crash()
        self.stacks.close()
