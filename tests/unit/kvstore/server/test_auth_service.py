"""Who may do what, asked of every service of a member: the Auth service, tokens, permissions, and ways round them.

What etcd 3.5.1 answers as well is compared with it in tests/conformance/auth; here are the cases that releases since
then refuse, each under the number of its advisory, and what takes a clock or a look inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from kvstore.app import Member
from kvstore.app.exposition import render
from kvstore.app.metrics import member_families
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import auth_pb2, election_pb2, lock_pb2, raft_internal_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front import CallContext, Kind, methods_of, service_descriptors
from kvstore.server.version import SERVER_VERSION
from tests.unit.kvstore.server.conftest import FakeConsensus, StartMember

READ, WRITE, READWRITE = auth_pb2.Permission.READ, auth_pb2.Permission.WRITE, auth_pb2.Permission.READWRITE

EMPTY_USER = (StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty")
DENIED = (StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")
BAD_TOKEN = (StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")
FAILED = (StatusCode.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password")
OLD = (StatusCode.INVALID_ARGUMENT, "etcdserver: revision of auth store is old")

PASSWORD = "a password nobody else has"


class Caller:
    """Calls a member's services as one user."""

    def __init__(self, member: Member, token: str | None = None, **context: Any) -> None:
        self.services = member.services()
        metadata = {} if token is None else {"token": token}
        self.context = CallContext(metadata, **context)

    @property
    def kv(self) -> Any:
        return self._bound(self.services.kv)

    @property
    def lease(self) -> Any:
        return self._bound(self.services.lease)

    @property
    def auth(self) -> Any:
        return self._bound(self.services.auth)

    @property
    def maintenance(self) -> Any:
        return self._bound(self.services.maintenance)

    @property
    def cluster(self) -> Any:
        return self._bound(self.services.cluster)

    def _bound(self, service: Any) -> Any:
        context = self.context

        class Bound:
            def __getattr__(self, name: str) -> Callable[[Any], Any]:
                return lambda request: getattr(service, name)(request, context)

        return Bound()

    async def watch(self, key: bytes, end: bytes = b"", **options: Any) -> pb.WatchResponse:
        """The first response to a watch."""
        create = pb.WatchCreateRequest(key=key, range_end=end, **options)
        async with contextlib.aclosing(self._responses(pb.WatchRequest(create_request=create))) as responses:
            return await anext(responses)

    async def _responses(self, request: pb.WatchRequest) -> AsyncIterator[pb.WatchResponse]:
        async for wire in self.services.watch.watch(_requests(request), self.context):
            yield pb.WatchResponse.FromString(joined(wire))

    async def keep_alive(self, lease_id: int) -> pb.LeaseKeepAliveResponse:
        requests = _requests(pb.LeaseKeepAliveRequest(ID=lease_id))
        async with contextlib.aclosing(self.services.lease.lease_keep_alive(requests, self.context)) as responses:
            response = await anext(responses)
            assert isinstance(response, pb.LeaseKeepAliveResponse)
            return response


def joined(wire: bytes | Sequence[bytes]) -> bytes:
    """A serialised response, which may come in parts."""
    return wire if isinstance(wire, bytes) else b"".join(wire)


async def _requests(*requests: Message) -> AsyncIterator[Any]:
    for request in requests:
        yield request


async def refused(call: Any, refusal: tuple[StatusCode, str]) -> None:
    with pytest.raises(EtcdError) as error:
        await call
    assert (error.value.code, error.value.message) == refusal


async def login(member: Member, name: str, password: str = PASSWORD) -> Caller:
    response = await Caller(member).auth.authenticate(pb.AuthenticateRequest(name=name, password=password))
    return Caller(member, response.token)


async def populate(member: Member) -> None:
    """Root; `alice` reads [a, c) and writes [b, d); `bob` has no role, `carol` no password."""
    anyone = Caller(member)
    for name in ("root", "alice", "bob"):
        await anyone.auth.user_add(pb.AuthUserAddRequest(name=name, password=PASSWORD))
    no_password = auth_pb2.UserAddOptions(no_password=True)
    await anyone.auth.user_add(pb.AuthUserAddRequest(name="carol", options=no_password))
    await anyone.auth.role_add(pb.AuthRoleAddRequest(name="mixed"))
    for kind, key, end in ((READ, b"a", b"c"), (WRITE, b"b", b"d")):
        granted = auth_pb2.Permission(permType=kind, key=key, range_end=end)
        await anyone.auth.role_grant_permission(pb.AuthRoleGrantPermissionRequest(name="mixed", perm=granted))
    await anyone.auth.user_grant_role(pb.AuthUserGrantRoleRequest(user="root", role="root"))
    await anyone.auth.user_grant_role(pb.AuthUserGrantRoleRequest(user="alice", role="mixed"))
    for key in (b"a", b"b", b"c", b"d"):
        await anyone.kv.put(pb.PutRequest(key=key, value=b"secret of " + key))
    await anyone.auth.auth_enable(pb.AuthEnableRequest())


