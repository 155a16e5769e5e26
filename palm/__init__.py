"""PALM: clusters of streaming RPC servers that lose no message, in production and in a simulator."""

from palm.aclient import AsyncClient
from palm.client import Client
from palm.core.message import PartFailed
from palm.errors import (
    DeadLettered,
    DeadlineExpired,
    FateUnknown,
    HandlerFailed,
    JobCancelled,
    MessageFailed,
    NoSuchFunction,
    NoSuchServer,
    PalmError,
    PayloadTooLarge,
    RegistryUnavailable,
    StoreRefused,
    StoreUnavailable,
    WaitTimeout,
    WatchGap,
)
from palm.jobs import Job
from palm.observe.ledger import Ledger
from palm.runtime.options import function
from palm.servers import (
    ButterflyServer,
    ReduceServer,
    RegisteredServer,
    ScatterGatherServer,
    SinkServer,
    SourceServer,
    run_server,
)
from palm.store import AsyncStore, Store

__all__ = [
    "AsyncClient",
    "AsyncStore",
    "ButterflyServer",
    "Client",
    "DeadLettered",
    "DeadlineExpired",
    "FateUnknown",
    "HandlerFailed",
    "Job",
    "JobCancelled",
    "Ledger",
    "MessageFailed",
    "NoSuchFunction",
    "NoSuchServer",
    "PalmError",
    "PartFailed",
    "PayloadTooLarge",
    "ReduceServer",
    "RegisteredServer",
    "RegistryUnavailable",
    "ScatterGatherServer",
    "SinkServer",
    "SourceServer",
    "Store",
    "StoreRefused",
    "StoreUnavailable",
    "WaitTimeout",
    "WatchGap",
    "function",
    "run_server",
]
