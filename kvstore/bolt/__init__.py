"""Files in bbolt's format: the database file of etcd, and so of its snapshots.

A file is pages of one size. Pages 0 and 1 are the meta pages, of which the valid one with the higher transaction id
counts; the tree of buckets hangs on the root it names. All numbers are little-endian.

    page      id u64 | flags u16 | count u16 | overflow u32 | content          overflow: how many pages follow as one
    meta      magic u32 | version u32 | page size u32 | flags u32 | root pgid u64 | root sequence u64
              | freelist pgid u64 | high-water pgid u64 | txid u64 | FNV-1a of all that u64
    freelist  pgid u64 × count; a count of 0xffff means that the first u64 is the count
    branch    (pos u32 | key bytes u32 | pgid u64) × count, then the keys
    leaf      (flags u32 | pos u32 | key bytes u32 | value bytes u32) × count, then keys and values

`pos` counts from its own element. A branch's key is the first one below its page. A leaf element with flag 1 is a
bucket: its value is `root pgid u64 | sequence u64`, where root 0 means that the bucket's only page follows inline. The
root of the file is a bucket of buckets. (bbolt `internal/common`, `tx_check.go`, `node.go`.)

    layout   the records above
    writer   BoltWriter: sorted rows in, a whole file out
    reader   BoltReader: buckets and rows, every byte checked before it is believed
"""

from kvstore.bolt.layout import PAGE_BYTES, BoltError
from kvstore.bolt.reader import BoltReader
from kvstore.bolt.writer import BoltWriter

__all__ = ["PAGE_BYTES", "BoltError", "BoltReader", "BoltWriter"]
