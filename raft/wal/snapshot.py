"""Snapshot files: `<term>-<index>.snap`, a `snappb.snapshot` around a serialized `raftpb.Snapshot`, as in etcd."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import google_crc32c
from google.protobuf.message import DecodeError

from raft.core import Snapshot
from raft.environment import FileSystem
from raft.errors import CorruptLogError
from raft.failpoint import failpoint
from raft.wal.segment import write_all
from raft.wire import WireError, decode_snapshot, encode_snapshot
from raft.wire import snap_pb2 as pb

__all__ = ["SnapshotStore"]

DEFAULT_KEEP: Final = 5
"""How many snapshot files stay, as in etcd (`--max-snapshots`)."""

_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.snap")


class SnapshotStore:
    """The snapshot files in one directory."""

    def __init__(self, files: FileSystem, directory: str, *, keep: int = DEFAULT_KEEP) -> None:
        self._files = files
        self._directory = directory
        self._keep = keep

    def save(self, snapshot: Snapshot) -> str:
        """Store a snapshot durably; it appears whole or not at all. Returns its path.

        Raises:
            OSError: the disk's.
        """
        self._files.makedirs(self._directory)
        data = encode_snapshot(snapshot)
        content = pb.snapshot(crc=google_crc32c.value(data), data=data).SerializeToString()
        path = f"{self._directory}/{snapshot.term:016x}-{snapshot.index:016x}.snap"
        temporary = f"{path}.tmp"
        file = self._files.open(temporary, "wb")
        try:
            write_all(file, content)
            self._files.fsync(file)
        finally:
            file.close()
        failpoint("snap_before_rename")
        self._files.rename(temporary, path)
        self._files.fsync_dir(self._directory)
        return path

    def load_newest(self, acceptable: Collection[tuple[int, int]]) -> Snapshot | None:
        """The newest undamaged snapshot whose (term, index) is acceptable.

        A damaged file is renamed to `<name>.broken` and an older one is taken: the log reaches further back for just
        that reason. None when there is no good one.
        """
        for name in self._names():
            term, index = _position(name)
            if (term, index) not in acceptable:
                continue
            path = f"{self._directory}/{name}"
            try:
                return self._load(path)
            except CorruptLogError:
                self._files.rename(path, f"{path}.broken")
        return None

    def _load(self, path: str) -> Snapshot:
        file = self._files.open(path, "rb")
        try:
            content = file.read()
        finally:
            file.close()
        try:
            outer = pb.snapshot.FromString(content)
            if not outer.data or outer.crc != google_crc32c.value(outer.data):
                raise CorruptLogError(path, 0, "the checksum is wrong")
            snapshot = decode_snapshot(outer.data)
        except (DecodeError, WireError) as error:
            raise CorruptLogError(path, 0, str(error)) from error
        return snapshot

    def remove_old(self) -> list[str]:
        """Remove all but the newest files and whatever was left unfinished; returns their names."""
        names = self._names()
        removed = names[self._keep :]
        if self._files.exists(self._directory):
            removed += [name for name in self._files.listdir(self._directory) if name.endswith(".snap.tmp")]
        for name in removed:
            self._files.remove(f"{self._directory}/{name}")
        return removed

    def oldest_kept(self) -> int:
        """The index of the oldest snapshot file; 0 without any. The log behind it is needed should newer ones break."""
        names = self._names()
        return min((_position(name)[1] for name in names), default=0)

    def _names(self) -> list[str]:
        """File names, newest first."""
        if not self._files.exists(self._directory):
            return []
        names = [name for name in self._files.listdir(self._directory) if _NAME.fullmatch(name)]
        return sorted(names, reverse=True)


def _position(name: str) -> tuple[int, int]:
    match = _NAME.fullmatch(name)
    assert match is not None
    return int(match[1], 16), int(match[2], 16)
