"""The store's client over gRPC: any etcd v3 endpoint, several of them with failover.

`grpc` is imported when the first call is made, not before: it costs about 100 ms, which a process with an embedded
store never needs to pay.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import Message

from kvstore.environment import FileSystem, RealFileSystem
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb

if TYPE_CHECKING:
    import grpc.aio

__all__ = ["ClientTLS", "GrpcClient"]

DEFAULT_TIMEOUT_SECONDS = 60.0
KEEPALIVE_INTERVAL_MS = 30_000
KEEPALIVE_TIMEOUT_MS = 10_000
RECONNECT_BACKOFF_MS_MIN = 100
RECONNECT_BACKOFF_MS_MAX = 2_000
CONNECT_TIMEOUT_MS = 5_000  # gRPC's own minimum is 20 s, far too long to wait for a member that is gone

PATIENCE_SECONDS = 5.0
"""Several elections. Who has waited that long is told what is wrong."""
REPEAT_PAUSE_SECONDS_MIN = 0.025
REPEAT_PAUSE_SECONDS_MAX = 0.4

# A key nobody writes: asking for it costs one index lookup, and the header carries the revision.
_REVISION_PROBE_KEY = b"\x00"
# What gRPC says when a request never left this process, so that even a write may be tried elsewhere.
_NEVER_SENT = ("failed to connect", "connection refused", "dns resolution", "name resolution", "empty address list")
_CLOSED = "client is closed"

_Response = TypeVar("_Response", bound=Message)


@dataclass(frozen=True, slots=True)
class ClientTLS:
    """Paths of PEM files. Without `ca` the system's roots decide; `cert` and `key` go together."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("a client certificate and its key go together")


