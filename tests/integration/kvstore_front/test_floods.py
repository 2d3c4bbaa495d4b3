"""Clients that send too much of something get the protocol's answer; nobody else notices, and memory stays bounded."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator

import pytest
from hpack import Decoder, Encoder
from hyperframe import frame as hyper

from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front.frames import ErrorCode, FrameType, Setting, frame, rst_stream_frame, settings_frame
from tests.integration.etcd_process import EtcdProcess
from tests.integration.kvstore_front.conftest import resident_bytes
from tests.integration.kvstore_front.wire import Canary, RawConnection, data, grpc_fields, headers, message

pytestmark = pytest.mark.e2e

RANGE = grpc_fields("/etcdserverpb.KV/Range")
WATCH = grpc_fields("/etcdserverpb.Watch/Watch")
MANY = 30_000
MEBIBYTE = 1 << 20


@pytest.fixture
def canary(mini_etcd: EtcdProcess) -> Iterator[Canary]:
    canary = Canary(mini_etcd.endpoint)
    yield canary
    canary.sing()
    canary.close()


def goaway(frames: list[hyper.Frame]) -> tuple[int, str]:
    """How the server said goodbye."""
    (last,) = [one for one in frames if isinstance(one, hyper.GoAwayFrame)]
    return last.error_code, last.additional_data.decode()


def resets() -> Iterator[bytes]:
    for stream_id in range(1, 2 * MANY, 2):
        yield headers(stream_id, RANGE) + rst_stream_frame(stream_id, ErrorCode.CANCEL)


def repeated(one: bytes, *first: bytes) -> Callable[[], Iterator[bytes]]:
    def frames() -> Iterator[bytes]:
        yield from first
        for _ in range(MANY):
            yield one

    return frames


OPEN_BLOCK = frame(FrameType.HEADERS, 0, 1, b"")


@pytest.mark.parametrize(
    ("frames", "code", "text"),
    [
        pytest.param(resets, ErrorCode.ENHANCE_YOUR_CALM, "too many cancelled requests", id="rapid-reset"),
        pytest.param(repeated(settings_frame({})), ErrorCode.ENHANCE_YOUR_CALM, "too many settings", id="settings"),
        pytest.param(
            repeated(frame(FrameType.SETTINGS, 1, 0)), ErrorCode.ENHANCE_YOUR_CALM, "too many settings", id="acks"
        ),
        pytest.param(
            repeated(frame(FrameType.PING, 0, 0, bytes(8))), ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings", id="pings"
        ),
        pytest.param(
            repeated(frame(FrameType.DATA, 0, 1), headers(1, WATCH)),
            ErrorCode.ENHANCE_YOUR_CALM,
            "too many empty frames",
            id="empty-data",
        ),
        pytest.param(
            repeated(frame(FrameType.CONTINUATION, 0, 1, bytes(1000)), OPEN_BLOCK),
            ErrorCode.ENHANCE_YOUR_CALM,
            "header block too large",
            id="continuations",
        ),
        pytest.param(
            repeated(frame(FrameType.CONTINUATION, 0, 1), OPEN_BLOCK),
            ErrorCode.ENHANCE_YOUR_CALM,
            "too many empty frames",
            id="empty-continuations",
        ),
        pytest.param(
            repeated(frame(FrameType.PRIORITY, 0, 1, bytes(5))),
            ErrorCode.ENHANCE_YOUR_CALM,
            "too many priorities",
            id="priorities",
        ),
        pytest.param(
            repeated(frame(99, 0, 0)), ErrorCode.ENHANCE_YOUR_CALM, "too many frames of unknown types", id="unknown"
        ),
        pytest.param(
            repeated(frame(FrameType.DATA, 0, 0, b"")), ErrorCode.PROTOCOL_ERROR, "stream 0 was never opened", id="data"
        ),
        pytest.param(
            repeated(frame(FrameType.DATA, 0, 1, bytes(16_385)), headers(1, WATCH)),
            ErrorCode.FRAME_SIZE_ERROR,
            "frame of 16385 bytes",
            id="huge-frame",
        ),
        pytest.param(
            repeated(frame(FrameType.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff")),
            ErrorCode.FLOW_CONTROL_ERROR,
            "connection window over 2^31-1",
            id="window",
        ),
    ],
)
def test_floods_end_the_connection(
    mini_etcd: EtcdProcess, canary: Canary, frames: Callable[[], Iterator[bytes]], code: ErrorCode, text: str
) -> None:
    before = resident_bytes(mini_etcd)
    with RawConnection(mini_etcd.endpoint) as connection:
        received = connection.flood(frames())
        assert connection.closed
    assert goaway(received) == (code, text)
    canary.sing()
    assert resident_bytes(mini_etcd) - before < 32 * MEBIBYTE


def test_a_header_block_that_unfolds(mini_etcd: EtcdProcess, canary: Canary) -> None:
    """4 KB once in the table, then 10,000 references of a byte: 40 MB of fields out of 14 KB."""
    bomb = Encoder().encode([*RANGE, ("x", "y" * 3900)]) + b"\xbe" * 10_000
    before = resident_bytes(mini_etcd)
    with RawConnection(mini_etcd.endpoint) as connection:
        received = connection.flood(frame(FrameType.HEADERS, 5, stream_id, bomb) for stream_id in range(1, 200, 2))
        assert not connection.closed
    codes = [one.error_code for one in received if isinstance(one, hyper.RstStreamFrame)]
    assert codes == [ErrorCode.ENHANCE_YOUR_CALM] * 100
    assert resident_bytes(mini_etcd) - before < 32 * MEBIBYTE


def test_more_streams_than_there_may_be(mini_etcd: EtcdProcess, canary: Canary) -> None:
    with RawConnection(mini_etcd.endpoint) as connection:
        received = connection.flood(headers(stream_id, WATCH) for stream_id in range(1, 2 * 10_500, 2))
        refused = [one for one in received if isinstance(one, hyper.RstStreamFrame)]
        assert [one.error_code for one in refused] == [ErrorCode.REFUSED_STREAM] * 500
        assert refused[0].stream_id == 2 * 10_000 + 1
        canary.sing()


def test_answers_nobody_takes(mini_etcd: EtcdProcess, canary: Canary) -> None:
    """2,000 reads of a megabyte by a client whose windows are shut: two gigabytes that must not be made beforehand."""
    canary.put(b"megabyte", bytes(MEBIBYTE))
    request = message(pb.RangeRequest(key=b"megabyte").SerializeToString())
    before = resident_bytes(mini_etcd)
    with RawConnection(mini_etcd.endpoint, {Setting.INITIAL_WINDOW_SIZE: 0}) as connection:
        connection.flood(headers(number, RANGE) + data(number, request) for number in range(1, 4000, 2))
        canary.sing()
        assert resident_bytes(mini_etcd) - before < 160 * MEBIBYTE
        # Whoever opens the windows gets everything: in turn, and to the end.
        widen = b"\x7f\x00\x00\x00"
        received = connection.flood(
            [settings_frame({Setting.INITIAL_WINDOW_SIZE: 1 << 24}), frame(FrameType.WINDOW_UPDATE, 0, 0, widen)]
        )
        done = {one.stream_id for one in received if "END_STREAM" in one.flags}
        size = sum(len(one.data) for one in received if isinstance(one, hyper.DataFrame))

        def count(one: hyper.Frame) -> bool:
            nonlocal size
            if isinstance(one, hyper.DataFrame):
                size += len(one.data)
            if "END_STREAM" in one.flags:
                done.add(one.stream_id)
            return len(done) == 200

        connection.read_until(count)
        assert size >= 200 * MEBIBYTE
    assert resident_bytes(mini_etcd) - before < 200 * MEBIBYTE


def test_messages_that_never_end(mini_etcd: EtcdProcess, canary: Canary) -> None:
    """1,000 puts of nearly two megabytes of which only half arrives."""
    put = grpc_fields("/etcdserverpb.KV/Put")
    begun = (b"\0" + (1_900_000).to_bytes(4, "big")) + bytes(900_000)
    before = resident_bytes(mini_etcd)
    with RawConnection(mini_etcd.endpoint) as connection:
        received = connection.flood(
            headers(stream_id, put) + data(stream_id, begun, end_stream=False) for stream_id in range(1, 2000, 2)
        )
        decoder = Decoder()
        refused = [dict(decoder.decode(one.data)) for one in received if isinstance(one, hyper.HeadersFrame)]
        assert len(refused) > 100
        assert {fields["grpc-status"] for fields in refused} == {"8"}
        canary.sing()
        assert resident_bytes(mini_etcd) - before < 400 * MEBIBYTE


def test_many_connections(mini_etcd: EtcdProcess, canary: Canary) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(1000, soft - len(os.listdir("/proc/self/fd")) - 50)
    before = resident_bytes(mini_etcd)
    connections = [RawConnection(mini_etcd.endpoint) for _ in range(count)]
    for connection in connections:
        connection.flood([headers(1, WATCH)])
    canary.sing()
    assert resident_bytes(mini_etcd) - before < count * 100_000
    for connection in connections:
        connection.close()
