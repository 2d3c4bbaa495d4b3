"""The write-ahead log as a whole: appending, rotating, recovering, releasing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO, Final

from google.protobuf.message import DecodeError

from raft.core import ConfState, Entry, HardState
from raft.environment import FileSystem
from raft.errors import CorruptLogError, DataDirInUseError, RaftError
from raft.failpoint import failpoint
from raft.wal.record import Record, RecordEncoder, RecordType
from raft.wal.segment import SegmentName, SegmentReader, write_all
from raft.wire import (
    WireError,
    conf_state_from_pb,
    conf_state_to_pb,
    decode_entry,
    decode_hard_state,
    encode_hard_state,
)
from raft.wire import wal_pb2 as pb

__all__ = ["SEGMENT_BYTES", "WAL", "Batch", "Recovered", "SnapshotMark"]

SEGMENT_BYTES: Final = 64_000_000
"""A segment is made this large beforehand and gives way to the next when it has grown to it, as in etcd."""

_TEMPORARY_NAME = "0.tmp"


@dataclass(frozen=True, slots=True)
class SnapshotMark:
    """The note that a snapshot exists; the snapshot itself is a file of its own."""

    index: int
    term: int
    conf_state: ConfState | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one write puts on disk; made by `WAL.seal`, to be given to `WAL.commit` in the same order."""

    data: bytes
    end: int
    rotation: _Rotation | None = None


@dataclass(frozen=True, slots=True)
class _Rotation:
    """The change to the next segment: its name and its first records."""

    name: SegmentName
    header: bytes


@dataclass(slots=True)
class Recovered:
    """What a log holds.

    Attributes:
        metadata: the application's, written when the log was made.
        entries: as they were stored last, the first one at any index; without gaps.
        snapshots: every mark found, oldest first; also marks of snapshots that were never committed here.
        torn_path: the segment whose unfinished end was cut off, if there was one.
    """

    metadata: bytes = b""
    hard_state: HardState = field(default_factory=HardState)
    entries: list[Entry] = field(default_factory=list)
    snapshots: list[SnapshotMark] = field(default_factory=list)
    torn_path: str | None = None