class GrpcClient:
    """`Client` over one or more etcd endpoints.

    Calls go round the endpoints that are not known to be down. A call that never left this process is tried on the
    others, and then again for some seconds; a read also when the member that got it could not answer. A write that may
    have been applied is not repeated: its `EtcdError(UNAVAILABLE)` reaches the caller, as from etcd's own client.

    Args:
        endpoints: `http://host:port`, `https://host:port`, `unix:///path`, `unixs:///path` or bare `host:port`.
        tls: for https endpoints; bare endpoints use TLS exactly when this is given.
        timeout_seconds: of each unary call; None waits for as long as the connection lives.
        patience_seconds: how long what may be repeated is repeated.
        files: where certificates are read from.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: ClientTLS | None = None,
        timeout_seconds: float | None = DEFAULT_TIMEOUT_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        files: FileSystem | None = None,
    ) -> None:
        if not endpoints:
            raise ValueError("at least one endpoint is needed")
        self._targets = [_target(endpoint, tls is not None) for endpoint in endpoints]
        self._tls = tls or ClientTLS()
        self._timeout_seconds = timeout_seconds
        self._patience_seconds = patience_seconds
        self._files = files or RealFileSystem()
        self._endpoints: list[_Endpoint] | None = None
        self._next = 0
        self._closed = False

    async def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        """See `Client.range`."""
        return await self._unary("/etcdserverpb.KV/Range", request, pb.RangeResponse, read_only=True)

    async def put(self, request: pb.PutRequest) -> pb.PutResponse:
        """See `Client.put`."""
        return await self._unary("/etcdserverpb.KV/Put", request, pb.PutResponse)

    async def delete_range(self, request: pb.DeleteRangeRequest) -> pb.DeleteRangeResponse:
        """See `Client.delete_range`."""
        return await self._unary("/etcdserverpb.KV/DeleteRange", request, pb.DeleteRangeResponse)

    async def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        """See `Client.txn`."""
        return await self._unary("/etcdserverpb.KV/Txn", request, pb.TxnResponse, read_only=_only_reads(request))

    async def compact(self, request: pb.CompactionRequest) -> pb.CompactionResponse:
        """See `Client.compact`."""
        return await self._unary("/etcdserverpb.KV/Compact", request, pb.CompactionResponse)

    async def current_revision(self) -> int:
        """See `Client.current_revision`."""
        response = await self.range(pb.RangeRequest(key=_REVISION_PROBE_KEY, count_only=True))
        return response.header.revision

    def watch(self) -> GrpcWatchStream:
        """See `Client.watch`."""
        return GrpcWatchStream(self)

    async def lease_grant(self, request: pb.LeaseGrantRequest) -> pb.LeaseGrantResponse:
        """See `Client.lease_grant`."""
        return await self._unary("/etcdserverpb.Lease/LeaseGrant", request, pb.LeaseGrantResponse)

    async def lease_revoke(self, request: pb.LeaseRevokeRequest) -> pb.LeaseRevokeResponse:
        """See `Client.lease_revoke`."""
        return await self._unary("/etcdserverpb.Lease/LeaseRevoke", request, pb.LeaseRevokeResponse)

    async def lease_keep_alive(self, lease_id: int) -> pb.LeaseKeepAliveResponse:
        """See `Client.lease_keep_alive`."""
        import grpc.aio

        endpoint = self._pick()
        call = endpoint.stream("/etcdserverpb.Lease/LeaseKeepAlive", pb.LeaseKeepAliveResponse)(
            timeout=self._timeout_seconds
        )
        try:
            await call.write(pb.LeaseKeepAliveRequest(ID=lease_id))
            response = await call.read()
            if isinstance(response, pb.LeaseKeepAliveResponse):
                return response
            raise await _stream_error(call)
        except grpc.aio.AioRpcError as error:
            raise _etcd_error(error) from None
        except asyncio.InvalidStateError:
            raise await _stream_error(call) from None
        finally:
            call.cancel()

    async def lease_time_to_live(self, request: pb.LeaseTimeToLiveRequest) -> pb.LeaseTimeToLiveResponse:
        """See `Client.lease_time_to_live`."""
        return await self._unary(
            "/etcdserverpb.Lease/LeaseTimeToLive", request, pb.LeaseTimeToLiveResponse, read_only=True
        )

    async def status(self) -> pb.StatusResponse:
        """See `Client.status`."""
        return await self._unary(
            "/etcdserverpb.Maintenance/Status", pb.StatusRequest(), pb.StatusResponse, read_only=True
        )

    async def close(self) -> None:
        """See `Client.close`."""
        self._closed = True
        endpoints, self._endpoints = self._endpoints or [], None
        for endpoint in endpoints:
            await endpoint.channel.close()

    async def _unary(
        self, path: str, request: Message, response_type: type[_Response], *, read_only: bool = False
    ) -> _Response:
        import grpc.aio

        loop = asyncio.get_running_loop()
        give_up_seconds, pause_seconds = loop.time() + self._patience_seconds, REPEAT_PAUSE_SECONDS_MIN
        tries = 0
        while True:
            endpoint = self._pick()
            tries += 1
            try:
                response = await endpoint.unary(path, response_type)(request, timeout=self._timeout_seconds)
            except grpc.aio.AioRpcError as error:
                failure = _etcd_error(error)
            except grpc.aio.UsageError:  # the channel was closed under this call
                raise EtcdError(StatusCode.UNAVAILABLE, _CLOSED) from None
            else:
                assert isinstance(response, response_type)
                return response
            if self._closed or not _may_go_elsewhere(failure, read_only) or loop.time() > give_up_seconds:
                raise failure
            if tries % len(self._targets) == 0:  # all of them had their turn
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, REPEAT_PAUSE_SECONDS_MAX)

    def _pick(self) -> _Endpoint:
        """The next endpoint whose connection has not just failed; any, when all have."""
        if self._closed:
            raise EtcdError(StatusCode.UNAVAILABLE, _CLOSED)
        if self._endpoints is None:
            self._endpoints = [
                _Endpoint(_open_channel(address, secure, self._tls, self._files)) for address, secure in self._targets
            ]
        endpoints = self._endpoints
        start = self._next
        self._next = (start + 1) % len(endpoints)
        if len(endpoints) == 1:
            return endpoints[0]
        for offset in range(len(endpoints)):
            candidate = endpoints[(start + offset) % len(endpoints)]
            if not candidate.is_down():
                return candidate
        return endpoints[start]


class GrpcWatchStream:
    """`WatchStream` over one gRPC stream, opened by the first `send`.

    It demands a leader (`hasleader`), so a member cut off from its cluster ends the stream instead of falling silent.
    """

    def __init__(self, client: GrpcClient) -> None:
        self._client = client
        self._call: grpc.aio.StreamStreamCall[pb.WatchRequest, pb.WatchResponse] | None = None
        self._opened = asyncio.Event()
        self._sending = asyncio.Lock()
        self._closed = False

    async def send(self, request: pb.WatchRequest) -> None:
        """See `WatchStream.send`; raises `EtcdError` when the stream has ended."""
        import grpc.aio

        async with self._sending:  # gRPC takes one message at a time
            if self._closed:
                raise EtcdError(StatusCode.CANCELLED, "etcdserver: watch canceled")
            if self._call is None:
                stream = self._client._pick().stream("/etcdserverpb.Watch/Watch", pb.WatchResponse)
                self._call = stream(metadata=(("hasleader", "true"),))
                self._opened.set()
            try:
                await self._call.write(request)
            except grpc.aio.AioRpcError as error:
                raise _etcd_error(error) from None
            except asyncio.InvalidStateError:
                raise await _stream_error(self._call) from None

    async def __aiter__(self) -> AsyncIterator[pb.WatchResponse]:
        """See `WatchStream.__aiter__`."""
        import grpc.aio

        await self._opened.wait()
        call = self._call
        while call is not None:
            try:
                response = await call.read()
            except grpc.aio.AioRpcError as error:
                raise _etcd_error(error) from None
            except asyncio.CancelledError:
                # gRPC also raises this in a reader whose call `close` cancelled; only our own task's goes on.
                task = asyncio.current_task()
                if self._closed and not (task is not None and task.cancelling()):
                    return
                raise
            if isinstance(response, pb.WatchResponse):
                yield response
                continue
            if self._closed:
                return
            raise await _stream_error(call)

    async def close(self) -> None:
        """See `WatchStream.close`."""
        self._closed = True
        if self._call is not None:
            self._call.cancel()
        self._opened.set()


class _Endpoint:
    """One channel and the callables made on it, by method path."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._callables: dict[str, Any] = {}

    def unary(self, path: str, response_type: type[Message]) -> Any:
        """The unary callable for a method; made once."""
        callable_ = self._callables.get(path)
        if callable_ is None:
            callable_ = self._callables[path] = self.channel.unary_unary(
                path, request_serializer=_serialize, response_deserializer=response_type.FromString
            )
        return callable_

    def stream(self, path: str, response_type: type[Message]) -> Any:
        """The bidirectional callable for a method; made once."""
        callable_ = self._callables.get(path)
        if callable_ is None:
            callable_ = self._callables[path] = self.channel.stream_stream(
                path, request_serializer=_serialize, response_deserializer=response_type.FromString
            )
        return callable_

    def is_down(self) -> bool:
        """Whether the last attempt to connect failed."""
        import grpc

        return self.channel.get_state() in (
            grpc.ChannelConnectivity.TRANSIENT_FAILURE,
            grpc.ChannelConnectivity.SHUTDOWN,
        )


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _target(endpoint: str, tls_given: bool) -> tuple[str, bool]:
    """Where gRPC is to connect, and whether with TLS. Raises ValueError for another scheme."""
    scheme, separator, rest = endpoint.partition("://")
    if not separator:
        return endpoint.rstrip("/"), tls_given
    if scheme in ("http", "https"):
        return rest.rstrip("/"), scheme == "https"
    if scheme in ("unix", "unixs"):
        return f"unix:{rest}", scheme == "unixs"
    raise ValueError(f"endpoint {endpoint!r}: the scheme must be http, https, unix or unixs")


