"""Where values live: by revision, on disk, behind a write buffer."""

from kvstore.backend.interface import BUCKETS, KEY_BUCKET, Backend
from kvstore.backend.lmdb_backend import FLUSH_INTERVAL_SECONDS, FLUSH_OPERATIONS, BackendError, LMDBBackend
from kvstore.backend.lmdb_file import LMDBFile, write_lmdb_file
from kvstore.backend.memory import MemoryBackend
from kvstore.backend.uninterrupted import uninterrupted

__all__ = [
    "BUCKETS",
    "FLUSH_INTERVAL_SECONDS",
    "FLUSH_OPERATIONS",
    "KEY_BUCKET",
    "Backend",
    "BackendError",
    "LMDBBackend",
    "LMDBFile",
    "MemoryBackend",
    "uninterrupted",
    "write_lmdb_file",
]
