"""The write-ahead log and the snapshot files, in etcd's formats, so that etcd's tools can read them.

    <wal directory>/0000000000000000-0000000000000000.wal     <sequence>-<first index>.wal, hexadecimal
                    0000000000000001-000000000003d0a1.wal
                    0.tmp                                      the next segment while it is being made
    <snap directory>/0000000000000002-0000000000002710.snap    <term>-<index>.snap

A segment is 64,000,000 bytes of zeros when it is made and is filled with frames (`record` has their layout). It begins
with the running checksum, the metadata and the newest hard state. When it is full it is cut to its length and the next
one is made under another name and renamed, so that it is there whole or not at all; the checksum runs on.

    type       data
    metadata   the application's bytes, the same in every segment
    entry      raftpb.Entry; it replaces what was stored from its index on
    state      raftpb.HardState; the newest counts
    crc        none: the record's crc is the running checksum, CRC-32C of the data of all records before it
    snapshot   walpb.Snapshot: a snapshot at that index exists

After a crash the end of the last segment may be unfinished: that is cut off, for nothing in it was ever acknowledged.
Damage anywhere else is a `CorruptLogError`, never a quietly shorter log.

    record    frames: bytes in, bytes out
    segment   names, and reading one file
    log       WAL: append, rotate, recover, release
    snapshot  the snapshot files
    store     both together
"""

from raft.wal.log import SEGMENT_BYTES, WAL, Batch, Recovered, SnapshotMark
from raft.wal.snapshot import SnapshotStore
from raft.wal.store import StoredState, open_store

__all__ = [
    "SEGMENT_BYTES",
    "WAL",
    "Batch",
    "Recovered",
    "SnapshotMark",
    "SnapshotStore",
    "StoredState",
    "open_store",
]
