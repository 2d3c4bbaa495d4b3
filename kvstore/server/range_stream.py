"""Ranges in pieces: large answers without large messages.

A stream reads one revision, a piece at a time, so that others get their turn in between; header, count and `more` come
with the last piece (etcd 3.7 `server/etcdserver/v3_server.go`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from kvstore.apply import HeaderSource, joined_kvs
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import Store, StoreError, range_piece
from kvstore.server import catalogue
from kvstore.server.validation import check_range

__all__ = ["check_range_stream", "stream_range"]

FIRST_PIECE_KEYS = 10


def check_range_stream(request: pb.RangeRequest) -> None:
    """A range that can be streamed: in key order, unfiltered.

    Raises:
        EtcdError: it cannot; UNIMPLEMENTED tells the client to ask for it in one piece.
    """
    check_range(request)
    if request.sort_target != pb.RangeRequest.KEY or request.sort_order == pb.RangeRequest.DESCEND:
        raise EtcdError(StatusCode.UNIMPLEMENTED, "RangeStream does not support custom sort orders")
    if (
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    ):
        raise EtcdError(StatusCode.UNIMPLEMENTED, "RangeStream does not support revision filters")


async def stream_range(
    store: Store, headers: HeaderSource, request: pb.RangeRequest, piece_bytes: int
) -> AsyncIterator[pb.RangeStreamResponse]:
    """The answer to a request that was checked, in pieces of about so many bytes.

    Raises:
        EtcdError: the revision is not there, or was compacted while the stream was under way.
    """
    header_revision = store.revision
    key, end, keys_only = request.key, request.range_end, request.keys_only
    left = request.limit if request.limit > 0 else None
    piece_keys = FIRST_PIECE_KEYS
    sent = 0
    try:
        at = store.check_revision(request.revision)
        while True:
            limit = piece_keys if left is None else min(piece_keys, left)
            kvs, next_key = ([], key) if request.count_only else range_piece(store, key, end, at, limit, keys_only)
            sent += len(kvs)
            if left is not None:
                left -= len(kvs)
            done = request.count_only or next_key is None or left == 0
            piece = joined_kvs(kvs)
            response = pb.RangeStreamResponse()
            response.range_response.MergeFromString(piece)
            if done:
                rest = 0 if next_key is None else store.index.count(next_key, end, at)
                headers.fill(response.range_response.header, header_revision)
                response.range_response.count = sent + rest
                response.range_response.more = rest > 0 and not request.count_only
            yield response
            if done:
                return
            assert next_key is not None
            key = next_key
            piece_keys = _adjusted(piece_keys, len(piece), piece_bytes)
            await asyncio.sleep(0)
            store.check_revision(at)
    except StoreError as error:
        raise catalogue.to_etcd_error(error) from None


def _adjusted(keys: int, size_bytes: int, wanted_bytes: int) -> int:
    """How many keys to read next, so that pieces come near the wanted size."""
    if size_bytes < wanted_bytes // 2:
        return keys * 2
    if size_bytes > wanted_bytes * 2:
        return max(1, keys // 2)
    return keys
