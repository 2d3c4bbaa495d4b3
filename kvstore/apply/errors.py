"""What the applier refuses beyond what the store does."""

from __future__ import annotations

from kvstore.mvcc import StoreError

__all__ = ["CorruptError", "NoSpaceError", "UnknownRequestError"]


class NoSpaceError(StoreError):
    """The NOSPACE alarm is raised, or this very write crossed the quota."""


class CorruptError(StoreError):
    """The CORRUPT alarm is raised."""


class UnknownRequestError(StoreError):
    """The log holds a request this version does not know."""
