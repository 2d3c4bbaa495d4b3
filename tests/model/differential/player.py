"""One server under a history: requests go out by gRPC, and answers come back without what must differ."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message

from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import in_range
from tests.model.differential.histories import As, Call, Cancel, LogIn, Operation, Settle, Watch, bind

SECONDS_MAX = 30.0

_RESPONSES: dict[str, type[Message]] = {
    "KV/Range": pb.RangeResponse,
    "KV/Put": pb.PutResponse,
    "KV/DeleteRange": pb.DeleteRangeResponse,
    "KV/Txn": pb.TxnResponse,
    "KV/Compact": pb.CompactionResponse,
    "Maintenance/Status": pb.StatusResponse,
    "Auth/Authenticate": pb.AuthenticateResponse,
    "Auth/AuthEnable": pb.AuthEnableResponse,
    "Auth/AuthDisable": pb.AuthDisableResponse,
    "Auth/UserAdd": pb.AuthUserAddResponse,
    "Auth/UserDelete": pb.AuthUserDeleteResponse,
    "Auth/UserChangePassword": pb.AuthUserChangePasswordResponse,
    "Auth/UserGrantRole": pb.AuthUserGrantRoleResponse,
    "Auth/UserRevokeRole": pb.AuthUserRevokeRoleResponse,
    "Auth/UserGet": pb.AuthUserGetResponse,
    "Auth/UserList": pb.AuthUserListResponse,
    "Auth/RoleAdd": pb.AuthRoleAddResponse,
    "Auth/RoleDelete": pb.AuthRoleDeleteResponse,
    "Auth/RoleGet": pb.AuthRoleGetResponse,
    "Auth/RoleList": pb.AuthRoleListResponse,
    "Auth/RoleGrantPermission": pb.AuthRoleGrantPermissionResponse,
    "Auth/RoleRevokePermission": pb.AuthRoleRevokePermissionResponse,
    "Lease/LeaseGrant": pb.LeaseGrantResponse,
    "Lease/LeaseRevoke": pb.LeaseRevokeResponse,
    "Lease/LeaseTimeToLive": pb.LeaseTimeToLiveResponse,
    "Lease/LeaseLeases": pb.LeaseLeasesResponse,
    "Lease/LeaseKeepAlive": pb.LeaseKeepAliveResponse,
}


@dataclass(frozen=True)
class Refusal:
    """A gRPC error."""

    code: str
    text: str


Answer = Message | Refusal | list[Any] | None


@dataclass
class Watcher:
    """One that was created: its range and what came for it since it was last looked at."""

    watch_id: int
    key: bytes
    range_end: bytes
    sees_puts: bool
    sees_deletions: bool
    start_revision: int
    seen_revision: int = 0
    ended: bool = False
    news: list[Any] = field(default_factory=list)

    def will_see(self, key: bytes, revision: int, deletion: bool) -> bool:
        """Whether a write is one for this watcher."""
        wanted = self.sees_deletions if deletion else self.sees_puts
        return wanted and revision >= self.start_revision and in_range(key, self.key, self.range_end)


class WatchStream:
    """A watch stream, read by a thread of its own."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._requests: queue.SimpleQueue[pb.WatchRequest | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._replies: list[pb.WatchResponse] = []
        self._error: grpc.RpcError | None = None
        self.watchers: dict[int, Watcher] = {}
        self._expected: Watcher | None = None
        call = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )
        self._call = call(iter(self._requests.get, None))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, request: pb.WatchRequest) -> None:
        self._requests.put(request)

    def create(self, request: pb.WatchCreateRequest, watcher: Watcher) -> pb.WatchResponse:
        """Create a watcher. It is known to the reader from its reply on, whose next response may be its first event."""
        self._expected = watcher
        self.send(pb.WatchRequest(create_request=request))
        return self.reply()

    def reply(self) -> pb.WatchResponse:
        """The next response that is not events or an end by itself: created, canceled on request, progress."""
        self._wait_for(lambda: bool(self._replies))
        return self._replies.pop(0)

    def wait_until_seen(self, watcher: Watcher, revision: int) -> None:
        self._wait_for(lambda: watcher.ended or watcher.seen_revision >= revision)

    def wait_until_ended(self, watcher: Watcher) -> None:
        self._wait_for(lambda: watcher.ended)

    def _wait_for(self, come: Any) -> None:
        with self._changed:
            done = self._changed.wait_for(lambda: come() or self._error is not None, SECONDS_MAX)
            assert done, f"nothing came; {self.watchers}"
            assert come(), f"the stream has ended: {self._error}"

    def _read(self) -> None:
        try:
            for response in self._call:
                with self._changed:
                    self._take(response)
                    self._changed.notify_all()
        except grpc.RpcError as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _take(self, response: pb.WatchResponse) -> None:
        if response.created and not response.canceled:
            assert self._expected is not None
            self._expected.watch_id = response.watch_id
            self.watchers[response.watch_id] = self._expected
        watcher = self.watchers.get(response.watch_id)
        if response.created or watcher is None or not (response.events or response.canceled):
            self._replies.append(response)
            return
        if response.canceled and not response.compact_revision:
            watcher.ended = True
            self._replies.append(response)
            return
        if response.canceled:
            watcher.ended = True
            watcher.news.append(("compacted", response.compact_revision, response.cancel_reason))
        for event in response.events:
            watcher.news.append(event)
            watcher.seen_revision = max(watcher.seen_revision, event.kv.mod_revision)

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()
        self._reader.join()


