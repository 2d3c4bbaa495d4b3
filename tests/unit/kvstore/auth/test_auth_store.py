"""Users and roles: what each change does, refuses, stores and costs in revisions."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from kvstore.auth import (
    ANONYMOUS,
    TRUSTED,
    AuthError,
    AuthFailedError,
    AuthInfo,
    AuthNotEnabledError,
    AuthStore,
    InvalidAuthManagementError,
    NoPasswordUserError,
    OldAuthRevisionError,
    PermissionDeniedError,
    PermissionNotGrantedError,
    RoleEmptyError,
    RoleExistsError,
    RoleNotFoundError,
    RoleNotGrantedError,
    RootRoleMissingError,
    RootUserMissingError,
    UserEmptyError,
    UserExistsError,
    UserNotFoundError,
)
from kvstore.backend import MemoryBackend
from kvstore.etcdpb import auth_pb2

HASH = base64.b64encode(b"$2a$hash").decode()
READ, WRITE, READWRITE = auth_pb2.Permission.READ, auth_pb2.Permission.WRITE, auth_pb2.Permission.READWRITE


class RecordedTokens:
    """Tokens that are not, and what was done with them."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def enable(self) -> None:
        self.calls.append("enable")

    def disable(self) -> None:
        self.calls.append("disable")

    def invalidate_user(self, username: str) -> None:
        self.calls.append(f"invalidate {username}")

    def assign(self, prefix: str, username: str, revision: int) -> str:
        return f"{prefix}:{username}@{revision}"


class World:
    """A store with a root, a user `alice` with the role `reader`, and `nobody` without a password."""

    def __init__(self) -> None:
        self.backend = MemoryBackend()
        self.tokens = RecordedTokens()
        self.auth = self.open()
        auth = self.auth
        auth.add_user("root", "", HASH, None)
        auth.grant_role("root", "root")
        auth.add_role("reader")
        auth.grant_permission("reader", permission(READ, "a", "c"))
        auth.add_user("alice", "", HASH, None)
        auth.grant_role("alice", "reader")
        auth.add_user("nobody", "", "", auth_pb2.UserAddOptions(no_password=True))
        self.tokens.calls.clear()

    def open(self) -> AuthStore:
        auth = AuthStore(self.backend, self.tokens, lambda password: b"hash of " + password.encode())
        auth.restore()
        return auth

    def stored_user(self, name: str) -> auth_pb2.User:
        stored = self.backend.get("authUsers", name.encode())
        assert stored is not None
        return auth_pb2.User.FromString(stored)


def permission(kind: auth_pb2.Permission.Type.ValueType, key: str, end: str = "") -> auth_pb2.Permission:
    return auth_pb2.Permission(permType=kind, key=key.encode(), range_end=end.encode())


@pytest.fixture
def world() -> World:
    return World()


CHANGES: list[tuple[str, Callable[[AuthStore], object]]] = [
    ("add user", lambda auth: auth.add_user("bob", "", HASH, None)),
    ("delete user", lambda auth: auth.delete_user("alice")),
    ("change password", lambda auth: auth.change_password("alice", "", HASH)),
    ("grant role", lambda auth: auth.grant_role("nobody", "reader")),
    ("revoke role", lambda auth: auth.revoke_role("alice", "reader")),
    ("add role", lambda auth: auth.add_role("writer")),
    ("delete role", lambda auth: auth.delete_role("reader")),
    ("grant permission", lambda auth: auth.grant_permission("reader", permission(WRITE, "x"))),
    ("revoke permission", lambda auth: auth.revoke_permission("reader", b"a", b"c")),
]


@pytest.mark.parametrize("change", [change for _, change in CHANGES], ids=[name for name, _ in CHANGES])
def test_every_change_is_one_revision_and_is_stored(world: World, change: Callable[[AuthStore], object]) -> None:
    before = world.auth.revision
    change(world.auth)
    assert world.auth.revision == before + 1
    again = world.open()
    assert again.revision == before + 1
    assert again.users() == world.auth.users()
    assert again.roles() == world.auth.roles()
    assert [again.user_roles(name) for name in again.users()] == [
        world.auth.user_roles(name) for name in world.auth.users()
    ]
    assert [again.role_permissions(name) for name in again.roles()] == [
        world.auth.role_permissions(name) for name in world.auth.roles()
    ]


