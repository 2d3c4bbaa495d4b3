"""Passwords, which nobody but bcrypt ever sees: hashed and checked on threads of their own."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from kvstore.auth import UncataloguedAuthError
from kvstore.environment import Randomness
from kvstore.server import catalogue

__all__ = ["DEFAULT_BCRYPT_COST", "PasswordHasher"]

DEFAULT_BCRYPT_COST = 10
BCRYPT_COST_MIN, BCRYPT_COST_MAX = 4, 31
PASSWORD_BYTES_MAX = 72
"""bcrypt reads no further."""
THREADS = 2
PENDING_MAX = 1000
"""Passwords that may wait at once."""

_BCRYPT_DIGITS = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
)

_Result = TypeVar("_Result")

logger = logging.getLogger(__name__)


class PasswordHasher:
    """bcrypt.

    Args:
        cost: the logarithm of the rounds; what bcrypt does not allow becomes the default.
    """

    def __init__(self, cost: int, randomness: Randomness) -> None:
        if not BCRYPT_COST_MIN <= cost <= BCRYPT_COST_MAX:
            logger.warning(
                "use default bcrypt cost instead of the invalid given cost", extra={"fields": {"given-cost": cost}}
            )
            cost = DEFAULT_BCRYPT_COST
        self.cost = cost
        self._randomness = randomness
        self._threads = ThreadPoolExecutor(THREADS, "bcrypt")
        self._pending = 0

    def hash_now(self, password: str) -> bytes:
        """A password's hash, in the form Go's bcrypt gives it.

        Raises:
            UncataloguedAuthError: it is too long.
        """
        encoded = password.encode()
        if len(encoded) > PASSWORD_BYTES_MAX:
            raise UncataloguedAuthError(f"bcrypt: password length exceeds {PASSWORD_BYTES_MAX} bytes")
        return bcrypt.hashpw(encoded, self._salt(self._randomness.token_bytes(16)))

    async def hash(self, password: str) -> str:
        """The same off the loop, in base64.

        Raises:
            UncataloguedAuthError: it is too long.
            EtcdError: too many wait.
        """
        return base64.b64encode(await self._run(lambda: self.hash_now(password))).decode()

    async def matches(self, password: str, hashed: bytes | None) -> bool:
        """Whether a password is the one that was hashed; without a hash, no, but after as long a time.

        Raises:
            EtcdError: too many wait.
        """
        return await self._run(lambda: self._matches(password.encode()[:PASSWORD_BYTES_MAX], hashed))

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password: bytes, hashed: bytes | None) -> bool:
        if hashed is None:
            bcrypt.hashpw(password, self._salt(bytes(16)))
            return False
        try:
            return bcrypt.checkpw(password, hashed)
        except ValueError:  # no hash at all
            return False

    def _salt(self, chance: bytes) -> bytes:
        digits = base64.b64encode(chance).rstrip(b"=").translate(_BCRYPT_DIGITS)
        return b"$2a$%02d$%b" % (self.cost, digits)

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        if self._pending >= PENDING_MAX:
            raise catalogue.TOO_MANY_REQUESTS.error()
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._pending -= 1
