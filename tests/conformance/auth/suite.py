"""What etcd does with users, roles and permissions, as scenarios over gRPC.

A scenario begins and ends without users and roles. What it is answered is written down, revisions counted from its
start and tokens by their user, so that the answers of two servers can be compared word for word.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from kvstore.etcdpb import auth_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front import service_descriptors

__all__ = ["READ", "READWRITE", "SCENARIOS", "WRITE", "Recorder", "Scenario", "permission", "scenario"]

READ, WRITE, READWRITE = auth_pb2.Permission.READ, auth_pb2.Permission.WRITE, auth_pb2.Permission.READWRITE
SECONDS_MAX = 20.0
ROOT_PASSWORD = "root's"

Scenario = Callable[["Recorder"], Awaitable[None]]
SCENARIOS: list[Scenario] = []


def scenario(function: Scenario) -> Scenario:
    """Part of the suite."""
    SCENARIOS.append(function)
    return function


def permission(kind: Any, key: bytes, range_end: bytes = b"") -> auth_pb2.Permission:
    return auth_pb2.Permission(permType=kind, key=key, range_end=range_end)


class Recorder:
    """Calls to one server, and what it answered.

    Attributes:
        transcript: calls and answers, without what differs from server to server.
    """

    def __init__(self, endpoint: str) -> None:
        self._channel = grpc.aio.insecure_channel(endpoint.removeprefix("http://"))
        self._tokens: dict[str, str] = {}
        self._revision = self._auth_revision = 0
        self.transcript: list[str] = []

    # --- calls

    async def __call__(self, path: str, by: str = "", *, metadata: dict[str, str] | None = None, **fields: Any) -> Any:
        """Call `Service/Method` of etcdserverpb; the response, or None when it is refused. Written down either way."""
        said = f"{path} {' '.join(f'{name}={value!r}' for name, value in fields.items())} as {by or 'nobody'}: "
        try:
            response = await self._call(path, metadata or self._metadata(by), **fields)
        except grpc.aio.AioRpcError as error:
            self.transcript.append(f"{said}{error.code().name} {error.details()}")
            return None
        self.transcript.append(said + self._normal(response))
        return response

    async def login(self, user: str, password: str, as_user: str | None = None) -> bool:
        """Get a token; whether there was one. Later calls as `as_user`, or `user`, show it."""
        response = await self("Auth/Authenticate", name=user, password=password)
        if response is not None:
            letters, _, index = response.token.partition(".")
            assert len(letters) == 16
            assert letters.isalpha()
            assert index.isdigit()
            self._tokens[as_user or user] = response.token
        return response is not None

    def token(self, user: str) -> str:
        return self._tokens[user]

    async def watch(self, user: str, **fields: Any) -> pb.WatchResponse:
        """The first response to a watch, written down; older releases give a refused one an id of its own."""
        method = self._channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )
        call = method(metadata=tuple(self._metadata(user).items()), timeout=SECONDS_MAX)
        await call.write(pb.WatchRequest(create_request=pb.WatchCreateRequest(**fields)))
        response = await call.read()
        call.cancel()
        assert isinstance(response, pb.WatchResponse)
        if response.canceled:
            response.watch_id = -1
        self.transcript.append(f"watch {fields} as {user}: {self._normal(response)}")
        return response

    def _metadata(self, user: str) -> dict[str, str]:
        return {"token": self._tokens[user]} if user else {}

    async def _call(self, path: str, metadata: dict[str, str], **fields: Any) -> Any:
        service, _, name = path.partition("/")
        method = service_descriptors()[f"etcdserverpb.{service}"].methods_by_name[name]
        request_type, response_type = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        stub = self._channel.unary_unary(
            f"/etcdserverpb.{path}",
            request_serializer=request_type.SerializeToString,
            response_deserializer=response_type.FromString,
        )
        return await stub(request_type(**fields), metadata=tuple(metadata.items()), timeout=SECONDS_MAX)

    # --- what is written down

    def _normal(self, message: Message) -> str:
        copy = type(message)()
        copy.CopyFrom(message)
        self._normalise(copy)
        return f"{type(message).__name__} {' '.join(str(copy).split())}"

    def _normalise(self, message: Message) -> None:
        for descriptor, value in message.ListFields():
            if descriptor.name in ("cluster_id", "member_id", "raft_term"):
                message.ClearField(descriptor.name)
            elif descriptor.name in ("revision", "create_revision", "mod_revision"):
                setattr(message, descriptor.name, value - self._revision)
            elif descriptor.name == "authRevision":
                message.authRevision = value - self._auth_revision + 1  # type: ignore[attr-defined]
            elif descriptor.name == "token":
                message.token = "a token"  # type: ignore[attr-defined]
            elif isinstance(value, Message):
                self._normalise(value)
            elif descriptor.is_repeated and descriptor.message_type is not None:
                for inner in value:
                    self._normalise(inner)

    # --- beginning and end

    async def begin(self) -> None:
        """Note where the server stands."""
        status = await self._call("Auth/AuthStatus", {})
        assert not status.enabled
        self._auth_revision = status.authRevision
        self._revision = status.header.revision

    async def clean(self) -> None:
        """Take away whatever users, roles and keys there are."""
        metadata: dict[str, str] = {}
        with contextlib.suppress(grpc.aio.AioRpcError):  # it is off already
            token = (await self._call("Auth/Authenticate", {}, name="root", password=ROOT_PASSWORD)).token
            metadata = {"token": token}
            await self._call("Auth/AuthDisable", metadata)
        for name in (await self._call("Auth/UserList", {})).users:
            await self._call("Auth/UserDelete", {}, name=name)
        for name in (await self._call("Auth/RoleList", {})).roles:
            await self._call("Auth/RoleDelete", {}, role=name)
        await self._call("KV/DeleteRange", {}, key=b"\0", range_end=b"\0")
        await self._channel.close()

    # --- what many scenarios begin with

    async def make_root(self, enable: bool = True) -> None:
        """A root who can, and is logged in once authentication is on."""
        await self("Auth/UserAdd", name="root", password=ROOT_PASSWORD)
        await self("Auth/UserGrantRole", user="root", role="root")
        if enable:
            await self("Auth/AuthEnable")
            await self.login("root", ROOT_PASSWORD)

    async def make_user(self, name: str, *grants: auth_pb2.Permission, by: str = "root") -> None:
        """A user with a role of the same name that grants so much, logged in."""
        await self("Auth/UserAdd", by, name=name, password=f"{name}'s")
        await self("Auth/RoleAdd", by, name=name)
        for grant in grants:
            await self("Auth/RoleGrantPermission", by, name=name, perm=grant)
        await self("Auth/UserGrantRole", by, user=name, role=name)
        await self.login(name, f"{name}'s")


@contextlib.asynccontextmanager
async def recorded(endpoint: str) -> AsyncIterator[Recorder]:
    """A recorder on a server that is clean before and after."""
    recorder = Recorder(endpoint)
    await recorder.begin()
    try:
        yield recorder
    finally:
        await recorder.clean()
