"""A disk that keeps its promises and not one more: what was not synced may be lost at a crash, whole or by sectors."""

from __future__ import annotations

import errno
import random
from typing import BinaryIO

SECTOR_BYTES = 512


class SimFile:
    """One file: what programs see, and what a crash leaves."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.durable = bytearray()
        self.dirty: set[int] = set()
        self.lock_holder: SimHandle | None = None

    def write(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        if end > len(self.content):
            self.content.extend(bytes(end - len(self.content)))
        self.content[offset:end] = data
        self.dirty.update(range(offset // SECTOR_BYTES, (end - 1) // SECTOR_BYTES + 1))

    def resize(self, size: int) -> None:
        first, last = sorted((size, len(self.content)))
        self.dirty.update(range(first // SECTOR_BYTES, -(-last // SECTOR_BYTES)))
        if size < len(self.content):
            del self.content[size:]
        else:
            self.content.extend(bytes(size - len(self.content)))

    def sync(self) -> None:
        if len(self.durable) > len(self.content):
            del self.durable[len(self.content) :]
        else:
            self.durable.extend(bytes(len(self.content) - len(self.durable)))
        for sector in self.dirty:
            start = sector * SECTOR_BYTES
            self.durable[start : start + SECTOR_BYTES] = self.content[start : start + SECTOR_BYTES]
        self.dirty.clear()

    def crash(self, chance: random.Random, kept: float) -> None:
        """Keep each sector that was not synced with probability `kept`."""
        size = len(self.content) if chance.random() < kept else len(self.durable)
        survived = bytearray(self.durable[:size])
        survived.extend(bytes(size - len(survived)))
        for sector in sorted(self.dirty):
            start = sector * SECTOR_BYTES
            if start < size and chance.random() < kept:
                piece = self.content[start : min(start + SECTOR_BYTES, size)]
                survived[start : start + len(piece)] = piece
        self.content = survived
        self.durable = bytearray(survived)
        self.dirty.clear()
        self.lock_holder = None


class SimHandle:
    """An open file, as far as the log uses it."""

    def __init__(self, disk: SimDisk, file: SimFile) -> None:
        self._disk = disk
        self.file = file
        self._position = 0

    def read(self, count: int = -1) -> bytes:
        end = len(self.file.content) if count < 0 else self._position + count
        data = bytes(self.file.content[self._position : end])
        self._position += len(data)
        return data

    def write(self, data: bytes) -> int:
        if self._disk.full:
            half = data[: len(data) // 2]
            if not half:
                raise OSError(errno.ENOSPC, "No space left on device")
            data = half
        self.file.write(self._position, data)
        self._position += len(data)
        return len(data)

    def seek(self, position: int) -> int:
        self._position = position
        return position

    def truncate(self, size: int) -> int:
        self.file.resize(size)
        return size

    def close(self) -> None:
        if self.file.lock_holder is self:
            self.file.lock_holder = None


class SimDisk:
    """A `raft.environment.FileSystem`.

    Attributes:
        full: nothing more fits.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._names: dict[str, SimFile] = {}
        self._durable_names: dict[str, SimFile] = {}
        # What was done to names and not synced, in order: (directory, the names then).
        self._pending: list[tuple[str, str, SimFile | None]] = []
        self._directories: set[str] = set()
        self.full = False

    def open(self, path: str, mode: str) -> BinaryIO:
        file = self._names.get(path)
        if file is None:
            if mode.startswith("r"):
                raise FileNotFoundError(path)
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            file = SimFile()
            self._set(path, file)
        elif mode.startswith("w"):
            file.resize(0)
        return SimHandle(self, file)  # type: ignore[return-value]  # as much of it as the log uses

    def _set(self, path: str, file: SimFile | None) -> None:
        if file is None:
            del self._names[path]
        else:
            self._names[path] = file
        self._pending.append((path.rpartition("/")[0], path, file))

    def fsync(self, file: SimHandle) -> None:  # type: ignore[override]
        file.file.sync()

    def fsync_dir(self, path: str) -> None:
        rest = []
        for directory, name, file in self._pending:
            if directory == path:
                self._make_durable(name, file)
            else:
                rest.append((directory, name, file))
        self._pending = rest

    def _make_durable(self, name: str, file: SimFile | None) -> None:
        if file is None:
            self._durable_names.pop(name, None)
        else:
            self._durable_names[name] = file

    def preallocate(self, file: SimHandle, size_bytes: int) -> None:  # type: ignore[override]
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        file.file.resize(max(size_bytes, len(file.file.content)))

    def free_bytes(self, path: str) -> int:
        return 0 if self.full else 1 << 40

    def lock(self, file: SimHandle) -> None:  # type: ignore[override]
        if file.file.lock_holder not in (None, file):
            raise BlockingIOError(errno.EAGAIN, "locked")
        file.file.lock_holder = file

    def rename(self, source: str, target: str) -> None:
        file = self._names[source]
        self._set(target, file)
        self._set(source, None)

    def remove(self, path: str) -> None:
        self._set(path, None)

    def listdir(self, path: str) -> list[str]:
        return sorted(name[len(path) + 1 :] for name in self._names if name.rpartition("/")[0] == path)

    def makedirs(self, path: str) -> None:
        self._directories.add(path)

    def exists(self, path: str) -> bool:
        return path in self._names or path in self._directories

    def get(self, path: str) -> bytes:
        """What is in a file."""
        return bytes(self._names[path].content)

    def put(self, path: str, content: bytes) -> None:
        """Put this into a file, behind everybody's back."""
        file = self._names[path]
        file.content, file.durable = bytearray(content), bytearray(content)
        file.dirty.clear()

    def crash(self) -> None:
        """The power goes. Names not synced survive up to some point, unsynced sectors by chance."""
        kept = self._chance.choice((0.0, 0.5, 0.9, 1.0))
        for _, name, file in self._pending[: self._chance.randrange(len(self._pending) + 1)]:
            self._make_durable(name, file)
        self._pending = []
        self._names = dict(self._durable_names)
        for name in sorted(self._names):
            self._names[name].crash(self._chance, kept)