REFUSALS: list[tuple[type[AuthError], Callable[[AuthStore], object]]] = [
    (UserEmptyError, lambda auth: auth.add_user("", "", HASH, None)),
    (UserExistsError, lambda auth: auth.add_user("alice", "", HASH, None)),
    (NoPasswordUserError, lambda auth: auth.add_user("bob", "", "not base64!", None)),
    (NoPasswordUserError, lambda auth: auth.add_user("bob", "", "ä", None)),
    (UserNotFoundError, lambda auth: auth.delete_user("bob")),
    (UserNotFoundError, lambda auth: auth.change_password("bob", "", HASH)),
    (NoPasswordUserError, lambda auth: auth.change_password("alice", "", "=")),
    (UserNotFoundError, lambda auth: auth.grant_role("bob", "reader")),
    (RoleNotFoundError, lambda auth: auth.grant_role("alice", "writer")),
    (UserNotFoundError, lambda auth: auth.revoke_role("bob", "reader")),
    (RoleNotGrantedError, lambda auth: auth.revoke_role("alice", "writer")),
    (UserNotFoundError, lambda auth: auth.user_roles("bob")),
    (RoleEmptyError, lambda auth: auth.add_role("")),
    (RoleExistsError, lambda auth: auth.add_role("reader")),
    (RoleNotFoundError, lambda auth: auth.delete_role("writer")),
    (RoleNotFoundError, lambda auth: auth.role_permissions("root")),
    (RoleNotFoundError, lambda auth: auth.grant_permission("writer", permission(READ, "a"))),
    (InvalidAuthManagementError, lambda auth: auth.grant_permission("reader", permission(READ, ""))),
    (InvalidAuthManagementError, lambda auth: auth.grant_permission("reader", permission(READ, "b", "a"))),
    (InvalidAuthManagementError, lambda auth: auth.grant_permission("writer", permission(READ, "a", "a"))),
    (RoleNotFoundError, lambda auth: auth.revoke_permission("writer", b"a", b"c")),
    (PermissionNotGrantedError, lambda auth: auth.revoke_permission("reader", b"a", b"b")),
]


@pytest.mark.parametrize(("refusal", "change"), REFUSALS)
def test_refusals_change_nothing(world: World, refusal: type[AuthError], change: Callable[[AuthStore], object]) -> None:
    revision, stored = world.auth.revision, [world.backend.items(name) for name in ("auth", "authUsers", "authRoles")]
    with pytest.raises(refusal):
        change(world.auth)
    assert world.auth.revision == revision
    assert [world.backend.items(name) for name in ("auth", "authUsers", "authRoles")] == stored


def test_a_new_store_is_off_at_revision_one() -> None:
    backend = MemoryBackend()
    auth = AuthStore(backend, RecordedTokens(), str.encode)
    auth.restore()
    assert (auth.enabled, auth.revision) == (False, 1)
    assert backend.items("auth") == [(b"authRevision", (1).to_bytes(8, "big"))]


def test_stored_as_etcd_does(world: World) -> None:
    assert world.backend.get("authUsers", b"alice") == b"\n\x05alice\x12\x08$2a$hash\x1a\x06reader\x22\x00"
    assert world.backend.get("authUsers", b"nobody") == b"\n\x06nobody\x22\x02\x08\x01"
    assert world.backend.get("authRoles", b"reader") == b"\n\x06reader\x12\x06\x12\x01a\x1a\x01c"
    world.auth.enable()
    assert world.backend.get("auth", b"authEnabled") == b"\x01"
    world.auth.disable()
    assert world.backend.get("auth", b"authEnabled") == b"\x00"


def test_enabling_needs_a_root_that_is_one(world: World) -> None:
    auth = world.auth
    auth.revoke_role("root", "root")
    with pytest.raises(RootRoleMissingError):
        auth.enable()
    auth.delete_user("root")
    with pytest.raises(RootUserMissingError):
        auth.enable()
    assert not auth.enabled
    assert not world.open().enabled


def test_enabling_keeps_the_revision_and_disabling_raises_it(world: World) -> None:
    auth, revision = world.auth, world.auth.revision
    auth.disable()
    assert (auth.revision, world.tokens.calls) == (revision, [])
    auth.enable()
    auth.enable()
    assert (auth.revision, world.tokens.calls) == (revision, ["enable"])
    assert world.open().enabled
    world.tokens.calls.clear()
    auth.disable()
    assert (auth.revision, world.tokens.calls) == (revision + 1, ["disable"])


def test_root_is_protected_while_authentication_is_on(world: World) -> None:
    auth = world.auth
    auth.add_role("root")
    auth.enable()
    for change in (
        lambda: auth.delete_user("root"),
        lambda: auth.revoke_role("root", "root"),
        lambda: auth.delete_role("root"),
    ):
        with pytest.raises(InvalidAuthManagementError):
            change()
    auth.disable()
    auth.delete_role("root")
    assert auth.user_roles("root") == []
    auth.delete_user("root")


def test_tokens_are_forgotten_with_what_they_stood_for(world: World) -> None:
    world.auth.change_password("alice", "", HASH)
    world.auth.delete_user("alice")
    assert world.tokens.calls == ["invalidate alice", "invalidate alice"]
    world.tokens.calls.clear()
    world.auth.enable()
    world.auth.restore()
    assert world.tokens.calls == ["enable", "disable", "enable"]