def _open_channel(address: str, secure: bool, tls: ClientTLS, files: FileSystem) -> grpc.aio.Channel:
    import grpc.aio

    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.keepalive_time_ms", KEEPALIVE_INTERVAL_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.initial_reconnect_backoff_ms", RECONNECT_BACKOFF_MS_MIN),
        ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MS),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_BACKOFF_MS_MAX),
        # gRPC would repeat calls by itself, and share connections between clients that are meant to be apart.
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if not secure:
        return grpc.aio.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(files, tls.ca),
        private_key=_read(files, tls.key),
        certificate_chain=_read(files, tls.cert),
    )
    return grpc.aio.secure_channel(address, credentials, options=options)


def _read(files: FileSystem, path: str | None) -> bytes | None:
    if path is None:
        return None
    with files.open(path, "rb") as file:
        return file.read()


def _only_reads(request: pb.TxnRequest) -> bool:
    """Whether nothing in the transaction writes, so that repeating it is harmless."""
    return all(operation.WhichOneof("request") == "request_range" for operation in (*request.success, *request.failure))


def _may_go_elsewhere(error: EtcdError, read_only: bool) -> bool:
    if error.code is not StatusCode.UNAVAILABLE:
        return False
    text = error.message.lower()
    return read_only or any(sign in text for sign in _NEVER_SENT)


def _etcd_error(error: grpc.aio.AioRpcError) -> EtcdError:
    return EtcdError(StatusCode(error.code().value[0]), error.details() or "")


async def _stream_error(call: Any) -> EtcdError:
    """Why a stream has ended; a server that ends one without an error has stopped serving it."""
    code = StatusCode((await call.code()).value[0])
    if code is StatusCode.OK:
        return EtcdError(StatusCode.UNAVAILABLE, "the store ended the stream")
    return EtcdError(code, await call.details() or "")