@pytest.fixture
async def member(start: StartMember) -> Member:
    """A member with users, and authentication on."""
    member = await start(bcrypt_cost=4)
    await populate(member)
    return member


@pytest.fixture
async def root(member: Member) -> Caller:
    return await login(member, "root")


@pytest.fixture
async def alice(member: Member) -> Caller:
    return await login(member, "alice")


# --- every RPC there is


def every_method(member: Member) -> list[Any]:
    implementations = member.services().by_name(member.core)
    descriptors = service_descriptors()
    return [method for name in implementations for method in methods_of(descriptors[name], implementations[name])]


LEADER = election_pb2.LeaderKey(name=b"b", key=b"b/5", rev=2, lease=5)

REQUESTS: dict[str, Message] = {
    "RangeStream": pb.RangeRequest(key=b"a"),
    "Range": pb.RangeRequest(key=b"a"),
    "Put": pb.PutRequest(key=b"b"),
    "DeleteRange": pb.DeleteRangeRequest(key=b"b"),
    "Txn": pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"b"))]),
    "Alarm": pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, alarm=pb.NOSPACE),
    "UserGet": pb.AuthUserGetRequest(name="alice"),
    "Unlock": lock_pb2.UnlockRequest(key=b"b"),
    "Proclaim": election_pb2.ProclaimRequest(leader=LEADER),
    "Resign": election_pb2.ResignRequest(leader=LEADER),
    "MemberAdd": pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"]),
}
"""Requests that would be carried out, where empty ones would be refused for what they are."""

OPEN_TO_ALL = {"/etcdserverpb.Auth/Authenticate", "/etcdserverpb.Auth/AuthStatus"}
ENDS_WITHOUT_ERROR = {"/v3electionpb.Election/Observe"}
"""Its stream ends, as etcd's does, when the member may not look."""


async def outcome(method: Any, context: CallContext) -> EtcdError | None:
    """How a call ends; None when it is answered."""
    request = REQUESTS.get(method.name) or method.request_type()
    try:
        if method.kind is Kind.UNARY:
            await method.handler(request, context)
            return None
        if method.kind is Kind.BIDI_STREAM:
            if method.name == "Watch":
                request = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a"))
            responses = method.handler(_requests(request), context)
        else:
            responses = method.handler(request, context)
        async with contextlib.aclosing(responses):
            async for response in responses:
                if isinstance(response, Message):
                    return None
                created = pb.WatchResponse.FromString(joined(response))
                if created.canceled:
                    return EtcdError(StatusCode.UNKNOWN, created.cancel_reason.partition("desc = ")[2])
                return None
    except EtcdError as error:
        return error
    assert method.path in ENDS_WITHOUT_ERROR
    return EtcdError(StatusCode.UNKNOWN, EMPTY_USER[1])


async def test_nobody_gets_anything_without_a_name(member: Member) -> None:
    """CVE-2026-33413, for every RPC, those to come included: whoever adds one must ask who calls."""
    store = member.core.store
    revision, auth_revision = store.revision, member.core.auth.revision
    for method in every_method(member):
        ended = await asyncio.wait_for(outcome(method, CallContext()), 10)
        if method.path in OPEN_TO_ALL:
            assert ended is None or ended.message == FAILED[1], method.path
        else:
            assert ended is not None, method.path
            assert ended.message == EMPTY_USER[1], (method.path, ended)
    assert (store.revision, member.core.auth.revision) == (revision, auth_revision)
    assert not member.core.alarms.any
    assert member.core.auth.enabled


async def test_a_bad_token_is_worse_than_none(member: Member) -> None:
    for method in every_method(member):
        ended = await asyncio.wait_for(outcome(method, CallContext({"token": "stolen.1"})), 10)
        if method.name == "Authenticate":
            continue
        if method.path not in ENDS_WITHOUT_ERROR:
            assert ended is not None, method.path
            assert ended.message == BAD_TOKEN[1], (method.path, ended)