class Player:
    """A server, one example after the other. Attributes: `prefix`, `base_revision`, `base_lease` of the example."""

    def __init__(self, endpoint: str) -> None:
        self._channel = grpc.insecure_channel(endpoint.removeprefix("http://"))
        self._methods: dict[str, Any] = {}
        for method, response in _RESPONSES.items():
            kind = self._channel.stream_stream if method == "Lease/LeaseKeepAlive" else self._channel.unary_unary
            self._methods[method] = kind(
                f"/etcdserverpb.{method}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=response.FromString,
            )
        self.prefix = b""
        self.base_revision = 0
        self.base_lease = 0
        self._stream: WatchStream | None = None
        self._created: list[Watcher] = []
        self._compacted = 0
        self._tokens: dict[str, str] = {}
        self._has_users = False

    def revision(self) -> int:
        """The store's."""
        return int(self.call("KV/Range", pb.RangeRequest(key=b"\0")).header.revision)

    def version(self) -> str:
        """The server's."""
        return str(self.call("Maintenance/Status", pb.StatusRequest()).version)

    def begin(self, number: int) -> None:
        """A new example."""
        self.prefix = b"%08d/" % number
        self.base_revision = self.revision()
        self.base_lease = number * 16
        self._created = []
        self._compacted = 0
        self._tokens = {}
        self._has_users = False

    def end(self) -> None:
        """Remove what the example left."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._has_users:
            self._end_authentication()
        self.call("KV/DeleteRange", pb.DeleteRangeRequest(key=b"\0", range_end=b"\0"))
        for lease in self.call("Lease/LeaseLeases", pb.LeaseLeasesRequest()).leases:
            self.call("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=lease.ID))

    def _end_authentication(self) -> None:
        # A token of before may be void by now, and there is none to be had while authentication is off.
        login = self._log_in("root", "root")
        if isinstance(login, Refusal):
            assert login.text == "etcdserver: authentication is not enabled", login
            self._tokens = {}
        else:
            self.call("Auth/AuthDisable", pb.AuthDisableRequest(), "root")
        for user in self.call("Auth/UserList", pb.AuthUserListRequest()).users:
            self.call("Auth/UserDelete", pb.AuthUserDeleteRequest(name=user))
        for role in self.call("Auth/RoleList", pb.AuthRoleListRequest()).roles:
            self.call("Auth/RoleDelete", pb.AuthRoleDeleteRequest(role=role))

    def close(self) -> None:
        self._channel.close()

    def call(self, method: str, request: Message, user: str = "") -> Any:
        """One request as it is, with the token of a user who has one."""
        if method == "Lease/LeaseKeepAlive":
            return next(self._methods[method](iter([request]), timeout=SECONDS_MAX))
        metadata = (("token", self._tokens[user]),) if user in self._tokens else ()
        return self._methods[method](request, timeout=SECONDS_MAX, metadata=metadata)

    def play(self, operation: Operation) -> Answer:
        """Carry it out and return what can be compared."""
        match operation:
            case Call("KV/Compact", request):
                # A watcher that is behind would be told of the compaction, or not, as chance has it.
                settled, answer = self._settle(), self._unary("KV/Compact", request)
                if not isinstance(answer, Refusal):
                    self._compacted = self.base_revision + request.revision
                return [settled, answer]
            case Call(method, request):
                return self._unary(method, request)
            case As(user, Call(method, request)):
                self._has_users = True
                answer = self._unary(method, request, user)
                if method == "Auth/AuthDisable" and not isinstance(answer, Refusal):
                    self._tokens = {}  # they are void, and 3.5 looks at them even now that it need not
                return answer
            case LogIn(user, password):
                return self._log_in(user, password)
            case Watch(request):
                return self._watch(request)
            case Cancel(number):
                return self._cancel(number)
            case Settle():
                return [self._settle(), self._progress()]

    def _log_in(self, user: str, password: str) -> Message | Refusal:
        answer = self._unary("Auth/Authenticate", pb.AuthenticateRequest(name=user, password=password))
        if isinstance(answer, pb.AuthenticateResponse):
            self._tokens[user] = answer.token
            answer.token = ""
        return answer

    def _unary(self, method: str, request: Message, user: str = "") -> Message | Refusal:
        bound = type(request)()
        bound.CopyFrom(request)
        bind(bound, self.prefix, self.base_revision, self.base_lease)
        try:
            return _comparable(self.call(method, bound, user))
        except grpc.RpcError as error:
            return Refusal(error.code().name, error.details())

    @property
    def stream(self) -> WatchStream:
        if self._stream is None:
            self._stream = WatchStream(self._channel)
        return self._stream

    def _watch(self, request: pb.WatchCreateRequest) -> list[Any]:
        bound = pb.WatchCreateRequest()
        bound.CopyFrom(request)
        bind(bound, self.prefix, self.base_revision, self.base_lease)
        filters = set(bound.filters)
        watcher = Watcher(
            -1,
            bound.key or b"\0",
            bound.range_end,
            pb.WatchCreateRequest.NOPUT not in filters,
            pb.WatchCreateRequest.NODELETE not in filters,
            bound.start_revision,
        )
        reply = self.stream.create(bound, watcher)
        if not reply.canceled:
            self._created.append(watcher)
            if 0 < watcher.start_revision < self._compacted:
                self.stream.wait_until_ended(watcher)
        return [_comparable(reply)]

    def _living(self) -> Iterator[tuple[int, Watcher]]:
        return ((number, watcher) for number, watcher in enumerate(self._created) if not watcher.ended)

    def _cancel(self, number: int) -> list[Any]:
        if number >= len(self._created) or self._created[number].ended:
            return []
        settled = self._settle()
        watcher = self._created[number]
        if watcher.ended:
            return [settled]
        self.stream.send(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watcher.watch_id)))
        return [settled, _comparable(self.stream.reply())]

    def _settle(self) -> list[Any]:
        """Write into every watcher's range and wait until all have seen that; returns what they have seen since."""
        written = []
        for _, watcher in list(self._living()):
            key = watcher.key
            put = self.call("KV/Put", pb.PutRequest(key=key)).header.revision
            deletion = self.call("KV/DeleteRange", pb.DeleteRangeRequest(key=key)).header.revision
            written += [(key, put, False), (key, deletion, True)]
        for _, watcher in list(self._living()):
            last = max((write[1] for write in written if watcher.will_see(*write)), default=0)
            self.stream.wait_until_seen(watcher, last)
        news = []
        for number, watcher in enumerate(self._created):
            news.append((number, watcher.news))
            watcher.news = []
        return news

    def _progress(self) -> list[Any]:
        """Progress, where it is sure to be answered: nobody is behind after `_settle`, or waits for the future."""
        living = [watcher for _, watcher in self._living()]
        revision = self.revision()
        if not living or any(watcher.start_revision > revision for watcher in living):
            return []
        self.stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
        return [_comparable(self.stream.reply())]


def _comparable(response: Any) -> Any:
    header = response.header
    header.cluster_id = header.member_id = 0
    if isinstance(response, pb.LeaseTimeToLiveResponse):
        response.TTL = min(response.TTL, 1)  # how much of it is left is a matter of time
        response.keys.sort()  # etcd has them in no order
    if isinstance(response, pb.LeaseLeasesResponse):
        response.leases.sort(key=lambda lease: lease.ID)
    return response
