"""How to reach an etcd: endpoints, credentials, deadlines. Plain values, checked when they are made; knows no grpc."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from palm.errors import BadRequest

WAY_OUT = "start etcd and name it with --etcd or PALM_ETCD, or run `palm registry` for development"


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdSettings:
    """Endpoints are `host:port`, or `http://` / `https://` before it, all of one kind. Files are PEM.

    TLS is spoken when an endpoint says `https` or a `ca` is given; without `ca` the system's roots decide. `cert` and
    `key` identify this client and come together. Raises `BadRequest` naming the field.
    """

    endpoints: tuple[str, ...] = ("127.0.0.1:2379",)
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""
    cert: str = ""
    key: str = ""
    timeout_s: float = 5.0  # for one call in all, over all endpoints it tries
    probe_s: float = 2.0  # a watch silent for so long is asked; silent for as long again, it is dead
    page: int = 1000  # records read in one request
    receive_bytes_max: int = 16 * 2**20  # grpc's own limit of 4 MiB breaks a registry of 6 MB

    def __post_init__(self) -> None:
        if not isinstance(self.endpoints, tuple):
            raise BadRequest(f"endpoints is {self.endpoints!r}; give a tuple of host:port")
        if not self.endpoints:
            raise BadRequest("endpoints is empty; give at least one host:port")
        for endpoint in self.endpoints:
            host, colon, port = _bare(endpoint).rpartition(":")
            if not (host and colon and port.isdecimal() and 0 < int(port) < 65536) or "/" in host:
                raise BadRequest(f"endpoint {endpoint!r} is not host:port, http://host:port or https://host:port")
        if len({endpoint.startswith("https://") for endpoint in self.endpoints}) > 1:
            raise BadRequest(f"endpoints {self.endpoints!r} mix https with others; use one kind")
        if self.ca and any(endpoint.startswith("http://") for endpoint in self.endpoints):
            raise BadRequest("ca is given, but an endpoint says http://; say https://, or leave the scheme out")
        if bool(self.cert) != bool(self.key):
            raise BadRequest("cert and key come together; only one of them is given")
        if self.cert and not self.secure:
            raise BadRequest("cert is given without TLS; give ca, or endpoints with https://")
        if self.password and not self.user:
            raise BadRequest("password is given without user")
        for name in ("timeout_s", "probe_s", "page", "receive_bytes_max"):
            if not getattr(self, name) > 0:
                raise BadRequest(f"{name} is {getattr(self, name)!r}; it must be above 0")

    @property
    def secure(self) -> bool:
        return bool(self.ca) or self.endpoints[0].startswith("https://")

    @property
    def targets(self) -> tuple[str, ...]:
        """The endpoints without their schemes."""
        return tuple(_bare(endpoint) for endpoint in self.endpoints)

    def only(self, target: str) -> EtcdSettings:
        """The same settings for one of `targets` alone."""
        return replace(self, endpoints=(self.endpoints[self.targets.index(target)],))


def _bare(endpoint: str) -> str:
    return endpoint.removeprefix("http://").removeprefix("https://").removesuffix("/")