ADMIN_ONLY: list[tuple[str, str, Message]] = [
    ("kv", "compact", pb.CompactionRequest(revision=2)),
    ("maintenance", "defragment", pb.DefragmentRequest()),
    ("maintenance", "hash", pb.HashRequest()),
    ("maintenance", "hash_kv", pb.HashKVRequest()),
    ("maintenance", "move_leader", pb.MoveLeaderRequest(targetID=1)),
    ("maintenance", "downgrade", pb.DowngradeRequest(version="3.5.0")),
    ("maintenance", "alarm", pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, alarm=pb.NOSPACE)),
    ("maintenance", "alarm", pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, alarm=pb.NOSPACE)),
    ("auth", "auth_enable", pb.AuthEnableRequest()),
    ("auth", "auth_disable", pb.AuthDisableRequest()),
    ("auth", "user_add", pb.AuthUserAddRequest(name="eve", password="x")),
    ("auth", "user_add", pb.AuthUserAddRequest(name="eve", options=auth_pb2.UserAddOptions(no_password=True))),
    ("auth", "user_get", pb.AuthUserGetRequest(name="root")),
    ("auth", "user_list", pb.AuthUserListRequest()),
    ("auth", "user_delete", pb.AuthUserDeleteRequest(name="alice")),
    ("auth", "user_change_password", pb.AuthUserChangePasswordRequest(name="alice", password="x")),
    ("auth", "user_change_password", pb.AuthUserChangePasswordRequest(name="root", hashedPassword="eA==")),
    ("auth", "user_grant_role", pb.AuthUserGrantRoleRequest(user="alice", role="root")),
    ("auth", "user_revoke_role", pb.AuthUserRevokeRoleRequest(name="alice", role="mixed")),
    ("auth", "role_add", pb.AuthRoleAddRequest(name="other")),
    ("auth", "role_get", pb.AuthRoleGetRequest(role="root")),
    ("auth", "role_list", pb.AuthRoleListRequest()),
    ("auth", "role_delete", pb.AuthRoleDeleteRequest(role="mixed")),
    (
        "auth",
        "role_grant_permission",
        pb.AuthRoleGrantPermissionRequest(name="mixed", perm=auth_pb2.Permission(key=b"x")),
    ),
    ("auth", "role_revoke_permission", pb.AuthRoleRevokePermissionRequest(role="mixed", key=b"a", range_end=b"c")),
]


@pytest.mark.parametrize(("service", "name", "request_"), ADMIN_ONLY, ids=[f"{row[0]}.{row[1]}" for row in ADMIN_ONLY])
async def test_for_root_alone(member: Member, alice: Caller, service: str, name: str, request_: Message) -> None:
    revision = member.core.auth.revision
    await refused(getattr(getattr(alice, service), name)(request_), DENIED)
    assert member.core.auth.revision == revision
    assert not member.core.alarms.any


async def test_snapshots_for_root_alone(alice: Caller, root: Caller) -> None:
    with pytest.raises(EtcdError) as error:
        await anext(alice.maintenance.snapshot(pb.SnapshotRequest()))
    assert (error.value.code, error.value.message) == DENIED
    pieces = [piece async for piece in root.maintenance.snapshot(pb.SnapshotRequest())]
    assert len(pieces) > 1


async def test_what_every_user_may(alice: Caller) -> None:
    assert (await alice.maintenance.status(pb.StatusRequest())).version == SERVER_VERSION
    assert (await alice.maintenance.alarm(pb.AlarmRequest())).alarms == []
    assert len((await alice.cluster.member_list(pb.MemberListRequest(linearizable=True))).members) == 1
    assert (await alice.auth.auth_status(pb.AuthStatusRequest())).enabled
    assert (await alice.auth.user_get(pb.AuthUserGetRequest(name="alice"))).roles == ["mixed"]
    assert len((await alice.auth.role_get(pb.AuthRoleGetRequest(role="mixed"))).perm) == 2


async def test_whoever_has_the_role_root_is_root(member: Member, root: Caller, alice: Caller) -> None:
    await root.auth.user_grant_role(pb.AuthUserGrantRoleRequest(user="alice", role="root"))
    await alice.kv.put(pb.PutRequest(key=b"z", prev_kv=True))
    await alice.kv.compact(pb.CompactionRequest(revision=2))
    assert "carol" in (await alice.auth.user_list(pb.AuthUserListRequest())).users


# --- keys

