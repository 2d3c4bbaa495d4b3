"""Members that apply the same log have the same users and answer the same, whenever they were restarted.

etcd 14571: members restarted between the making of users and the turning on of authentication refused what the others
carried out, and the data went apart for good.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kvstore.apply import Alarms, Applier, HeaderSource, Membership, Quota, StateMachine
from kvstore.auth import AuthStore
from kvstore.backend import BUCKETS, MemoryBackend
from kvstore.etcdpb import auth_pb2, raft_internal_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import Lessor, Store, WatchHub


class Tokens:
    """As every member makes them from the log."""

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def invalidate_user(self, username: str) -> None: ...

    def assign(self, prefix: str, username: str, revision: int) -> str:
        return f"{prefix}.{revision}"


class Replica:
    """A member without a server."""

    def __init__(self) -> None:
        self.backend = MemoryBackend()
        self.restart()

    def restart(self) -> None:
        backend = self.backend
        lessor = Lessor(backend, lambda: 0.0)
        lessor.restore()
        self.store = Store(backend, lessor)
        self.store.restore()
        self.auth = AuthStore(backend, Tokens(), str.encode)
        self.auth.restore()
        alarms, membership = Alarms(backend), Membership(backend)
        headers = HeaderSource(1, 2)
        applier = Applier(
            self.store, alarms, membership, Quota(backend), headers, self.auth, lambda revision, work: None
        )
        self.machine = StateMachine(applier, backend, WatchHub(self.store))

    def contents(self) -> list[Any]:
        return [list(self.backend.scan_revisions(b"")), *(self.backend.items(bucket) for bucket in BUCKETS)]


def entry(index: int, username: str = "", auth_revision: int = 0, **field: Any) -> SimpleNamespace:
    request = raft_internal_pb2.InternalRaftRequest(**field)
    request.header.ID = index
    request.header.username = username
    request.header.auth_revision = auth_revision
    return SimpleNamespace(index=index, term=1, data=request.SerializeToString())


def the_log() -> list[SimpleNamespace]:
    grant = auth_pb2.Permission(permType=auth_pb2.Permission.WRITE, key=b"a", range_end=b"b")
    nested = pb.TxnRequest(
        success=[pb.RequestOp(request_txn=pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"x"))]))]
    )
    fields: list[dict[str, Any]] = [
        {"auth_user_add": pb.AuthUserAddRequest(name="root", hashedPassword="aGFzaA==")},
        {"auth_user_add": pb.AuthUserAddRequest(name="root", hashedPassword="aGFzaA==")},  # refused
        {"auth_user_grant_role": pb.AuthUserGrantRoleRequest(user="root", role="root")},
        {"auth_user_add": pb.AuthUserAddRequest(name="u", hashedPassword="aGFzaA==")},
        {"auth_role_add": pb.AuthRoleAddRequest(name="r")},
        {"auth_role_grant_permission": pb.AuthRoleGrantPermissionRequest(name="r", perm=grant)},
        {"auth_user_grant_role": pb.AuthUserGrantRoleRequest(user="u", role="r")},
        {"auth_enable": pb.AuthEnableRequest()},
        {"put": pb.PutRequest(key=b"a1")},  # nobody
        {"put": pb.PutRequest(key=b"a2"), "username": "u", "auth_revision": 7},
        {"put": pb.PutRequest(key=b"a3"), "username": "u", "auth_revision": 6},  # old
        {"put": pb.PutRequest(key=b"b1"), "username": "u", "auth_revision": 7},  # not permitted
        {"txn": nested, "username": "u", "auth_revision": 7},  # not permitted
        {"txn": nested, "username": "root", "auth_revision": 7},
        {"authenticate": raft_internal_pb2.InternalAuthenticateRequest(name="u", simple_token="t")},
        {"auth_role_delete": pb.AuthRoleDeleteRequest(role="r"), "username": "u", "auth_revision": 7},  # not permitted
        {"auth_role_delete": pb.AuthRoleDeleteRequest(role="r"), "username": "root", "auth_revision": 7},
        {"put": pb.PutRequest(key=b"a4"), "username": "u", "auth_revision": 8},  # not permitted any more
        {"auth_disable": pb.AuthDisableRequest(), "username": "root", "auth_revision": 8},
        {"put": pb.PutRequest(key=b"b2")},
    ]
    return [entry(index, **field) for index, field in enumerate(fields, 1)]


def applied(restarted_before: int | None) -> Replica:
    replica = Replica()
    for number, one in enumerate(the_log(), 1):
        if number == restarted_before:
            replica.restart()
        replica.machine.apply([one])
    return replica


def test_what_the_log_says() -> None:
    replica = applied(None)
    keys = replica.store.index.records(b"\0", b"\0", replica.store.revision)
    assert [record.key for record in keys] == [b"a2", b"b2", b"x"]
    assert (replica.auth.enabled, replica.auth.revision) == (False, 9)
    assert (replica.auth.users(), replica.auth.roles()) == (["root", "u"], [])


@pytest.mark.parametrize("restarted_before", range(1, len(the_log()) + 1))
def test_restarts_change_nothing(restarted_before: int) -> None:
    assert applied(restarted_before).contents() == applied(None).contents()
