"""What the store refuses, before any protocol gives it a code and a text."""

from __future__ import annotations

__all__ = [
    "CompactedError",
    "FutureRevisionError",
    "KeyNotFoundError",
    "LeaseExistsError",
    "LeaseNotFoundError",
    "LeaseTTLTooLargeError",
    "StoreError",
]


class StoreError(Exception):
    """Base of every refusal; nothing was changed."""


class CompactedError(StoreError):
    """The revision asked for lies below the last compaction."""

    def __init__(self, compact_revision: int) -> None:
        super().__init__(f"revisions below {compact_revision} are compacted")
        self.compact_revision = compact_revision


class FutureRevisionError(StoreError):
    """The revision asked for has not happened yet."""


class KeyNotFoundError(StoreError):
    """A put that keeps the value or the lease found no key to take it from."""


class LeaseNotFoundError(StoreError):
    """No lease has this id."""


class LeaseExistsError(StoreError):
    """A lease with this id was granted before."""


class LeaseTTLTooLargeError(StoreError):
    """The time to live is beyond `lease.MAX_TTL_SECONDS`."""
