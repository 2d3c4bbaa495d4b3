"""Multi-version concurrency control: every value a key ever had, by revision, until compacted.

Pure logic over a `kvstore.backend.Backend`. It reads no clock, starts no thread, knows no request but the range.

    revision       the store's history, numbered, and its stored form
    key_index      which revisions every key has
    store          writing, reading, compaction, restart
    histories      what is kept in memory, read from a database step by step
    ranges         range requests
    lease          keys that live as long as somebody renews them
    event, watch   changes, and those who follow them
    hash           one number that equal members agree on
"""

from kvstore.mvcc.catch_up import event_wire
from kvstore.mvcc.errors import (
    CompactedError,
    FutureRevisionError,
    KeyNotFoundError,
    LeaseExistsError,
    LeaseNotFoundError,
    LeaseTTLTooLargeError,
    StoreError,
)
from kvstore.mvcc.event import Event, encode_varint
from kvstore.mvcc.hash import KeyValueHasher, hash_key_values
from kvstore.mvcc.histories import Histories
from kvstore.mvcc.key_index import FROM_KEY, Record, TreeIndex
from kvstore.mvcc.lease import MAX_TTL_SECONDS, Lease, Lessor
from kvstore.mvcc.ranges import RangeResult, range_keys, range_piece
from kvstore.mvcc.revision import Revision, decode_revision, encode_revision
from kvstore.mvcc.store import Store
from kvstore.mvcc.watch import NO_WATCH_ID, WatchHub, WatchReply, WatchStream
from kvstore.mvcc.watcher_index import in_range, prefix_end

__all__ = [
    "FROM_KEY",
    "MAX_TTL_SECONDS",
    "NO_WATCH_ID",
    "CompactedError",
    "Event",
    "FutureRevisionError",
    "Histories",
    "KeyNotFoundError",
    "KeyValueHasher",
    "Lease",
    "LeaseExistsError",
    "LeaseNotFoundError",
    "LeaseTTLTooLargeError",
    "Lessor",
    "RangeResult",
    "Record",
    "Revision",
    "Store",
    "StoreError",
    "TreeIndex",
    "WatchHub",
    "WatchReply",
    "WatchStream",
    "decode_revision",
    "encode_revision",
    "encode_varint",
    "event_wire",
    "hash_key_values",
    "in_range",
    "prefix_end",
    "range_keys",
    "range_piece",
]
