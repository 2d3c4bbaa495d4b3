"""Allocation of what services must not share: cluster addresses and node ports.

What is taken is what the existing services say, followed through a watch so that an allocation reads nothing; between
the decision and the moment the service is seen, this process holds a reservation. Two servers agree through the
IPAddress objects that the address allocator creates where it has a writer: a create decides, as in Kubernetes 1.33 and
later (KEP-1880).
"""

from apiserver.registry.allocators.addresses import AddressRange
from apiserver.registry.allocators.errors import AllocationError, RangeFullError
from apiserver.registry.allocators.following import Following
from apiserver.registry.allocators.holdings import Holdings
from apiserver.registry.allocators.ports import PortRange

__all__ = ["AddressRange", "AllocationError", "Following", "Holdings", "PortRange", "RangeFullError"]
