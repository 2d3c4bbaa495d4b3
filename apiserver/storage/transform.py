"""The seam for encryption at rest: bytes of an object to and from bytes of the store (`value.Transformer`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = ["IDENTITY", "IdentityTransformer", "TransformerTable", "ValueTransformer", "identity_table"]


class ValueTransformer(Protocol):
    """Seals and opens stored values of one resource.

    `aad` is the storage key: where the format is authenticated, a value copied to another key does not open. Both
    directions raise `StatusError` 500 that names the provider's problem and never any plaintext.

    The calls are synchronous because they are on every path. What may have to be fetched first (a data key that only
    a remote KMS can open) is fetched by `prepare`, which the storage awaits before it opens or seals.
    """

    def to_storage(self, data: bytes, aad: bytes) -> bytes:
        """Seal."""

    def from_storage(self, data: bytes, aad: bytes) -> tuple[bytes, bool]:
        """Open; the flag says that the value is stale: it should be written again with the provider of today."""

    async def prepare(self, values: Sequence[bytes]) -> None:
        """Make ready to open these values, or to seal when there are none."""


class IdentityTransformer:
    """Values are stored as they are."""

    def to_storage(self, data: bytes, aad: bytes) -> bytes:
        """See `ValueTransformer`."""
        return data

    def from_storage(self, data: bytes, aad: bytes) -> tuple[bytes, bool]:
        """See `ValueTransformer`."""
        return data, False

    async def prepare(self, values: Sequence[bytes]) -> None:
        """See `ValueTransformer`."""


IDENTITY = IdentityTransformer()

TransformerTable = Callable[[str, str], ValueTransformer]
"""From group and plural of a resource to its transformer. Asked again for every use, so the answer may change."""


def identity_table(group: str, plural: str) -> ValueTransformer:
    """No encryption at all."""
    return IDENTITY