OPERATIONS: list[tuple[str, bool, Message]] = [
    ("range", True, pb.RangeRequest(key=b"a")),
    ("range", True, pb.RangeRequest(key=b"a", range_end=b"c")),
    ("range", True, pb.RangeRequest(key=b"a", serializable=True)),
    ("range", False, pb.RangeRequest(key=b"c", serializable=True)),
    ("range", False, pb.RangeRequest(key=b"a", range_end=b"c\0")),
    ("range", False, pb.RangeRequest(key=b"a", range_end=b"\0")),
    ("range", False, pb.RangeRequest(key=b"\0", range_end=b"\0", count_only=True)),
    ("range", False, pb.RangeRequest(key=b"c", keys_only=True)),
    ("put", True, pb.PutRequest(key=b"b")),
    ("put", True, pb.PutRequest(key=b"c")),
    ("put", False, pb.PutRequest(key=b"a")),
    ("put", True, pb.PutRequest(key=b"b", prev_kv=True)),
    ("put", False, pb.PutRequest(key=b"c", prev_kv=True)),  # etcd 21681: what is read needs the right to
    ("delete_range", True, pb.DeleteRangeRequest(key=b"b", range_end=b"d")),
    ("delete_range", False, pb.DeleteRangeRequest(key=b"b", range_end=b"\0")),
    ("delete_range", True, pb.DeleteRangeRequest(key=b"b", prev_kv=True)),
    ("delete_range", False, pb.DeleteRangeRequest(key=b"b", range_end=b"d", prev_kv=True)),
    ("delete_range", False, pb.DeleteRangeRequest(key=b"a")),
]


def as_operation(request: Message) -> pb.RequestOp:
    if isinstance(request, pb.RangeRequest):
        return pb.RequestOp(request_range=request)
    if isinstance(request, pb.PutRequest):
        return pb.RequestOp(request_put=request)
    assert isinstance(request, pb.DeleteRangeRequest)
    return pb.RequestOp(request_delete_range=request)


NEVER = pb.Compare(key=b"a", target=pb.Compare.VERSION, result=pb.Compare.EQUAL, version=99)


def in_txns(request: Message) -> dict[str, pb.TxnRequest]:
    """A request wherever it can stand in a transaction, taken or not."""
    operation = as_operation(request)
    nested = pb.RequestOp(request_txn=pb.TxnRequest(success=[operation]))
    return {
        "success": pb.TxnRequest(success=[operation]),
        "failure": pb.TxnRequest(compare=[NEVER], failure=[operation]),
        "branch not taken": pb.TxnRequest(compare=[NEVER], success=[operation]),
        # CVE-2026-33343: what is nested is looked at like the rest.
        "nested": pb.TxnRequest(success=[nested]),
        "nested, not taken": pb.TxnRequest(compare=[NEVER], success=[nested]),
        "nested twice": pb.TxnRequest(success=[pb.RequestOp(request_txn=pb.TxnRequest(failure=[nested]))]),
    }


@pytest.mark.parametrize(("name", "permitted", "request_"), OPERATIONS)
async def test_keys(member: Member, alice: Caller, name: str, permitted: bool, request_: Message) -> None:
    revision = member.core.store.revision
    bob = await login(member, "bob")
    calls = [lambda caller: getattr(caller.kv, name)(request_)]
    for txn in in_txns(request_).values():
        calls.append(lambda caller, txn=txn: caller.kv.txn(txn))
    for call in calls:
        await refused(call(bob), DENIED)
        await refused(call(Caller(member)), EMPTY_USER)
        if not permitted:
            await refused(call(alice), DENIED)
    assert member.core.store.revision == revision
    if permitted:
        for call in calls:
            await call(alice)


async def test_compares_are_reads(alice: Caller) -> None:
    for key, end, permitted in ((b"a", b"", True), (b"c", b"", False), (b"a", b"d", False), (b"a", b"c", True)):
        compare = pb.Compare(key=key, range_end=end, target=pb.Compare.VALUE, value=b"guess")
        for txn in (
            pb.TxnRequest(compare=[compare]),
            pb.TxnRequest(compare=[compare], success=[as_operation(pb.PutRequest(key=b"b"))]),
            pb.TxnRequest(success=[pb.RequestOp(request_txn=pb.TxnRequest(compare=[compare]))]),
        ):
            if permitted:
                await alice.kv.txn(txn)
            else:
                await refused(alice.kv.txn(txn), DENIED)


async def test_streamed_ranges(alice: Caller, root: Caller) -> None:
    with pytest.raises(EtcdError) as error:
        await anext(alice.kv.range_stream(pb.RangeRequest(key=b"a", range_end=b"\0")))
    assert (error.value.code, error.value.message) == DENIED
    assert len([piece async for piece in alice.kv.range_stream(pb.RangeRequest(key=b"a", range_end=b"c"))]) == 1


