"""Work on files and threads that must not be left in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["uninterrupted"]

Result = TypeVar("Result")


async def uninterrupted(work: Coroutine[Any, Any, Result]) -> Result:
    """Do the work to its end even if the caller is cancelled meanwhile, who learns of it then.

    A thread cannot be cancelled. Whoever stopped waiting for one would close the file that it writes, or lose the
    transaction that it is about to begin, and with it the lock that the transaction holds.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        if not task.cancelled():
            task.exception()  # nobody is left to be told
        raise asyncio.CancelledError
    return task.result()
