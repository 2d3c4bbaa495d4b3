"""The JSON gateway under `/v3/`: every RPC as an HTTP POST (grpc-gateway's conventions).

Names of fields are those of the .proto files, zero values are left out, 64-bit integers are strings, bytes are base64.
Streams answer with one `{"result": …}` a line and take their requests as JSON values one after the other.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from google.protobuf.message import Message

from kvstore.environment import Clock
from kvstore.errors import EtcdError, StatusCode
from kvstore.front.grpc import parse_timeout
from kvstore.front.routes import Body, BodyError, HttpRequest, HttpResponse, Router
from kvstore.front.service import CallContext, Kind, Method, MethodTable

__all__ = ["GATEWAY_PATHS", "add_gateway"]

JSON = "application/json"

GATEWAY_PATHS: dict[str, tuple[str, ...]] = {
    "/etcdserverpb.KV/Range": ("/v3/kv/range",),
    "/etcdserverpb.KV/Put": ("/v3/kv/put",),
    "/etcdserverpb.KV/DeleteRange": ("/v3/kv/deleterange",),
    "/etcdserverpb.KV/Txn": ("/v3/kv/txn",),
    "/etcdserverpb.KV/Compact": ("/v3/kv/compaction",),
    "/etcdserverpb.Watch/Watch": ("/v3/watch",),
    "/etcdserverpb.Lease/LeaseGrant": ("/v3/lease/grant",),
    "/etcdserverpb.Lease/LeaseRevoke": ("/v3/lease/revoke", "/v3/kv/lease/revoke"),
    "/etcdserverpb.Lease/LeaseKeepAlive": ("/v3/lease/keepalive",),
    "/etcdserverpb.Lease/LeaseTimeToLive": ("/v3/lease/timetolive", "/v3/kv/lease/timetolive"),
    "/etcdserverpb.Lease/LeaseLeases": ("/v3/lease/leases", "/v3/kv/lease/leases"),
    "/etcdserverpb.Cluster/MemberAdd": ("/v3/cluster/member/add",),
    "/etcdserverpb.Cluster/MemberRemove": ("/v3/cluster/member/remove",),
    "/etcdserverpb.Cluster/MemberUpdate": ("/v3/cluster/member/update",),
    "/etcdserverpb.Cluster/MemberList": ("/v3/cluster/member/list",),
    "/etcdserverpb.Cluster/MemberPromote": ("/v3/cluster/member/promote",),
    "/etcdserverpb.Maintenance/Alarm": ("/v3/maintenance/alarm",),
    "/etcdserverpb.Maintenance/Status": ("/v3/maintenance/status",),
    "/etcdserverpb.Maintenance/Defragment": ("/v3/maintenance/defragment",),
    "/etcdserverpb.Maintenance/Hash": ("/v3/maintenance/hash",),
    "/etcdserverpb.Maintenance/HashKV": ("/v3/maintenance/hashkv",),
    "/etcdserverpb.Maintenance/Snapshot": ("/v3/maintenance/snapshot",),
    "/etcdserverpb.Maintenance/MoveLeader": ("/v3/maintenance/transfer-leadership",),
    "/etcdserverpb.Maintenance/Downgrade": ("/v3/maintenance/downgrade",),
    "/etcdserverpb.Auth/AuthEnable": ("/v3/auth/enable",),
    "/etcdserverpb.Auth/AuthDisable": ("/v3/auth/disable",),
    "/etcdserverpb.Auth/AuthStatus": ("/v3/auth/status",),
    "/etcdserverpb.Auth/Authenticate": ("/v3/auth/authenticate",),
    "/etcdserverpb.Auth/UserAdd": ("/v3/auth/user/add",),
    "/etcdserverpb.Auth/UserGet": ("/v3/auth/user/get",),
    "/etcdserverpb.Auth/UserList": ("/v3/auth/user/list",),
    "/etcdserverpb.Auth/UserDelete": ("/v3/auth/user/delete",),
    "/etcdserverpb.Auth/UserChangePassword": ("/v3/auth/user/changepw",),
    "/etcdserverpb.Auth/UserGrantRole": ("/v3/auth/user/grant",),
    "/etcdserverpb.Auth/UserRevokeRole": ("/v3/auth/user/revoke",),
    "/etcdserverpb.Auth/RoleAdd": ("/v3/auth/role/add",),
    "/etcdserverpb.Auth/RoleGet": ("/v3/auth/role/get",),
    "/etcdserverpb.Auth/RoleList": ("/v3/auth/role/list",),
    "/etcdserverpb.Auth/RoleDelete": ("/v3/auth/role/delete",),
    "/etcdserverpb.Auth/RoleGrantPermission": ("/v3/auth/role/grant",),
    "/etcdserverpb.Auth/RoleRevokePermission": ("/v3/auth/role/revoke",),
    "/v3lockpb.Lock/Lock": ("/v3/lock/lock",),
    "/v3lockpb.Lock/Unlock": ("/v3/lock/unlock",),
    "/v3electionpb.Election/Campaign": ("/v3/election/campaign",),
    "/v3electionpb.Election/Proclaim": ("/v3/election/proclaim",),
    "/v3electionpb.Election/Leader": ("/v3/election/leader",),
    "/v3electionpb.Election/Observe": ("/v3/election/observe",),
    "/v3electionpb.Election/Resign": ("/v3/election/resign",),
}

_HTTP_STATUS = {
    StatusCode.CANCELLED: 499,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.ABORTED: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}
_NESTING_MAX = 100  # of messages; transactions in transactions are the only way to nest at all
_STRUCTURE = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
_ENDS_IN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")
# A last group of two or three characters may be padded, and only then.
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?")
_BASE64_URL = re.compile(r"(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}(?:==)?|[A-Za-z0-9_-]{3}=?)?")
_METADATA_PREFIX = "grpc-metadata-"


def add_gateway(router: Router, methods: MethodTable, clock: Clock) -> None:
    """Serve every method that has a gateway path."""
    by_path = {path: method for method in methods for path in GATEWAY_PATHS.get(method.path, ())}

    async def handle(request: HttpRequest) -> HttpResponse:
        method = by_path.get(request.path)
        try:
            if method is None:
                raise EtcdError(StatusCode.NOT_FOUND, "Not Found")
            if request.method != "POST":
                raise EtcdError(StatusCode.UNIMPLEMENTED, "Method Not Allowed")
            context, timeout_seconds = _context(request, clock)
            async with asyncio.timeout(timeout_seconds):
                if method.kind is Kind.UNARY:
                    return await _unary(method, request.body, context)
                return await _stream(method, request.body, context)
        except EtcdError as error:
            refusal = error
        except TimeoutError:
            refusal = EtcdError(StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded")
        return HttpResponse(_http_status(refusal), orjson.dumps(_error(refusal)), JSON)

    router.add_prefix("/v3/", handle)


def _context(request: HttpRequest, clock: Clock) -> tuple[CallContext, float | None]:
    """What the handler is told: headers as metadata, but no certificate, because the gateway speaks for others."""
    metadata = {name.removeprefix(_METADATA_PREFIX): value for name, value in request.headers.items()}
    context = CallContext(metadata, request.peer)
    timeout = request.headers.get("grpc-timeout")
    if timeout is None:
        return context, None
    seconds = parse_timeout(timeout.encode(errors="replace"))
    context.deadline = clock.monotonic() + seconds
    return context, seconds


async def _unary(method: Method, body: Body, context: CallContext) -> HttpResponse:
    request = await anext(_requests(method, body), method.request_type())
    response = await method.handler(request, context)
    return HttpResponse(200, _to_json(response), JSON)


async def _stream(method: Method, body: Body, context: CallContext) -> HttpResponse:
    """The response begins with the first message, so that a refusal still has its status."""
    requests = _requests(method, body)
    if method.kind is Kind.BIDI_STREAM:
        responses = method.handler(requests, context)
    else:
        responses = method.handler(await anext(requests, method.request_type()), context)
    try:
        first = await anext(responses)
    except StopAsyncIteration:
        return HttpResponse(200, b"", JSON)
    except EtcdError as error:
        return HttpResponse(_http_status(error), orjson.dumps({"error": _error(error)}) + b"\n", JSON)
    return HttpResponse(200, _lines(method, first, responses), JSON)


_Response = Message | bytes | list[bytes]  # what streams yield


async def _lines(
    method: Method, first: _Response, responses: AsyncGenerator[_Response, None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(responses):
        yield _line(method, first)
        try:
            async for response in responses:
                yield _line(method, response)
        except EtcdError as error:
            yield orjson.dumps({"error": _error(error)}) + b"\n"


async def _requests(method: Method, body: Body) -> AsyncGenerator[Any, None]:
    """The JSON values of a body as messages, each as soon as it is complete. Raises `EtcdError`."""
    from google.protobuf import json_format

    async with aclosing(_values(body)) as values:
        async for value in values:
            message = method.request_type()
            _check_bytes(message.DESCRIPTOR, value)
            try:
                json_format.ParseDict(value, message, ignore_unknown_fields=True, max_recursion_depth=_NESTING_MAX)
            except (json_format.ParseError, RecursionError, AttributeError) as error:
                raise EtcdError(StatusCode.INVALID_ARGUMENT, f"proto: {error}") from None
            yield message


def _check_bytes(descriptor: Any, value: dict[str, Any]) -> None:
    """Refuse fields of bytes that are not base64, of which Python's parser would take what it can, and so another key.

    As Go's parser does, either alphabet is taken, padded or not. Raises `EtcdError`, without the value in its text.
    """
    for name, inner in value.items():
        field = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
        if field is None:
            continue
        parts = inner if isinstance(inner, list) else [inner]
        if field.type == field.TYPE_BYTES:
            for part in parts:
                if isinstance(part, str) and not (_BASE64.fullmatch(part) or _BASE64_URL.fullmatch(part)):
                    raise EtcdError(StatusCode.INVALID_ARGUMENT, f"proto: invalid value for bytes field {name}")
        elif field.message_type is not None:
            for part in parts:
                if isinstance(part, dict):
                    _check_bytes(field.message_type, part)


async def _values(body: Body) -> AsyncGenerator[dict[str, Any], None]:
    """JSON objects one after the other, each as soon as its last brace is there. Raises `EtcdError`."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    splitter = _ObjectSplitter()
    try:
        async with aclosing(body.chunks()) as chunks:
            async for chunk in chunks:
                for text in splitter.feed(decoder.decode(chunk)):
                    yield _object(text)
        if rest := splitter.rest():
            _object(rest)
    except BodyError as broken:
        raise EtcdError(StatusCode.INVALID_ARGUMENT, broken.message) from None
    except (ValueError, RecursionError) as invalid:
        raise EtcdError(StatusCode.INVALID_ARGUMENT, str(invalid)) from None