async def test_a_stream_ends_when_users_change(member: Member, root: Caller, alice: Caller) -> None:
    for number in range(40):
        await root.kv.put(pb.PutRequest(key=b"a%d" % number))
    pieces = alice.kv.range_stream(pb.RangeRequest(key=b"a", range_end=b"c"))
    await anext(pieces)
    await root.auth.user_revoke_role(pb.AuthUserRevokeRoleRequest(name="alice", role="mixed"))
    with pytest.raises(EtcdError) as error:
        [piece async for piece in pieces]
    assert (error.value.code, error.value.message) == OLD


async def test_watches(member: Member, alice: Caller, root: Caller) -> None:
    assert not (await alice.watch(b"a", b"c")).canceled
    assert not (await root.watch(b"", b"\0")).canceled
    for caller, key, end, reason in (
        (alice, b"c", b"", "rpc error: code = PermissionDenied desc = etcdserver: permission denied"),
        # GHSA-xg4h-6gfc-h4m8: the right to one key, or to some, is none to all that follow
        (alice, b"a", b"\0", "rpc error: code = PermissionDenied desc = etcdserver: permission denied"),
        (alice, b"", b"\0", "rpc error: code = PermissionDenied desc = etcdserver: permission denied"),
        (alice, b"", b"", "rpc error: code = PermissionDenied desc = etcdserver: permission denied"),
        (Caller(member), b"a", b"", "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"),
        (
            Caller(member, "x.1"),
            b"a",
            b"",
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
        ),
    ):
        response = await caller.watch(key, end)
        assert (response.created, response.canceled, response.watch_id) == (True, True, -1)
        assert response.cancel_reason == reason
        assert response.header.revision == member.core.store.revision


async def test_one_key_is_not_all_that_follow(member: Member, root: Caller, alice: Caller) -> None:
    """GHSA-xg4h-6gfc-h4m8, with the right to a single key."""
    await root.auth.role_add(pb.AuthRoleAddRequest(name="one"))
    one = auth_pb2.Permission(permType=READ, key=b"k")
    await root.auth.role_grant_permission(pb.AuthRoleGrantPermissionRequest(name="one", perm=one))
    await root.auth.user_grant_role(pb.AuthUserGrantRoleRequest(user="bob", role="one"))
    bob = await login(member, "bob")
    assert not (await bob.watch(b"k")).canceled
    assert (await bob.watch(b"k", b"\0")).canceled
    assert (await bob.watch(b"k", b"l")).canceled
    await refused(bob.kv.range(pb.RangeRequest(key=b"k", range_end=b"\0")), DENIED)


# --- leases


async def test_leases_are_as_safe_as_their_keys(member: Member, root: Caller, alice: Caller) -> None:
    """etcd 21685 among them: a key attached to others' lease would be deleted with theirs."""
    await refused(Caller(member).lease.lease_grant(pb.LeaseGrantRequest(TTL=60, ID=5)), EMPTY_USER)
    for lease_id, key in ((5, b"d"), (6, b"b"), (7, None)):
        await alice.lease.lease_grant(pb.LeaseGrantRequest(TTL=60, ID=lease_id))
        if key is not None:
            await root.kv.put(pb.PutRequest(key=key, lease=lease_id))
    await refused(alice.kv.put(pb.PutRequest(key=b"b", lease=5)), DENIED)
    await refused(alice.kv.txn(pb.TxnRequest(success=[as_operation(pb.PutRequest(key=b"b", lease=5))])), DENIED)
    await alice.kv.put(pb.PutRequest(key=b"b", lease=6))
    await refused(alice.lease.lease_revoke(pb.LeaseRevokeRequest(ID=5)), DENIED)
    await refused(Caller(member).lease.lease_revoke(pb.LeaseRevokeRequest(ID=7)), EMPTY_USER)
    await refused(alice.keep_alive(5), DENIED)
    await refused(Caller(member).keep_alive(7), EMPTY_USER)
    assert (await alice.keep_alive(6)).TTL == 60
    assert (await alice.keep_alive(8)).TTL == 0
    await refused(alice.lease.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=5, keys=True)), DENIED)
    assert not (await alice.lease.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=5))).keys
    known = await alice.lease.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=6, keys=True))
    assert known.keys == [b"b"]
    await refused(Caller(member).lease.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=7)), EMPTY_USER)
    await refused(alice.lease.lease_leases(pb.LeaseLeasesRequest()), DENIED)
    assert len((await root.lease.lease_leases(pb.LeaseLeasesRequest())).leases) == 3
    await alice.lease.lease_revoke(pb.LeaseRevokeRequest(ID=6))
    await root.lease.lease_revoke(pb.LeaseRevokeRequest(ID=5))
    assert [lease.ID for lease in (await alice.lease.lease_leases(pb.LeaseLeasesRequest())).leases] == [7]


