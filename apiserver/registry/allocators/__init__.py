"""Allocation of what services must not share: cluster addresses and node ports.

What is taken is read from the existing services each time, so nothing here can drift from the store. Between the
decision and the moment the service shows in the cache, this process holds a reservation. Two servers agree through the
IPAddress objects that the address allocator creates where it has a writer: a create decides, as in Kubernetes 1.33 and
later (KEP-1880).
"""

from apiserver.registry.allocators.addresses import AddressRange
from apiserver.registry.allocators.errors import AllocationError, RangeFullError
from apiserver.registry.allocators.ports import PortRange
from apiserver.registry.allocators.reservations import Reservations

__all__ = ["AddressRange", "AllocationError", "PortRange", "RangeFullError", "Reservations"]
