"""Histories of users, roles, permissions, and of requests by those who may and those who may not."""

from __future__ import annotations

import hypothesis.strategies as st
from google.protobuf.message import Message

from kvstore.etcdpb import auth_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from tests.model.differential.histories import (
    KEYS,
    As,
    Call,
    LogIn,
    Operation,
    deletions,
    puts,
    ranges,
    txns,
)

USERS = ["u1", "u2"]
ROLES = ["r1", "r2"]

users = st.sampled_from(USERS * 4 + ["nobody"])
roles = st.sampled_from(ROLES * 4 + ["nothing"])
# The one that has been given at the beginning, or another.
passwords = st.sampled_from(["secret", "secret", "secret", "wrong"])

permissions = st.builds(
    auth_pb2.Permission,
    permType=st.integers(0, 2).map(auth_pb2.Permission.Type.ValueType),
    key=st.sampled_from(KEYS),
    # Ranges that hold nothing are refused only by later releases.
    range_end=st.sampled_from([b"", b"", b"d"]),
)

administration = st.one_of(
    st.builds(Call, st.just("Auth/UserAdd"), st.builds(pb.AuthUserAddRequest, name=users, password=passwords)),
    st.builds(Call, st.just("Auth/UserDelete"), st.builds(pb.AuthUserDeleteRequest, name=users)),
    st.builds(
        Call,
        st.just("Auth/UserChangePassword"),
        st.builds(pb.AuthUserChangePasswordRequest, name=users, password=passwords),
    ),
    st.builds(Call, st.just("Auth/UserGrantRole"), st.builds(pb.AuthUserGrantRoleRequest, user=users, role=roles)),
    st.builds(Call, st.just("Auth/UserGrantRole"), st.builds(pb.AuthUserGrantRoleRequest, user=users, role=roles)),
    st.builds(Call, st.just("Auth/UserRevokeRole"), st.builds(pb.AuthUserRevokeRoleRequest, name=users, role=roles)),
    st.builds(Call, st.just("Auth/RoleAdd"), st.builds(pb.AuthRoleAddRequest, name=roles)),
    st.builds(Call, st.just("Auth/RoleDelete"), st.builds(pb.AuthRoleDeleteRequest, role=roles)),
    st.builds(
        Call,
        st.just("Auth/RoleGrantPermission"),
        st.builds(pb.AuthRoleGrantPermissionRequest, name=roles, perm=permissions),
    ),
    st.builds(
        Call,
        st.just("Auth/RoleGrantPermission"),
        st.builds(pb.AuthRoleGrantPermissionRequest, name=roles, perm=permissions),
    ),
    st.builds(
        Call,
        st.just("Auth/RoleRevokePermission"),
        st.builds(
            pb.AuthRoleRevokePermissionRequest,
            role=roles,
            key=st.sampled_from(KEYS),
            range_end=st.sampled_from([b"", b"d"]),
        ),
    ),
    st.builds(Call, st.just("Auth/AuthEnable"), st.builds(pb.AuthEnableRequest)),
    st.builds(Call, st.just("Auth/AuthDisable"), st.builds(pb.AuthDisableRequest)),
)
questions = st.one_of(
    st.builds(Call, st.just("Auth/UserGet"), st.builds(pb.AuthUserGetRequest, name=users)),
    st.builds(Call, st.just("Auth/UserList"), st.builds(pb.AuthUserListRequest)),
    st.builds(Call, st.just("Auth/RoleGet"), st.builds(pb.AuthRoleGetRequest, role=roles)),
    st.builds(Call, st.just("Auth/RoleList"), st.builds(pb.AuthRoleListRequest)),
)
work = st.one_of(
    st.builds(Call, st.just("KV/Range"), ranges),
    st.builds(Call, st.just("KV/Put"), puts),
    st.builds(Call, st.just("KV/DeleteRange"), deletions),
    st.builds(Call, st.just("KV/Txn"), txns),
)
callers = st.sampled_from(["", *USERS, *USERS, *USERS])
operations = st.one_of(
    st.builds(As, st.just("root"), administration),
    st.builds(As, st.just("root"), administration | questions | work),
    st.builds(As, callers, work),
    st.builds(As, callers, work | questions | administration),
    st.builds(LogIn, users, passwords),
    st.just(LogIn("root", "root")),
)


def _as_root(method: str, request: Message) -> Operation:
    return As("root", Call(method, request))


@st.composite
def auth_histories(draw: st.DrawFn) -> list[Operation]:
    """Some users and roles to begin with, authentication turned on, and then anything."""
    history = [
        _as_root("Auth/UserAdd", pb.AuthUserAddRequest(name="root", password="root")),
        _as_root("Auth/RoleAdd", pb.AuthRoleAddRequest(name="root")),
        _as_root("Auth/UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root")),
    ]
    for user, role in zip(USERS, ROLES, strict=True):
        history.append(_as_root("Auth/UserAdd", pb.AuthUserAddRequest(name=user, password="secret")))
        history.append(_as_root("Auth/RoleAdd", pb.AuthRoleAddRequest(name=role)))
        history.append(_as_root("Auth/UserGrantRole", pb.AuthUserGrantRoleRequest(user=user, role=role)))
        for permission in draw(st.lists(permissions, max_size=2)):
            request = pb.AuthRoleGrantPermissionRequest(name=role, perm=permission)
            history.append(_as_root("Auth/RoleGrantPermission", request))
    history.append(_as_root("Auth/AuthEnable", pb.AuthEnableRequest()))
    history += [LogIn("root", "root"), LogIn("u1", "secret"), LogIn("u2", "secret")]
    return history + draw(st.lists(operations, min_size=4, max_size=20))