async def test_leases_expire_under_authentication(member: Member, root: Caller) -> None:
    await root.lease.lease_grant(pb.LeaseGrantRequest(TTL=60, ID=5))
    await root.kv.put(pb.PutRequest(key=b"leased", lease=5))
    lease = member.core.lessor.lookup(5)
    member.core.lessor._expiries = [(0.0, 5)]
    lease.expiry = 0.0
    member._lease_keeper.revoke_expired()
    await asyncio.gather(*member._lease_keeper._revocations)
    assert not member.core.lessor.exists(5)
    assert member.core.store.newest_kv(b"leased") is None


# --- tokens and passwords


async def test_who_gets_a_token(member: Member) -> None:
    authenticate = Caller(member).auth.authenticate
    for name, password in (
        ("alice", "wrong"),
        ("alice", ""),
        ("nobody", PASSWORD),
        ("", ""),
        ("alice", PASSWORD + "x"),
    ):
        await refused(authenticate(pb.AuthenticateRequest(name=name, password=password)), FAILED)
    no_password = (
        StatusCode.UNKNOWN,
        "auth: authentication failed, password was given for no password user",
    )
    await refused(authenticate(pb.AuthenticateRequest(name="carol", password="x")), no_password)
    with pytest.raises(EtcdError) as error:
        await authenticate(pb.AuthenticateRequest(name="alice", password="x" * 10_000 + "\0é"))
    assert (error.value.code, error.value.message) == FAILED


async def test_passwords_have_a_longest(root: Caller) -> None:
    too_long = (StatusCode.UNKNOWN, "bcrypt: password length exceeds 72 bytes")
    await refused(root.auth.user_add(pb.AuthUserAddRequest(name="eve", password="x" * 73)), too_long)
    await root.auth.user_add(pb.AuthUserAddRequest(name="eve", password="x" * 72))


async def test_a_user_without_password_never_gets_one(member: Member, root: Caller) -> None:
    await root.auth.user_change_password(pb.AuthUserChangePasswordRequest(name="carol", password=PASSWORD))
    with pytest.raises(EtcdError, match="no password user"):
        await login(member, "carol")
    await root.auth.user_change_password(pb.AuthUserChangePasswordRequest(name="alice"))
    for password in ("", PASSWORD):
        await refused(login(member, "alice", password), FAILED)


async def test_tokens_die_with_what_they_stand_for(member: Member, root: Caller) -> None:
    async def works(caller: Caller) -> bool:
        try:
            await caller.kv.range(pb.RangeRequest(key=b"a"))
        except EtcdError as error:
            return (error.code, error.message) != BAD_TOKEN
        return True

    first = await login(member, "alice")
    assert await works(first)
    await root.auth.user_change_password(pb.AuthUserChangePasswordRequest(name="alice", password="other"))
    assert not await works(first)
    second = await login(member, "alice", "other")
    assert await works(second)
    await root.auth.user_delete(pb.AuthUserDeleteRequest(name="alice"))
    assert not await works(second)
    await root.auth.user_add(pb.AuthUserAddRequest(name="alice", password="third"))
    assert not await works(second)
    await root.auth.auth_disable(pb.AuthDisableRequest())
    anyone = Caller(member)
    await refused(
        anyone.auth.authenticate(pb.AuthenticateRequest(name="alice", password="third")),
        (StatusCode.FAILED_PRECONDITION, "etcdserver: authentication is not enabled"),
    )
    await anyone.auth.auth_enable(pb.AuthEnableRequest())
    assert not await works(root)


async def test_where_a_token_stands(member: Member, alice: Caller) -> None:
    token = alice.context.metadata["token"]
    key = pb.RangeRequest(key=b"a")
    for metadata in (
        {"token": token},
        {"authorization": token},
        {"authorization": f"Bearer {token}"},
        {"token": f"Bearer {token}"},
        {"token": token, "authorization": "other"},
        {"token": f"{token},other"},
    ):
        await member.services().kv.range(key, CallContext(metadata))
    for metadata in (
        {"token": ""},
        {"authorization": f"bearer {token}"},
        {"authorization": f"Basic {token}"},
        {"token": "other", "authorization": token},
        {"token": f"other,{token}"},
    ):
        await refused(member.services().kv.range(key, CallContext(metadata)), BAD_TOKEN)


