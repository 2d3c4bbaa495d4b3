"""Running members: the driver and its transports.

`Driver` owns one `RawNode` and everything around it. One event loop, one thread for the disk, no locks.

    driver         the loop
    state_machine  what is replicated; restarting
    config         settings and status
    proposals  reads    what waits for the loop
    worker         the thread that waits for the disk
    transport      the seam to peers; members in one process
    certificate_names            whose a certificate is
    transport_grpc  peer_*       members on a network (imported by their own names: gRPC takes a while to load)
"""

from raft.runtime.config import DriverConfig, Status
from raft.runtime.driver import Driver
from raft.runtime.state_machine import StateMachine
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
