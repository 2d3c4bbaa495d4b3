"""Which address of a service range to give out (kubernetes `service/ipallocator`)."""

from __future__ import annotations

from collections.abc import Callable, Container
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from apiserver.registry.allocators.errors import AllocationError, RangeFullError
from kvstore.environment import Randomness

__all__ = ["AddressRange"]

Address = IPv4Address | IPv6Address

# KEP-3070: the lower part of a range is left to those who choose an address themselves.
STATIC_BAND_MIN: Final = 16
STATIC_BAND_MAX: Final = 256
STATIC_BAND_FRACTION: Final = 16
RANDOM_TRIES: Final = 16


class AddressRange:
    """One service range. The first address (and for IPv4 the last, the broadcast address) is never given out."""

    def __init__(self, cidr: str) -> None:
        self._network: IPv4Network | IPv6Network = ip_network(cidr)
        self._first = int(self._network.network_address) + 1
        last = int(self._network.broadcast_address)
        self._last = last - 1 if self._network.version == 4 else last
        size = self._last - self._first + 1
        band = min(max(STATIC_BAND_MIN, size // STATIC_BAND_FRACTION), STATIC_BAND_MAX)
        self._dynamic = self._first if size <= STATIC_BAND_MIN else self._first + band

    @property
    def family(self) -> str:
        """IPv4 or IPv6."""
        return f"IPv{self._network.version}"

    @property
    def first(self) -> str:
        """The address of the `kubernetes` service."""
        return str(self._address(self._first))

    def check(self, wanted: str) -> str:
        """The canonical form of an address in the range; AllocationError when it is not in it."""
        address = ip_address(wanted)
        if address not in self._network:
            raise AllocationError("the provided network does not match the current range")
        if not self._first <= int(address) <= self._last:
            text = f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {self._network}"
            raise AllocationError(text)
        return str(address)

    def pick(self, taken: Container[str], randomness: Randomness) -> str:
        """A free address: a random one above the static band, or failing that any. RangeFullError when none is left."""
        upper = self._last - self._dynamic + 1
        if upper > 0:
            for _ in range(RANDOM_TRIES):
                address = str(self._address(self._dynamic + randomness.below(upper)))
                if address not in taken:
                    return address
            start = self._dynamic + randomness.below(upper)
            for value in (*range(start, min(self._last + 1, start + 65536)), *range(self._dynamic, start)):
                address = str(self._address(value))
                if address not in taken:
                    return address
        for value in range(self._first, self._dynamic):
            address = str(self._address(value))
            if address not in taken:
                return address
        raise RangeFullError

    def _address(self, value: int) -> Address:
        make: Callable[[int], Address] = IPv4Address if self._network.version == 4 else IPv6Address
        return make(value)