CERTIFICATE = {"subject": ((("organizationName", "o"),), (("commonName", "alice"),))}


async def test_certificates(start: StartMember) -> None:
    member = await start(bcrypt_cost=4, client_cert_auth=True)
    await populate(member)
    alice = Caller(member, peer_certificate=CERTIFICATE)
    await alice.kv.range(pb.RangeRequest(key=b"a"))
    await refused(alice.kv.range(pb.RangeRequest(key=b"c")), DENIED)
    root = await login(member, "root")
    both = Caller(member, root.context.metadata["token"], peer_certificate=CERTIFICATE)
    await both.kv.range(pb.RangeRequest(key=b"c"))
    await refused(Caller(member, "x.1", peer_certificate=CERTIFICATE).kv.range(pb.RangeRequest(key=b"a")), BAD_TOKEN)
    unnamed = Caller(member, peer_certificate={"subject": ((("organizationName", "o"),),)})
    await refused(unnamed.kv.range(pb.RangeRequest(key=b"a")), DENIED)
    await refused(unnamed.auth.user_list(pb.AuthUserListRequest()), EMPTY_USER)
    through_gateway = CallContext({"grpcgateway-accept": "*/*"}, peer_certificate=CERTIFICATE)
    await refused(member.services().kv.range(pb.RangeRequest(key=b"a"), through_gateway), EMPTY_USER)


async def test_certificates_mean_nothing_unless_they_are_asked_for(member: Member) -> None:
    await refused(Caller(member, peer_certificate=CERTIFICATE).kv.range(pb.RangeRequest(key=b"a")), EMPTY_USER)


# --- the log


def held_back(member: Member) -> FakeConsensus:
    consensus = member.core.consensus
    assert isinstance(consensus, FakeConsensus)
    consensus.held = True
    return consensus


async def test_what_was_let_in_before_a_change_is_refused_after_it(member: Member, root: Caller, alice: Caller) -> None:
    consensus = held_back(member)
    revoke = asyncio.ensure_future(root.auth.user_revoke_role(pb.AuthUserRevokeRoleRequest(name="alice", role="mixed")))
    put = asyncio.ensure_future(alice.kv.put(pb.PutRequest(key=b"b", value=b"late")))
    txn = asyncio.ensure_future(
        alice.kv.txn(pb.TxnRequest(success=[as_operation(pb.PutRequest(key=b"b", value=b"late"))]))
    )
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    consensus.release()
    await revoke
    await refused(put, OLD)
    await refused(txn, OLD)
    await refused(alice.kv.put(pb.PutRequest(key=b"b")), DENIED)


async def test_what_was_let_in_before_enabling_is_refused_after_it(start: StartMember) -> None:
    member = await start(bcrypt_cost=4)
    await populate(member)
    root = await login(member, "root")
    await root.auth.auth_disable(pb.AuthDisableRequest())
    consensus = held_back(member)
    anyone = Caller(member)
    enable = asyncio.ensure_future(anyone.auth.auth_enable(pb.AuthEnableRequest()))
    put = asyncio.ensure_future(anyone.kv.put(pb.PutRequest(key=b"b")))
    trusted = asyncio.ensure_future(member.client().put(pb.PutRequest(key=b"in-process")))
    for _ in range(3):
        await asyncio.sleep(0)
    consensus.release()
    await enable
    await refused(put, EMPTY_USER)
    assert (await trusted).header.revision == member.core.store.revision


async def test_the_process_itself_is_trusted_and_told_apart(member: Member, root: Caller) -> None:
    client = member.client()
    await client.put(pb.PutRequest(key=b"in-process", value=b"1", prev_kv=True))
    assert (await client.range(pb.RangeRequest(key=b"\0", range_end=b"\0"))).count == 5
    read_only = pb.TxnRequest(success=[as_operation(pb.RangeRequest(key=b"c"))])
    assert (await client.txn(read_only)).responses[0].response_range.count == 1
    grant = await client.lease_grant(pb.LeaseGrantRequest(TTL=60))
    assert (await client.lease_keep_alive(grant.ID)).TTL == 60
    stream = client.watch()
    await stream.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"\0", range_end=b"\0")))
    assert not (await anext(aiter(stream))).canceled
    await client.close()
    consensus = held_back(member)
    change = asyncio.ensure_future(root.auth.role_add(pb.AuthRoleAddRequest(name="other")))
    put = asyncio.ensure_future(member.client().put(pb.PutRequest(key=b"in-process", value=b"2")))
    for _ in range(3):
        await asyncio.sleep(0)
    consensus.release()
    consensus_index = consensus.commit_index
    await change
    await put  # refused at first, because the change came before it
    assert consensus.commit_index == consensus_index + 1


