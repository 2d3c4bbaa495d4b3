"""Why nothing could be allocated, in the words of kube-apiserver's allocators."""

from __future__ import annotations

__all__ = ["AllocationError", "RangeFullError"]


class AllocationError(Exception):
    """The address or port wanted cannot be had; the message goes into the field error."""


class RangeFullError(Exception):
    """Nothing is left in the range."""

    def __init__(self) -> None:
        super().__init__("range is full")
