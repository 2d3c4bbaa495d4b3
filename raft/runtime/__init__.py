"""Running members: the driver and its transports.

`Driver` owns one `RawNode` and everything around it; `docs` of the loop are with it. One event loop, one thread for the
disk, no locks.
"""

from raft.runtime.config import DriverConfig, Status
from raft.runtime.driver import Driver, StateMachine
from raft.runtime.transport import LocalNetwork, NullTransport, Receiver, Transport

__all__ = [
    "Driver",
    "DriverConfig",
    "LocalNetwork",
    "NullTransport",
    "Receiver",
    "StateMachine",
    "Status",
    "Transport",
]