class WAL:
    """An open log.

    Encoding and writing are apart, so that the one can happen on the event loop and the other on a worker thread:
    `append` and `seal` belong to the owner, who hands each `Batch` to `commit`. `commit`, `release` and `close` block;
    at most one of them may run at a time, in the order the owner asked. `save` does it all at once.

    A failed `commit` leaves the file in an unknown state (a page that could not be written may count as clean from then
    on), so after it every further one fails.
    """

    def __init__(
        self,
        files: FileSystem,
        directory: str,
        metadata: bytes,
        hard_state: HardState,
        segments: list[SegmentName],
        tail: BinaryIO,
        encoder: RecordEncoder,
        *,
        offset: int,
        last_index: int,
        segment_bytes: int,
    ) -> None:
        """Use `create` or `open`."""
        self._files = files
        self._directory = directory
        self._metadata = metadata
        self._segment_bytes = segment_bytes
        # The owner's half.
        self._encoder = encoder
        self._frames: list[bytes] = []
        self._offset = offset
        self._hard_state = hard_state
        self._unwritten_state: HardState | None = None
        self._last_index = last_index
        self._sequence = segments[-1].sequence
        # The writer's half.
        self._tail = tail
        self._segments = segments
        self._failure: Exception | None = None

    # Opening

    @staticmethod
    def exists(files: FileSystem, directory: str) -> bool:
        """Whether the directory holds a log."""
        return bool(_segment_names(files, directory))

    @staticmethod
    def metadata_of(files: FileSystem, directory: str) -> bytes | None:
        """What the log in the directory was made with, read without opening it; None when there is no log.

        Raises:
            CorruptLogError: the log is damaged before its metadata, or has none.
            OSError: the disk's.
        """
        names = _segment_names(files, directory)
        if not names:
            return None
        path = f"{directory}/{names[0]}"
        file = files.open(path, "rb")
        try:
            reader = SegmentReader(file, path, 0, is_last=len(names) == 1)
            for record in reader.records():
                if record.type == RecordType.METADATA:
                    return record.data
        finally:
            file.close()
        raise CorruptLogError(path, reader.offset, "the log has no metadata")

    @classmethod
    def create(
        cls, files: FileSystem, directory: str, metadata: bytes = b"", *, segment_bytes: int = SEGMENT_BYTES
    ) -> WAL:
        """Make a new log; it appears whole or not at all.

        Raises:
            FileExistsError: there is one.
            OSError: the disk's.
        """
        files.makedirs(directory)
        if _segment_names(files, directory):
            raise FileExistsError(f"{directory} holds a log already")
        encoder = RecordEncoder()
        mark = _encode_mark(SnapshotMark(0, 0))
        header = (
            encoder.encode_crc()
            + encoder.encode(RecordType.METADATA, metadata)
            + encoder.encode(RecordType.SNAPSHOT, mark)
        )
        name = SegmentName(0, 0)
        tail = _make_segment(files, directory, name, header, segment_bytes)
        parent, _, _ = directory.rstrip("/").rpartition("/")
        files.fsync_dir(parent or ".")
        return cls(
            files,
            directory,
            metadata,
            HardState(),
            [name],
            tail,
            encoder,
            offset=len(header),
            last_index=0,
            segment_bytes=segment_bytes,
        )

    @classmethod
    def open(cls, files: FileSystem, directory: str, *, segment_bytes: int = SEGMENT_BYTES) -> tuple[WAL, Recovered]:
        """Read a log from beginning to end and make it ready for appending; an unfinished end is cut off.

        Raises:
            FileNotFoundError: there is none.
            DataDirInUseError: another process has it.
            CorruptLogError: it is damaged.
            OSError: the disk's.
        """
        names = _segment_names(files, directory)
        if not names:
            raise FileNotFoundError(f"{directory} holds no log")
        for before, name in pairwise(names):
            if name.sequence != before.sequence + 1:
                raise CorruptLogError(f"{directory}/{name}", 0, f"the segment before it is missing; {before} is there")
        tail = _open_locked(files, f"{directory}/{names[-1]}")
        try:
            reader, recovered, last_index = _read_segments(files, directory, names, tail)
            _clear_from(files, tail, reader.offset, segment_bytes)
        except BaseException:
            tail.close()
            raise
        wal = cls(
            files,
            directory,
            recovered.metadata,
            recovered.hard_state,
            names,
            tail,
            RecordEncoder(reader.crc),
            offset=reader.offset,
            last_index=last_index,
            segment_bytes=segment_bytes,
        )
        return wal, recovered

    # The owner's half

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Encode into the next batch. Of several hard states only the newest is written."""
        if entries:
            self._encoder.encode_entries(entries, self._frames)
            self._last_index = entries[-1].index
        if hard_state is not None:
            known = (self._unwritten_state or self._hard_state).commit
            self._unwritten_state = hard_state._replace(commit=max(known, hard_state.commit))

    def append_snapshot(self, mark: SnapshotMark) -> None:
        """Encode the note that the snapshot exists; its file must be durable before the note is.

        What is in a snapshot is committed, and the log says so: recovery takes no snapshot ahead of the commit index.
        """
        state = self._unwritten_state or self._hard_state
        if state.commit < mark.index:
            self._unwritten_state = state._replace(commit=mark.index)
        self._frames.append(self._encoder.encode(RecordType.SNAPSHOT, _encode_mark(mark)))
        self._last_index = max(self._last_index, mark.index)

    def seal(self) -> Batch:
        """Everything appended since the last time, as one write."""
        if self._unwritten_state is not None:
            self._hard_state = self._unwritten_state
            self._unwritten_state = None
            self._frames.append(self._encoder.encode(RecordType.STATE, encode_hard_state(self._hard_state)))
        data = b"".join(self._frames)
        self._frames = []
        self._offset += len(data)
        if self._offset < self._segment_bytes:
            return Batch(data, self._offset)
        return self._seal_and_rotate(data)

    def _seal_and_rotate(self, data: bytes) -> Batch:
        end = self._offset
        self._sequence += 1
        header = self._encoder.encode_crc() + self._encoder.encode(RecordType.METADATA, self._metadata)
        if self._hard_state != HardState():
            header += self._encoder.encode(RecordType.STATE, encode_hard_state(self._hard_state))
        self._offset = len(header)
        return Batch(data, end, _Rotation(SegmentName(self._sequence, self._last_index + 1), header))

    def save(self, hard_state: HardState | None, entries: Sequence[Entry], *, must_sync: bool = True) -> None:
        """Append and, when `must_sync`, make it durable before returning; otherwise the next batch carries it."""
        self.append(hard_state, entries)
        if must_sync:
            self.commit(self.seal())

    def save_snapshot(self, mark: SnapshotMark) -> None:
        """Note a snapshot durably before returning."""
        self.append_snapshot(mark)
        self.commit(self.seal())

    # The writer's half

    def commit(self, batch: Batch) -> None:
        """Write a batch and make it durable.

        Raises:
            OSError: the disk's; nothing in the batch may be taken as stored, and nothing more will be.
        """
        if self._failure is not None:
            raise RaftError("the log cannot be written after an error") from self._failure
        try:
            if batch.data:
                write_all(self._tail, batch.data)
            failpoint("wal_before_sync")
            self._files.fsync(self._tail)
            failpoint("wal_after_sync")
            if batch.rotation is not None:
                self._rotate(batch.end, batch.rotation)
        except BaseException as error:
            self._failure = error if isinstance(error, Exception) else RaftError("interrupted")
            raise

    def _rotate(self, end: int, rotation: _Rotation) -> None:
        old = self._tail
        old.truncate(end)
        self._files.fsync(old)
        self._tail = _make_segment(self._files, self._directory, rotation.name, rotation.header, self._segment_bytes)
        self._segments.append(rotation.name)
        old.close()

    def release(self, index: int) -> list[str]:
        """Remove the segments before the one with the entry at `index`; returns their names.

        That one stays, although the entry may be its last: the mark of a snapshot at `index` is there, or later.
        """
        removed = []
        while len(self._segments) > 1 and self._segments[1].index <= index:
            name = str(self._segments.pop(0))
            self._files.remove(f"{self._directory}/{name}")
            removed.append(name)
        return removed

    def close(self) -> None:
        """Write what is still only encoded, and let go of the files."""
        try:
            if self._failure is None and (self._frames or self._unwritten_state is not None):
                self.commit(self.seal())
        finally:
            self._tail.close()

    @property
    def segments(self) -> tuple[SegmentName, ...]:
        """The segments there are, oldest first."""
        return tuple(self._segments)


def _segment_names(files: FileSystem, directory: str) -> list[SegmentName]:
    if not files.exists(directory):
        return []
    return sorted(name for name in map(SegmentName.parse, files.listdir(directory)) if name is not None)


def _open_locked(files: FileSystem, path: str) -> BinaryIO:
    file = files.open(path, "r+b")
    try:
        files.lock(file)
    except BlockingIOError:
        file.close()
        raise DataDirInUseError(f"{path} is in use by another process") from None
    return file


def _make_segment(files: FileSystem, directory: str, name: SegmentName, header: bytes, segment_bytes: int) -> BinaryIO:
    """A segment that appears under its name only when it has its first records and its full size."""
    temporary = f"{directory}/{_TEMPORARY_NAME}"
    file = files.open(temporary, "w+b")
    try:
        files.lock(file)
        files.preallocate(file, segment_bytes)
        write_all(file, header)
        files.fsync(file)
        failpoint("wal_before_rename")
        files.rename(temporary, f"{directory}/{name}")
        files.fsync_dir(directory)
    except BaseException:
        file.close()
        raise
    return file


def _clear_from(files: FileSystem, tail: BinaryIO, offset: int, segment_bytes: int) -> None:
    """Make the tail zeros from `offset` on, so that no remainder of an unfinished write can be taken for records."""
    tail.truncate(offset)
    files.preallocate(tail, max(segment_bytes, offset))
    tail.seek(offset)
    files.fsync(tail)


def _encode_mark(mark: SnapshotMark) -> bytes:
    message = pb.Snapshot(index=mark.index, term=mark.term)
    if mark.conf_state is not None:
        message.conf_state.CopyFrom(conf_state_to_pb(mark.conf_state))
    return message.SerializeToString()


# Recovery


def _read_segments(
    files: FileSystem, directory: str, names: list[SegmentName], tail: BinaryIO
) -> tuple[SegmentReader, Recovered, int]:
    """Read all segments; returns the reader of the last one, what was found, and the last index seen."""
    replay = _Replay()
    crc = 0
    for name in names[:-1]:
        path = f"{directory}/{name}"
        file = files.open(path, "rb")
        try:
            crc = replay.read(SegmentReader(file, path, crc, is_last=False), path)
        finally:
            file.close()
    path = f"{directory}/{names[-1]}"
    reader = SegmentReader(tail, path, crc, is_last=True)
    replay.read(reader, path)
    # A segment gets its name only when its first records are durable: checksum, metadata, and at first snapshot 0.
    if replay.record_count < (3 if names[-1].sequence == 0 else 2):
        raise CorruptLogError(path, reader.offset, "the segment has no beginning")
    if reader.torn:
        replay.recovered.torn_path = path
    return reader, replay.recovered, replay.last_index


class _Replay:
    """Puts records together."""

    def __init__(self) -> None:
        self.recovered = Recovered()
        self.last_index = 0
        self.record_count = 0  # in the segment read last
        self._metadata: bytes | None = None

    def read(self, reader: SegmentReader, path: str) -> int:
        """Take in one segment; returns the running checksum behind it."""
        self.record_count = 0
        for record in reader.records():
            try:
                self._take(record)
            except (WireError, DecodeError, ValueError) as error:
                raise CorruptLogError(path, reader.offset, f"before here: {error}") from error
            self.record_count += 1
        return reader.crc

    def _take(self, record: Record) -> None:
        recovered = self.recovered
        if record.type == RecordType.ENTRY:
            self._take_entry(decode_entry(record.data))
        elif record.type == RecordType.STATE:
            self._take_state(decode_hard_state(record.data))
        elif record.type == RecordType.METADATA:
            if self._metadata is not None and self._metadata != record.data:
                raise ValueError("the metadata differ from those of earlier segments")
            self._metadata = recovered.metadata = record.data
        elif record.type == RecordType.SNAPSHOT:
            self._take_mark(pb.Snapshot.FromString(record.data))
        elif record.type != RecordType.CRC:
            raise ValueError(f"a record of unknown type {record.type}")

    def _take_state(self, state: HardState) -> None:
        before = self.recovered.hard_state
        if state.term < before.term or state.commit < before.commit:
            raise ValueError(f"{state} follows {before}")
        self.recovered.hard_state = state

    def _take_mark(self, message: pb.Snapshot) -> None:
        """Note a snapshot. One that came from a leader and contradicts the log takes the place of all of it."""
        state = conf_state_from_pb(message.conf_state) if message.HasField("conf_state") else None
        recovered = self.recovered
        recovered.snapshots.append(SnapshotMark(message.index, message.term, state))
        self.last_index = max(self.last_index, message.index)
        entries = recovered.entries
        reaches = bool(entries) and entries[0].index <= message.index <= entries[-1].index
        if reaches and entries[message.index - entries[0].index].term != message.term:
            entries.clear()

    def _take_entry(self, entry: Entry) -> None:
        """An entry replaces everything from its index on (paper, figure 7: what a former leader left)."""
        entries = self.recovered.entries
        self.last_index = entry.index
        if not entries or entry.index <= entries[0].index:
            entries.clear()
        elif entry.index <= self.recovered.hard_state.commit:
            raise ValueError(f"entry {entry.index} replaces a committed one")
        elif entry.index <= entries[-1].index:
            del entries[entry.index - entries[0].index :]
        elif entry.index != entries[-1].index + 1:
            if any(mark.index + 1 == entry.index for mark in self.recovered.snapshots):
                entries.clear()  # a snapshot from the leader stands in for what is missing
            else:
                raise ValueError(f"entry {entry.index} follows entry {entries[-1].index}")
        entries.append(entry)
