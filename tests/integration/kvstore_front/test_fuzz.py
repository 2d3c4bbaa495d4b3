"""Whatever a client sends: an answer, GOAWAY or a closed connection; never a silence, and never anybody else's harm.

`make fuzz` runs it for long (`FUZZ_EXAMPLES=100000`). What no process is needed for is tried in
`tests/unit/kvstore/front`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hyperframe import frame as hyper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front.frames import FrameType, frame
from tests.fuzz_examples import examples
from tests.integration.etcd_process import EtcdProcess
from tests.integration.kvstore_front.wire import (
    Canary,
    RawConnection,
    data,
    grpc_fields,
    headers,
    message,
    target_of,
)

pytestmark = pytest.mark.e2e

PATHS = [
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Maintenance/Snapshot",
    "/etcdserverpb.KV/Nope",
    "/v3/kv/range",
    "/metrics",
]
READ = pb.RangeRequest(key=b"a").SerializeToString()
WATCH = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")).SerializeToString()
STREAMS = st.sampled_from([1, 3, 5, 7])

requests = st.builds(
    lambda stream, path, end: headers(stream, grpc_fields(path), end_stream=end),
    STREAMS,
    st.sampled_from(PATHS),
    st.booleans(),
)
messages = st.builds(
    lambda stream, payload, flag, end: data(stream, message(payload, flag), end_stream=end),
    STREAMS,
    st.one_of(st.sampled_from([READ, WATCH, b""]), st.binary(max_size=60)),
    st.sampled_from([0, 0, 0, 1, 255]),
    st.booleans(),
)
strange = st.builds(
    frame, st.integers(0, 11), st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 99]), st.binary(max_size=40)
)
windows = st.builds(
    lambda stream, size: frame(FrameType.WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big")),
    st.sampled_from([0, 1, 3]),
    st.integers(1, 1 << 20),
)
sequences = st.lists(st.one_of(requests, requests, messages, messages, windows, strange), max_size=20)


@pytest.fixture
def canary(mini_etcd: EtcdProcess) -> Iterator[Canary]:
    canary = Canary(mini_etcd.endpoint)
    yield canary
    canary.close()


@settings(deadline=None, max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=sequences, tail=st.binary(max_size=12))
def test_any_sequence_of_frames(mini_etcd: EtcdProcess, canary: Canary, frames: list[bytes], tail: bytes) -> None:
    with RawConnection(mini_etcd.endpoint) as connection:
        # Returns when a ping behind them is answered, or the server has hung up; raises when neither comes.
        received = connection.flood(frames)
        if connection.closed:
            assert any(isinstance(one, hyper.GoAwayFrame) for one in received)
        else:
            connection._send(tail)
    canary.sing()


@settings(deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.sampled_from([b"", b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\n", b"POST /v3/kv/put HTTP/1.1\r\n"]),
    rest=st.binary(max_size=200),
)
def test_any_bytes(mini_etcd: EtcdProcess, canary: Canary, first: bytes, rest: bytes) -> None:
    with socket.create_connection(target_of(mini_etcd.endpoint), timeout=30) as connection:
        connection.sendall(first + rest)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
    assert received == b"" or received.startswith((b"HTTP/1.1 ", b"\x00\x00"))
    canary.sing()