def _object(text: str) -> dict[str, Any]:
    """A JSON object. Raises ValueError, RecursionError."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("a message must be an object")
    return value


class _ObjectSplitter:
    """Cuts a text of JSON objects at their ends, looking at each character once."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._held = ""
        self._depth = 0
        self._in_string = False

    def feed(self, text: str) -> list[str]:
        """The objects that `text` completes, each with whatever stood before it."""
        text = self._held + text
        # An escape cut in two is looked at when its other half is there.
        self._held = "\\" if _ENDS_IN_ESCAPE.search(text) else ""
        text = text.removesuffix(self._held)
        objects: list[str] = []
        start = 0
        for match in _STRUCTURE.finditer(text):
            character = match[0]
            if character == '"':
                self._in_string = not self._in_string
            elif self._in_string or character[0] == "\\":
                continue
            elif character in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth <= 0:
                    self._depth = 0
                    objects.append("".join((*self._parts, text[start : match.end()])))
                    self._parts.clear()
                    start = match.end()
        self._parts.append(text[start:])
        return objects

    def rest(self) -> str:
        """What is left after the last object."""
        return "".join((*self._parts, self._held)).strip()


def _line(method: Method, response: _Response) -> bytes:
    if isinstance(response, list):
        return b"".join(_line(method, message) for message in response)
    message = method.response_type.FromString(response) if isinstance(response, bytes) else response
    return b'{"result":' + _to_json(message) + b"}\n"


def _to_json(message: Message) -> bytes:
    from google.protobuf import json_format

    return orjson.dumps(json_format.MessageToDict(message, preserving_proto_field_name=True))


def _error(error: EtcdError) -> dict[str, object]:
    return {"code": int(error.code), "message": error.message, "details": []}


def _http_status(error: EtcdError) -> int:
    return _HTTP_STATUS.get(error.code, 500)
