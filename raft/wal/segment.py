"""Segment files: their names, and reading one from beginning to end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import google_crc32c

from raft.errors import CorruptLogError
from raft.wal.record import (
    FRAME_HEADER_BYTES,
    SECTOR_BYTES,
    BadRecordError,
    Frame,
    IncompleteRecordError,
    LengthsDisagreeError,
    Record,
    RecordType,
    looks_torn,
    parse_frame_header,
    parse_record,
)

__all__ = ["SegmentName", "SegmentReader", "write_all"]

_READ_BYTES = 1 << 20
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.wal")


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """The name of a segment: its number, counted from 0, and the index that its first new entry would have."""

    sequence: int
    index: int

    def __str__(self) -> str:
        return f"{self.sequence:016x}-{self.index:016x}.wal"

    @classmethod
    def parse(cls, name: str) -> SegmentName | None:
        """The segment of that file name; None for other files."""
        match = _NAME.fullmatch(name)
        return cls(int(match[1], 16), int(match[2], 16)) if match else None


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of `data` to an unbuffered file, which may take it in pieces."""
    written = file.write(data)
    while written < len(data):
        data = data[written:]
        written = file.write(data)


class SegmentReader:
    """Reads the records of one segment.

    Attributes:
        offset: behind the last good record, in bytes.
        crc: the running checksum there.
        torn: reading ended at a record that a crash has kept from being written whole.
    """

    def __init__(self, file: BinaryIO, path: str, crc: int, *, is_last: bool) -> None:
        """`file` is read from its beginning. Only in the last segment can a crash have left something unfinished."""
        self._file = file
        self._path = path
        self._is_last = is_last
        self._buffer = bytearray()
        self._buffer_offset = 0
        self._at_end = False
        self.offset = 0
        self.crc = crc
        self.torn = False

    def records(self) -> Iterator[Record]:
        """The records whose checksums are right, in order.

        Raises:
            CorruptLogError: damage that no crash explains.
        """
        while True:
            header = self._peek(self.offset, FRAME_HEADER_BYTES)
            try:
                if not header:
                    return
                if len(header) < FRAME_HEADER_BYTES:
                    raise IncompleteRecordError("a length field is cut off")
                frame = parse_frame_header(header)
                if frame is None:
                    self._check_end()
                    return
                record = self._read_record(frame)
            except IncompleteRecordError as error:
                self._stop_if_torn(error)
                return
            except BadRecordError as error:
                self._check_torn(error)
                return
            self.offset += FRAME_HEADER_BYTES + frame.body_bytes
            yield record

    def _read_record(self, frame: Frame) -> Record:
        body = self._peek(self.offset + FRAME_HEADER_BYTES, frame.body_bytes)
        try:
            record = parse_record(body, frame.record_bytes)
        except IncompleteRecordError as error:
            if len(body) < frame.body_bytes:
                raise
            raise BadRecordError("the record is longer than its length field says") from error
        if len(body) < frame.body_bytes:
            raise IncompleteRecordError("the padding of a record is cut off")
        if record.type == RecordType.CRC:
            if self.crc not in (0, record.crc):
                raise CorruptLogError(self._path, self.offset, "the segment does not continue the one before it")
            self.crc = record.crc
            return record
        crc = google_crc32c.extend(self.crc, record.data)
        if crc != record.crc:
            raise BadRecordError(f"checksum {record.crc:08x} is written and {crc:08x} is right")
        self.crc = crc
        return record

    # Telling a crash from damage

    def _damaged(self, reason: str) -> CorruptLogError:
        return CorruptLogError(self._path, self.offset, reason)

    def _check_end(self) -> None:
        """Zeros mark the end. Behind the end of a finished segment nothing else may follow."""
        if not self._is_last:
            if not self._only_zeros_from(self.offset):
                raise self._damaged("records follow behind the end of the segment")
        elif any(self._peek(self.offset, SECTOR_BYTES - self.offset % SECTOR_BYTES)):
            # Had the disk not written this length field, it would not have written the rest of its sector.
            raise self._damaged("a length field is zero and data follows")

    def _stop_if_torn(self, error: BadRecordError) -> None:
        if not self._is_last:
            raise self._damaged(str(error)) from error
        self.torn = True

    def _check_torn(self, error: BadRecordError) -> None:
        if not self._is_last:
            raise self._damaged(str(error)) from error
        body_offset = self.offset + FRAME_HEADER_BYTES
        try:
            frame = parse_frame_header(self._peek(self.offset, FRAME_HEADER_BYTES))
        except BadRecordError:
            frame = None
        if frame is None:
            raise self._damaged(str(error)) from error
        if isinstance(error, LengthsDisagreeError):
            # The one innocent reason: writing stopped within the record's own length, with only zeros behind.
            if not self._only_zeros_from(body_offset + error.data_offset):
                raise self._damaged(str(error)) from error
            self.torn = True
            return
        body = self._peek(body_offset, frame.body_bytes)
        end = body_offset + len(body)
        followed_by_zeros = self._only_zeros_from(end)
        # An unfinished record has no use for its padding.
        unpadded = body[: frame.record_bytes]
        if not looks_torn(unpadded, body_offset, followed_by_zeros=followed_by_zeros):
            raise self._damaged(str(error)) from error
        if not followed_by_zeros and self._was_acknowledged(end):
            raise self._damaged(f"{error}; it was committed later") from error
        self.torn = True

    def _was_acknowledged(self, offset: int) -> bool:
        """Whether hard states further on prove that the write of the bad record was finished before the last one.

        The records behind a torn one may be whole, for a disk writes pages in any order, but then they belong to the
        same write. A write has at most one hard state and begins when the one before it is durable, so with two of them
        behind the bad record, that record was durable once.
        """
        states = 0
        crc: int | None = None
        while True:
            header = self._peek(offset, FRAME_HEADER_BYTES)
            if len(header) < FRAME_HEADER_BYTES:
                break
            try:
                frame = parse_frame_header(header)
                if frame is None:
                    break
                record = parse_record(self._peek(offset + FRAME_HEADER_BYTES, frame.body_bytes), frame.record_bytes)
                if crc is not None and google_crc32c.extend(crc, record.data) != record.crc:
                    break
                if record.type == RecordType.STATE:
                    states += 1
            except BadRecordError:
                break
            crc = record.crc
            offset += FRAME_HEADER_BYTES + frame.body_bytes
        return states > 1

    # Bytes

    def _peek(self, offset: int, count: int) -> bytes:
        """`count` bytes at `offset`, or as many as the file has. Offsets before the last good record are gone."""
        while not self._at_end and self._buffer_offset + len(self._buffer) < offset + count:
            if len(self._buffer) > 2 * _READ_BYTES and self.offset > self._buffer_offset:
                del self._buffer[: self.offset - self._buffer_offset]
                self._buffer_offset = self.offset
            chunk = self._file.read(_READ_BYTES)
            self._at_end = not chunk
            self._buffer += chunk
        start = offset - self._buffer_offset
        return bytes(memoryview(self._buffer)[start : start + count])

    def _only_zeros_from(self, offset: int) -> bool:
        while True:
            chunk = self._peek(offset, _READ_BYTES)
            if not chunk:
                return True
            if any(chunk):
                return False
            offset += len(chunk)