async def test_the_log_names_who_asked(member: Member, alice: Caller) -> None:
    entries: list[raft_internal_pb2.InternalRaftRequest] = []
    consensus = member.core.consensus
    assert isinstance(consensus, FakeConsensus)
    propose = consensus.propose
    consensus.propose = lambda data: (  # type: ignore[method-assign]
        entries.append(raft_internal_pb2.InternalRaftRequest.FromString(data)),
        propose(data),
    )[1]
    revision = member.core.auth.revision
    await alice.kv.put(pb.PutRequest(key=b"b"))
    await member.client().put(pb.PutRequest(key=b"b"))
    await login(member, "alice")
    headers = [(entry.header.username, entry.header.auth_revision) for entry in entries]
    assert headers == [("alice", revision), ("root", revision), ("", 0)]
    assert entries[2].authenticate.name == "alice"
    assert entries[2].authenticate.password == ""
    assert len(entries[2].authenticate.simple_token) == 16


async def test_a_long_name_fits_the_header(member: Member, root: Caller) -> None:
    name = "u" * 300
    await root.auth.user_add(pb.AuthUserAddRequest(name=name, password=PASSWORD))
    caller = await login(member, name)
    await refused(caller.kv.put(pb.PutRequest(key=b"b")), DENIED)


async def test_a_password_changed_meanwhile_is_checked_again(member: Member, root: Caller) -> None:
    consensus = held_back(member)
    propose, proposed = consensus.propose, asyncio.Semaphore(0)

    def told(data: bytes) -> None:
        propose(data)
        proposed.release()

    consensus.propose = told  # type: ignore[method-assign]
    entering = asyncio.ensure_future(login(member, "alice"))
    await proposed.acquire()
    change = pb.AuthUserChangePasswordRequest(name="alice", hashedPassword="bm90aGluZw==")
    changing = asyncio.ensure_future(root.auth.user_change_password(change))
    await proposed.acquire()
    consensus.release()
    await changing
    await refused(entering, FAILED)


async def test_users_survive_a_restart_and_passwords_stand_nowhere(start: StartMember, tmp_path: Path) -> None:
    member = await start(bcrypt_cost=4)
    await populate(member)
    alice = await login(member, "alice")
    revision = member.core.auth.revision
    again = await start(bcrypt_cost=4)
    assert (again.core.auth.enabled, again.core.auth.revision) == (True, revision)
    await refused(Caller(again, alice.context.metadata["token"]).kv.range(pb.RangeRequest(key=b"a")), BAD_TOKEN)
    alice = await login(again, "alice")
    await alice.kv.range(pb.RangeRequest(key=b"a"))
    await refused(alice.kv.range(pb.RangeRequest(key=b"c")), DENIED)
    await again.core.backend.flush()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        assert PASSWORD.encode() not in content, path
    assert any(b"$2a$04$" in path.read_bytes() for path in files)


async def test_metrics(member: Member) -> None:
    lines = render(member_families(member)).decode().splitlines()
    assert f"etcd_debugging_auth_revision {member.core.auth.revision}" in lines


async def test_signed_tokens(start: StartMember, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"a secret that is long enough for its hash")
    member = await start(bcrypt_cost=4, auth_token=f"jwt,sign-method=HS256,priv-key={secret}")
    await populate(member)
    root, alice = await login(member, "root"), await login(member, "alice")
    await alice.kv.range(pb.RangeRequest(key=b"a"))
    await alice.kv.put(pb.PutRequest(key=b"b"))
    await refused(alice.kv.put(pb.PutRequest(key=b"a")), DENIED)
    await root.auth.role_add(pb.AuthRoleAddRequest(name="other"))
    for call in (
        alice.kv.range(pb.RangeRequest(key=b"a")),
        alice.kv.put(pb.PutRequest(key=b"b")),
        root.kv.range(pb.RangeRequest(key=b"a")),
    ):
        await refused(call, OLD)
    await login(member, "alice")


async def test_bad_token_options_are_told_at_the_start(start: StartMember) -> None:
    from kvstore.app import StartError

    with pytest.raises(StartError, match=r"^auth: invalid auth options$"):
        await start(auth_token="bogus")


def test_contexts_from_outside_cannot_be_trusted() -> None:
    assert CallContext().trusted is False
    with pytest.raises((AttributeError, TypeError)):
        CallContext().trusted = True  # type: ignore[misc]
    assert "trusted" not in {field.name for field in dataclasses.fields(CallContext)}
