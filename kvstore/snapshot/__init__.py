"""Snapshots as etcd has them: one bbolt file with the whole database, and the SHA-256 of it behind.

schema   which of our rows are in etcd's file, and the ones that only etcd's has
export   our database -> the file
saved    the file, from us or from etcd -> rows; its hash and its figures
"""

from kvstore.snapshot.export import RowSource, write_snapshot
from kvstore.snapshot.saved import SavedSnapshot, SnapshotError, SnapshotStatus, human_bytes

__all__ = ["RowSource", "SavedSnapshot", "SnapshotError", "SnapshotStatus", "human_bytes", "write_snapshot"]