def test_roles_are_sorted_and_granted_once(world: World) -> None:
    auth = world.auth
    auth.add_role("admin")
    auth.grant_role("alice", "admin")
    auth.grant_role("alice", "root")
    revision = auth.revision
    auth.grant_role("alice", "admin")
    assert auth.revision == revision
    assert auth.user_roles("alice") == ["admin", "reader", "root"]
    auth.delete_role("reader")
    assert world.stored_user("alice").roles == ["admin", "root"]
    assert world.stored_user("alice").password == b"$2a$hash"


def test_permissions_are_sorted_and_replaced(world: World) -> None:
    auth = world.auth
    auth.grant_permission("reader", permission(READ, "z"))
    auth.grant_permission("reader", permission(READ, "b"))
    auth.grant_permission("reader", permission(WRITE, "a", "c"))
    assert auth.role_permissions("reader") == [
        permission(WRITE, "a", "c"),
        permission(READ, "b"),
        permission(READ, "z"),
    ]
    auth.grant_permission("reader", permission(READ, "a"))
    auth.grant_permission("reader", permission(READWRITE, "a"))  # not the first that begins with a
    assert auth.role_permissions("reader")[:3] == [
        permission(WRITE, "a", "c"),
        permission(READ, "a"),
        permission(READWRITE, "a"),
    ]
    auth.add_role("root")
    assert auth.role_permissions("root") == [permission(READWRITE, "", "\0")]


def test_passwords(world: World) -> None:
    auth = world.auth
    with pytest.raises(AuthNotEnabledError):
        auth.password_hash("alice")
    with pytest.raises(AuthNotEnabledError):
        auth.authenticate("alice", "p")
    auth.enable()
    assert auth.password_hash("alice") == b"$2a$hash"
    assert auth.password_hash("bob") is None
    with pytest.raises(NoPasswordUserError):
        auth.password_hash("nobody")
    assert auth.authenticate("alice", "p") == f"p:alice@{auth.revision}"
    for name in ("bob", "nobody"):
        with pytest.raises(AuthFailedError):
            auth.authenticate(name, "p")
    auth.change_password("nobody", "", HASH)
    assert world.stored_user("nobody").password == b""
    auth.change_password("alice", "", base64.b64encode(b"other").decode() + "\r\n")
    assert auth.password_hash("alice") == b"other"
    auth.change_password("alice", "from an old log", "")
    assert auth.password_hash("alice") == b"hash of from an old log"


def test_who_may_do_what(world: World) -> None:
    auth = world.auth
    auth.check_write(ANONYMOUS, b"a")
    auth.check_admin(ANONYMOUS)
    auth.enable()
    now = auth.revision
    auth.check_read(AuthInfo("alice", now), b"a", b"c")
    auth.check_read(AuthInfo("alice", now + 1), b"a", b"c")
    for caller in (AuthInfo("root", now), TRUSTED):
        auth.check_read(caller, b"\0", b"\0")
        auth.check_write(caller, b"\0", b"\0")
        auth.check_admin(caller)
        assert auth.is_admin(caller)
    for caller, refusal in (
        (ANONYMOUS, UserEmptyError),
        (AuthInfo("alice", 0), UserEmptyError),
        (AuthInfo("root", now - 1), OldAuthRevisionError),
        (AuthInfo("", now), PermissionDeniedError),
        (AuthInfo("bob", now), PermissionDeniedError),
        (AuthInfo("nobody", now), PermissionDeniedError),
        (AuthInfo("alice", now), PermissionDeniedError),
        (AuthInfo("root", -1), OldAuthRevisionError),  # equal to TRUSTED, but not it
    ):
        with pytest.raises(refusal):
            auth.check_write(caller, b"a")
    for caller, refusal in (
        (ANONYMOUS, UserEmptyError),
        (AuthInfo("", now), UserEmptyError),
        (AuthInfo("bob", now), UserNotFoundError),
        (AuthInfo("alice", now), PermissionDeniedError),
    ):
        with pytest.raises(refusal):
            auth.check_admin(caller)
        assert not auth.is_admin(caller)


def test_permissions_follow_every_change(world: World) -> None:
    auth = world.auth
    auth.enable()

    def reads(key: bytes) -> bool:
        try:
            auth.check_read(AuthInfo("alice", auth.revision), key)
        except PermissionDeniedError:
            return False
        return True

    assert (reads(b"a"), reads(b"x")) == (True, False)
    auth.grant_permission("reader", permission(READ, "x"))
    assert reads(b"x")
    auth.revoke_permission("reader", b"x", b"")
    assert not reads(b"x")
    auth.revoke_role("alice", "reader")
    assert not reads(b"a")
    auth.grant_role("alice", "reader")
    assert reads(b"a")
    auth.delete_role("reader")
    assert not reads(b"a")
    auth.add_role("reader")
    assert not reads(b"a")  # a role of the same name is another role
    auth.delete_user("alice")
    assert not reads(b"a")
