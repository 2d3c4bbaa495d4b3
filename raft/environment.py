"""Time, chance and the disk, as values that are handed in.

Nothing in the three packages asks the operating system for the time, for randomness or for a file directly. They
take an `Environment`; production passes `real_environment()`, tests and simulators pass their own. A lint rule
(`banned-api` in pyproject.toml) keeps it so; this module is its one exception.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

__all__ = [
    "Clock",
    "Environment",
    "FileSystem",
    "Randomness",
    "RealClock",
    "RealFileSystem",
    "RealRandomness",
    "SeededRandomness",
    "TimerHandle",
    "real_environment",
]


class TimerHandle(Protocol):
    """What `Clock.call_later` returns."""

    def cancel(self) -> None:
        """Forget the call; harmless when it has already happened."""


class Clock(Protocol):
    """Two clocks and the two ways to wait for them."""

    def now(self) -> float:
        """Wall clock: seconds since the Unix epoch, UTC. May jump."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """Call `callback` on the running event loop once, after `delay_seconds`."""

    async def sleep(self, delay_seconds: float) -> None:
        """Wait for `delay_seconds`."""


class Randomness(Protocol):
    """Chance, in the few shapes the packages need."""

    def uniform(self, low: float, high: float) -> float:
        """A float in [low, high]."""

    def below(self, limit: int) -> int:
        """An integer in [0, limit)."""

    def token_bytes(self, count: int) -> bytes:
        """`count` bytes; unpredictable in production, so fit for keys and tokens."""

    def uuid4(self) -> str:
        """A random UUID in its 36-character form (RFC 9562, version 4)."""


class FileSystem(Protocol):
    """The disk operations durability depends on; a simulator loses what was not synced."""

    def open(self, path: str, mode: str) -> BinaryIO:
        """Open a file unbuffered in binary `mode`; new files are private to the owner (0600)."""

    def fsync(self, file: BinaryIO) -> None:
        """Make the file's bytes and size durable (fdatasync where the system has it)."""

    def fsync_dir(self, path: str) -> None:
        """Make the entries of a directory durable."""

    def preallocate(self, file: BinaryIO, size_bytes: int) -> None:
        """Reserve `size_bytes` for the file, which grows to that size with zeros."""

    def free_bytes(self, path: str) -> int:
        """What is left for this process on the disk that holds the path."""

    def lock(self, file: BinaryIO) -> None:
        """Take the file for this process until it is closed; raises BlockingIOError when another has it."""

    def rename(self, source: str, target: str) -> None:
        """Atomically replace `target`."""

    def remove(self, path: str) -> None:
        """Remove a file."""

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, sorted."""

    def makedirs(self, path: str) -> None:
        """Make a directory and its parents, private to the owner (0700); fine if it exists."""

    def exists(self, path: str) -> bool:
        """Whether the path exists."""


class RealClock:
    """The machine's clocks and the running asyncio loop."""

    monotonic = staticmethod(time.monotonic)  # asked for several times a request: no frame of ours in between

    def now(self) -> float:
        """See `Clock.now`."""
        return time.time()

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """See `Clock.call_later`."""
        return asyncio.get_running_loop().call_later(delay_seconds, callback)

    async def sleep(self, delay_seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(delay_seconds)


class RealRandomness:
    """The operating system's randomness for tokens; a generator seeded from it for everything else.

    UUIDs take theirs from a pool, since one system call for each would cost more than all the rest of making one.
    """

    POOL_BYTES: Final = 4096

    def __init__(self) -> None:
        self._random = random.Random(os.urandom(32))
        self._pool = b""
        self._used = 0

    def uniform(self, low: float, high: float) -> float:
        """See `Randomness.uniform`."""
        return self._random.uniform(low, high)

    def below(self, limit: int) -> int:
        """See `Randomness.below`."""
        return self._random.randrange(limit)

    def token_bytes(self, count: int) -> bytes:
        """See `Randomness.token_bytes`."""
        return os.urandom(count)

    def uuid4(self) -> str:
        """See `Randomness.uuid4`."""
        start = self._used
        if start == len(self._pool):
            self._pool = os.urandom(self.POOL_BYTES)
            start = 0
        self._used = start + 16
        return _uuid4_text(self._pool[start : start + 16])


def _uuid4_text(chance: bytes) -> str:
    """16 random bytes as a version 4 UUID: six of the bits say version and variant (RFC 9562, 5.4)."""
    digits = chance.hex()
    variant = "89ab"[chance[8] & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


class SeededRandomness:
    """Everything from one seed: for tests and simulators, never for keys."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def uniform(self, low: float, high: float) -> float:
        """See `Randomness.uniform`."""
        return self._random.uniform(low, high)

    def below(self, limit: int) -> int:
        """See `Randomness.below`."""
        return self._random.randrange(limit)

    def token_bytes(self, count: int) -> bytes:
        """See `Randomness.token_bytes`."""
        return self._random.randbytes(count)

    def uuid4(self) -> str:
        """See `Randomness.uuid4`."""
        return _uuid4_text(self._random.randbytes(16))


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class RealFileSystem:
    """The machine's disk."""

    def open(self, path: str, mode: str) -> BinaryIO:
        """See `FileSystem.open`."""
        return open(path, mode, buffering=0, opener=_private_opener)  # type: ignore[return-value]

    def fsync(self, file: BinaryIO) -> None:
        """See `FileSystem.fsync`."""
        os.fdatasync(file.fileno())

    def fsync_dir(self, path: str) -> None:
        """See `FileSystem.fsync_dir`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def preallocate(self, file: BinaryIO, size_bytes: int) -> None:
        """See `FileSystem.preallocate`."""
        descriptor = file.fileno()
        before_bytes = os.fstat(descriptor).st_size
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
        except OSError:  # not every file system can, and a full disk may take a part: a sparse file is the next best
            os.ftruncate(descriptor, before_bytes)
            os.ftruncate(descriptor, max(before_bytes, size_bytes))

    def free_bytes(self, path: str) -> int:
        """See `FileSystem.free_bytes`."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def lock(self, file: BinaryIO) -> None:
        """See `FileSystem.lock`. Where the system has them, the open-file-description locks that etcd takes too."""
        if not hasattr(fcntl, "F_OFD_SETLK"):
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        whole_file = struct.pack("hhxxxxqqixxxx", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        try:
            fcntl.fcntl(file.fileno(), fcntl.F_OFD_SETLK, whole_file)
        except PermissionError as error:  # EACCES and EAGAIN mean the same here (fcntl(2))
            raise BlockingIOError(*error.args) from error

    def rename(self, source: str, target: str) -> None:
        """See `FileSystem.rename`."""
        os.replace(source, target)

    def remove(self, path: str) -> None:
        """See `FileSystem.remove`."""
        os.remove(path)

    def listdir(self, path: str) -> list[str]:
        """See `FileSystem.listdir`."""
        return sorted(os.listdir(path))

    def makedirs(self, path: str) -> None:
        """See `FileSystem.makedirs`."""
        os.makedirs(path, mode=0o700, exist_ok=True)

    def exists(self, path: str) -> bool:
        """See `FileSystem.exists`."""
        return os.path.exists(path)


@dataclass(frozen=True, slots=True)
class Environment:
    """All of the outside world that the packages touch."""

    clock: Clock
    randomness: Randomness
    files: FileSystem


def real_environment() -> Environment:
    """The machine this process runs on."""
    return Environment(RealClock(), RealRandomness(), RealFileSystem())
