"""A client that can do what no client library would: frames by hand, over a plain socket."""

from __future__ import annotations

import select
import socket
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import grpc
from hpack import Decoder, Encoder
from hyperframe import frame as hyper

from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front.frames import CLIENT_PREFACE, FrameType, frame, settings_frame

__all__ = ["Answer", "Canary", "RawConnection", "call", "grpc_fields", "headers", "message"]

SECONDS_MAX = 60.0
PIECE_BYTES = 32 * 1024
_LAST_PING = b"the-last"


def target_of(endpoint: str) -> tuple[str, int]:
    """Host and port of a client URL."""
    parts = urllib.parse.urlsplit(endpoint)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def grpc_fields(path: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    """The fields of an ordinary gRPC request."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
    return [*fields, ("content-type", "application/grpc"), ("te", "trailers"), *more]


def headers(stream_id: int, fields: list[tuple[str, str]], *, end_stream: bool = False) -> bytes:
    """A HEADERS frame that leaves the server's table alone."""
    block = Encoder().encode([(name, value, True) for name, value in fields])  # sensitive: never indexed
    return frame(FrameType.HEADERS, 0x5 if end_stream else 0x4, stream_id, block)


def message(payload: bytes, flag: int = 0) -> bytes:
    """A gRPC message."""
    return bytes((flag,)) + len(payload).to_bytes(4, "big") + payload


def data(stream_id: int, payload: bytes, *, end_stream: bool = True) -> bytes:
    """As many DATA frames as it takes."""
    pieces = [payload[start : start + 16384] for start in range(0, len(payload), 16384)] or [b""]
    last = len(pieces) - 1
    return b"".join(
        frame(FrameType.DATA, 1 if end_stream and number == last else 0, stream_id, piece)
        for number, piece in enumerate(pieces)
    )


class RawConnection:
    """A connection after its preface."""

    def __init__(self, endpoint: str, settings: dict | None = None) -> None:
        self.socket = socket.create_connection(target_of(endpoint), timeout=SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.closed = False
        self._buffer = b""
        self.socket.sendall(CLIENT_PREFACE + settings_frame(settings or {}))

    def flood(self, pieces: Iterable[bytes]) -> list[hyper.Frame]:
        """Send all of it, reading meanwhile; the frames received until the server has seen the end or hung up."""
        received: list[hyper.Frame] = []
        for piece in _in_pieces(pieces):
            received += self._send(piece)
            if self.closed:
                return received
        received += self._send(frame(FrameType.PING, 0, 0, _LAST_PING))
        return received + self.read_until(lambda f: isinstance(f, hyper.PingFrame) and f.opaque_data == _LAST_PING)

    def _send(self, piece: bytes) -> list[hyper.Frame]:
        received: list[hyper.Frame] = []
        view = memoryview(piece)
        while view and not self.closed:
            readable, writable, _ = select.select([self.socket], [self.socket], [], SECONDS_MAX)
            assert readable or writable, "the server neither reads nor writes"
            if readable:
                received += self._receive()
            elif writable:
                try:
                    view = view[self.socket.send(view) :]
                except (BrokenPipeError, ConnectionResetError):
                    received += self.read_until(lambda _: False)
        return received

    def read_until(self, last) -> list[hyper.Frame]:
        """The frames up to one that `last` accepts, or until the server closes."""
        received: list[hyper.Frame] = []
        while not self.closed and not any(last(one) for one in received):
            received += self._receive()
        return received

    def _receive(self) -> list[hyper.Frame]:
        try:
            piece = self.socket.recv(1 << 20)
        except ConnectionResetError:
            piece = b""
        self.closed = not piece
        view = memoryview(self._buffer + piece)
        frames = []
        while len(view) >= 9:
            parsed, length = hyper.Frame.parse_frame_header(view[:9])
            if len(view) < 9 + length:
                break
            parsed.parse_body(view[9 : 9 + length])
            view = view[9 + length :]
            frames.append(parsed)
        self._buffer = bytes(view)
        return frames

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _in_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


@dataclass
class Answer:
    """What came of a request: the fields of headers and trailers together, the data, and how it was broken off."""

    fields: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    reset: int | None = None
    goaway: int | None = None

    @property
    def status(self) -> str:
        """The HTTP status."""
        return self.fields.get(":status", "")

    @property
    def grpc(self) -> tuple[str, str]:
        """gRPC's code and text."""
        return self.fields.get("grpc-status", ""), urllib.parse.unquote(self.fields.get("grpc-message", ""))


def call(endpoint: str, fields: list[tuple[str, str]], body: bytes = b"") -> Answer:
    """One request on a connection of its own, whatever it may be."""
    decoder, answer = Decoder(), Answer()
    with RawConnection(endpoint) as connection:
        frames = headers(1, fields, end_stream=not body) + (data(1, body) if body else b"")
        received = connection._send(frames)

        def is_last(one: hyper.Frame) -> bool:
            return "END_STREAM" in one.flags or isinstance(one, hyper.RstStreamFrame | hyper.GoAwayFrame)

        if not any(is_last(one) for one in received):
            received += connection.read_until(is_last)
        for one in received:
            if isinstance(one, hyper.HeadersFrame):
                answer.fields.update(decoder.decode(one.data))
            elif isinstance(one, hyper.DataFrame):
                answer.data += one.data
            elif isinstance(one, hyper.RstStreamFrame):
                answer.reset = one.error_code
            elif isinstance(one, hyper.GoAwayFrame):
                answer.goaway = one.error_code
    return answer


class Canary:
    """An ordinary client, who must not notice."""

    def __init__(self, endpoint: str) -> None:
        host, port = target_of(endpoint)
        self._channel = grpc.insecure_channel(f"{host}:{port}")
        self._put = self._channel.unary_unary("/etcdserverpb.KV/Put")
        self._range = self._channel.unary_unary("/etcdserverpb.KV/Range")
        self._count = 0
        self.sing()

    def put(self, key: bytes, value: bytes) -> None:
        """Write."""
        self._put(pb.PutRequest(key=key, value=value).SerializeToString(), timeout=SECONDS_MAX)

    def sing(self) -> None:
        """Write, and read it back."""
        self._count += 1
        value = b"%d" % self._count
        self.put(b"canary", value)
        request = pb.RangeRequest(key=b"canary")
        found = pb.RangeResponse.FromString(self._range(request.SerializeToString(), timeout=SECONDS_MAX))
        assert found.kvs[0].value == value

    def close(self) -> None:
        """Hang up."""
        self._channel.close()
