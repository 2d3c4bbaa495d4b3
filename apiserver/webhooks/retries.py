"""Calling again what failed for a moment (k8s.io/apiserver `util/webhook`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from apiserver.webhooks.client import WebhookError
from kvstore.environment import Environment

__all__ = ["with_retries"]

ATTEMPTS: Final = 5
FIRST_DELAY_SECONDS: Final = 0.5
DELAY_FACTOR: Final = 1.5
JITTER: Final = 0.2

_T = TypeVar("_T")


async def with_retries(call: Callable[[], Awaitable[_T]], environment: Environment) -> _T:
    """The result of a call that may be made up to five times, with longer and longer pauses.

    Raises:
        WebhookError: the last failure, or one that would not go away.
    """
    delay = FIRST_DELAY_SECONDS
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await call()
        except WebhookError as error:
            if not error.transient or attempt == ATTEMPTS:
                raise
        await environment.clock.sleep(delay * (1 + JITTER * environment.randomness.uniform(0.0, 1.0)))
        delay *= DELAY_FACTOR
    raise AssertionError("the last attempt returns or raises")
