"""Users, roles and what they may do, as the log has made them (etcd `server/auth/store.go`).

Stored in etcd's buckets and form (`server/storage/schema/auth*.go`): users and roles as `authpb` messages under their
names, and in the bucket `auth` whether authentication is on and the auth revision. That begins at 1 and grows with
every change, so that a request let in before a change can be told from one after it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from kvstore.auth.errors import (
    AuthFailedError,
    AuthNotEnabledError,
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
from kvstore.auth.identity import ROOT, TRUSTED, AuthInfo, Tokens
from kvstore.auth.permissions import Permissions, is_valid_range, permissions_of
from kvstore.backend import Backend
from kvstore.etcdpb import auth_pb2

__all__ = ["AuthStore"]

_BUCKET, _USERS, _ROLES = "auth", "authUsers", "authRoles"
_ENABLED_KEY, _REVISION_KEY = b"authEnabled", b"authRevision"
_ENABLED, _DISABLED = b"\x01", b"\x00"


class AuthStore:
    """Who there is and what they may do.

    Args:
        hash_password: for passwords that stand in the log as they are, as etcd before 3.5 wrote them.

    Attributes:
        enabled: whether anybody is asked who they are.
        revision: of users and roles.
    """

    def __init__(self, backend: Backend, tokens: Tokens, hash_password: Callable[[str], bytes]) -> None:
        self._backend = backend
        self._tokens = tokens
        self._hash_password = hash_password
        self._users: dict[str, auth_pb2.User] = {}
        self._roles: dict[str, auth_pb2.Role] = {}
        self._permissions: dict[str, Permissions] = {}  # of the users who asked since the last change
        self.enabled = False
        self.revision = 0

    def restore(self) -> None:
        """Read everything from the backend. Tokens given out before are not known to hold any more."""
        self._users = {name.decode(): auth_pb2.User.FromString(stored) for name, stored in self._backend.items(_USERS)}
        self._roles = {name.decode(): auth_pb2.Role.FromString(stored) for name, stored in self._backend.items(_ROLES)}
        self._permissions = {}
        self.enabled = self._backend.get(_BUCKET, _ENABLED_KEY) == _ENABLED
        self.revision = int.from_bytes(self._backend.get(_BUCKET, _REVISION_KEY) or b"", "big")
        if self.revision == 0:
            self._changed()
        self._tokens.disable()
        if self.enabled:
            self._tokens.enable()

    # --- on and off

    def enable(self) -> None:
        """Ask everybody from now on who they are.

        Raises:
            RootUserMissingError, RootRoleMissingError: nobody could turn it off again.
        """
        if self.enabled:
            return
        root = self._users.get(ROOT)
        if root is None:
            raise RootUserMissingError
        if ROOT not in root.roles:
            raise RootRoleMissingError
        self._backend.put(_BUCKET, _ENABLED_KEY, _ENABLED)
        self.enabled = True
        self._tokens.enable()

    def disable(self) -> None:
        """Ask nobody any more."""
        if not self.enabled:
            return
        self._backend.put(_BUCKET, _ENABLED_KEY, _DISABLED)
        self._changed()
        self.enabled = False
        self._tokens.disable()

    def authenticate(self, username: str, prefix: str) -> str:
        """A token for a user whose password was checked before.

        Raises:
            AuthNotEnabledError, AuthFailedError: there is none to be had; other `AuthError`s as `Tokens.assign`.
        """
        if not self.enabled:
            raise AuthNotEnabledError
        user = self._users.get(username)
        if user is None or user.options.no_password:
            raise AuthFailedError
        return self._tokens.assign(prefix, username, self.revision)

    def password_hash(self, username: str) -> bytes | None:
        """What a user's password must match; None when there is no such user.

        Raises:
            AuthNotEnabledError: nobody is asked for passwords.
            NoPasswordUserError: the user has none.
        """
        if not self.enabled:
            raise AuthNotEnabledError
        user = self._users.get(username)
        if user is None:
            return None
        if user.options.no_password:
            raise NoPasswordUserError
        return user.password

    # --- users

    def add_user(self, name: str, password: str, hashed_password: str, options: auth_pb2.UserAddOptions | None) -> None:
        """Add a user without roles.

        Args:
            hashed_password: bcrypt's, in base64.

        Raises:
            UserEmptyError, UserExistsError, NoPasswordUserError: see there.
        """
        if not name:
            raise UserEmptyError
        if name in self._users:
            raise UserExistsError
        user = auth_pb2.User(name=name.encode(), options=options or auth_pb2.UserAddOptions())
        if not user.options.no_password:
            user.password = self._select_password(password, hashed_password)
        self._put_user(name, user)
        self._changed()

    def delete_user(self, name: str) -> None:
        """Delete a user, and the tokens that were given out for it.

        Raises:
            InvalidAuthManagementError: root cannot go while authentication is on.
            UserNotFoundError: there is no such user.
        """
        if self.enabled and name == ROOT:
            raise InvalidAuthManagementError
        self._user(name)
        del self._users[name]
        self._backend.delete(_USERS, name.encode())
        self._changed()
        self._tokens.invalidate_user(name)

    def change_password(self, name: str, password: str, hashed_password: str) -> None:
        """Give a user another password, unless it can have none; its tokens are void.

        Raises:
            UserNotFoundError, NoPasswordUserError: see there.
        """
        user = _copy_of_user(self._user(name))
        user.password = b"" if user.options.no_password else self._select_password(password, hashed_password)
        self._put_user(name, user)
        self._changed()
        self._tokens.invalidate_user(name)

    def _select_password(self, password: str, hashed_password: str) -> bytes:
        if password and not hashed_password:
            return self._hash_password(password)
        try:
            return base64.b64decode(hashed_password.replace("\r", "").replace("\n", ""), validate=True)
        except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
            raise NoPasswordUserError from None

    def grant_role(self, name: str, role: str) -> None:
        """Give a user a role; harmless when it has it. The role root need not exist.

        Raises:
            UserNotFoundError, RoleNotFoundError: see there.
        """
        user = self._user(name)
        if role != ROOT:
            self._role(role)
        if role in user.roles:
            return
        self._put_user(name, _copy_of_user(user, sorted((*user.roles, role))))
        self._changed()

    def revoke_role(self, name: str, role: str) -> None:
        """Take a role from a user.

        Raises:
            InvalidAuthManagementError: root stays root while authentication is on.
            UserNotFoundError, RoleNotGrantedError: see there.
        """
        if self.enabled and name == role == ROOT:
            raise InvalidAuthManagementError
        user = self._user(name)
        if role not in user.roles:
            raise RoleNotGrantedError
        self._put_user(name, _copy_of_user(user, [other for other in user.roles if other != role]))
        self._changed()

    def user_roles(self, name: str) -> list[str]:
        """A user's roles, sorted.

        Raises:
            UserNotFoundError: there is no such user.
        """
        return list(self._user(name).roles)

    def users(self) -> list[str]:
        """The names of all users, sorted."""
        return sorted(self._users)

    # --- roles

    def add_role(self, name: str) -> None:
        """Add a role that permits nothing.

        Raises:
            RoleEmptyError, RoleExistsError: see there.
        """
        if not name:
            raise RoleEmptyError
        if name in self._roles:
            raise RoleExistsError
        self._put_role(name, auth_pb2.Role(name=name.encode()))
        self._changed()

    def delete_role(self, name: str) -> None:
        """Delete a role, from every user too.

        Raises:
            InvalidAuthManagementError: the role root cannot go while authentication is on.
            RoleNotFoundError: there is no such role.
        """
        if self.enabled and name == ROOT:
            raise InvalidAuthManagementError
        self._role(name)
        del self._roles[name]
        self._backend.delete(_ROLES, name.encode())
        for username in self.users():
            user = self._users[username]
            if name in user.roles:
                self._put_user(username, _copy_of_user(user, [role for role in user.roles if role != name]))
        self._changed()

    def grant_permission(self, name: str, permission: auth_pb2.Permission) -> None:
        """Let a role read or write a range; or change what it may do with a range it has.

        Of several ranges that begin with the same key, only the first is ever changed; others stand beside what they
        had before, as in etcd, whose members must come to the same result.

        Raises:
            InvalidAuthManagementError: the range has no key, or ends before it begins.
            RoleNotFoundError: there is no such role.
        """
        if not is_valid_range(permission.key, permission.range_end):
            raise InvalidAuthManagementError
        role = auth_pb2.Role()
        role.CopyFrom(self._role(name))
        first = next((held for held in role.keyPermission if held.key >= permission.key), None)
        if first is not None and (first.key, first.range_end) == (permission.key, permission.range_end):
            first.permType = permission.permType
        else:
            role.keyPermission.append(permission)
            role.keyPermission.sort(key=lambda held: held.key)
        self._put_role(name, role)
        self._changed()

    def revoke_permission(self, name: str, key: bytes, range_end: bytes) -> None:
        """Take exactly this range from a role.

        Raises:
            RoleNotFoundError, PermissionNotGrantedError: see there.
        """
        role = self._role(name)
        kept = [held for held in role.keyPermission if (held.key, held.range_end) != (key, range_end)]
        if len(kept) == len(role.keyPermission):
            raise PermissionNotGrantedError
        self._put_role(name, auth_pb2.Role(name=role.name, keyPermission=kept))
        self._changed()

    def role_permissions(self, name: str) -> list[auth_pb2.Permission]:
        """What a role permits.

        Raises:
            RoleNotFoundError: there is no such role.
        """
        role = self._role(name)
        if name == ROOT:
            return [auth_pb2.Permission(permType=auth_pb2.Permission.READWRITE, range_end=b"\0")]
        return list(role.keyPermission)

    def roles(self) -> list[str]:
        """The names of all roles, sorted."""
        return sorted(self._roles)

    def has_role(self, username: str, role: str) -> bool:
        """Whether a user exists and has a role."""
        user = self._users.get(username)
        return user is not None and role in user.roles

    # --- may they?

    def check_read(self, caller: AuthInfo, key: bytes, range_end: bytes = b"") -> None:
        """Refuse a read of a range the caller may not read all of.

        Raises:
            UserEmptyError, OldAuthRevisionError, PermissionDeniedError: see there.
        """
        permissions = self._restrictions(caller)
        if permissions is not None and not permissions.read.covers(key, range_end):
            raise PermissionDeniedError

    def check_write(self, caller: AuthInfo, key: bytes, range_end: bytes = b"") -> None:
        """The same as `check_read` for a put or a deletion."""
        permissions = self._restrictions(caller)
        if permissions is not None and not permissions.write.covers(key, range_end):
            raise PermissionDeniedError

    def check_admin(self, caller: AuthInfo) -> None:
        """Refuse whoever does not have the role root.

        Raises:
            UserEmptyError, UserNotFoundError, PermissionDeniedError: see there.
        """
        if not self.enabled or caller is TRUSTED:
            return
        if not caller.username:
            raise UserEmptyError
        if ROOT not in self._user(caller.username).roles:
            raise PermissionDeniedError

    def is_admin(self, caller: AuthInfo) -> bool:
        """Whether `check_admin` would let the caller pass."""
        return not self.enabled or caller is TRUSTED or self.has_role(caller.username, ROOT)

    def is_newer(self, caller: AuthInfo) -> bool:
        """Whether users or roles have changed since it was found out who calls, or it was not asked then and is now."""
        return self.enabled and caller.revision < self.revision

    def _restrictions(self, caller: AuthInfo) -> Permissions | None:
        """What bounds the caller; None if nothing does."""
        if not self.enabled or caller is TRUSTED:
            return None
        if caller.revision == 0:
            raise UserEmptyError
        if caller.revision < self.revision:
            raise OldAuthRevisionError
        user = self._users.get(caller.username)
        if user is None:
            raise PermissionDeniedError
        if ROOT in user.roles:
            return None
        permissions = self._permissions.get(caller.username)
        if permissions is None:
            roles = [self._roles[role] for role in user.roles if role in self._roles]
            permissions = permissions_of(held for role in roles for held in role.keyPermission)
            self._permissions[caller.username] = permissions
        return permissions

    # --- what is stored

    def _user(self, name: str) -> auth_pb2.User:
        user = self._users.get(name)
        if user is None:
            raise UserNotFoundError
        return user

    def _role(self, name: str) -> auth_pb2.Role:
        role = self._roles.get(name)
        if role is None:
            raise RoleNotFoundError
        return role

    def _put_user(self, name: str, user: auth_pb2.User) -> None:
        self._users[name] = user
        self._backend.put(_USERS, name.encode(), user.SerializeToString(deterministic=True))

    def _put_role(self, name: str, role: auth_pb2.Role) -> None:
        self._roles[name] = role
        self._backend.put(_ROLES, name.encode(), role.SerializeToString(deterministic=True))

    def _changed(self) -> None:
        self.revision += 1
        self._permissions = {}
        self._backend.put(_BUCKET, _REVISION_KEY, self.revision.to_bytes(8, "big"))


def _copy_of_user(user: auth_pb2.User, roles: list[str] | None = None) -> auth_pb2.User:
    """A user to change, with other roles if they are given."""
    copy = auth_pb2.User()
    copy.CopyFrom(user)
    if roles is not None:
        copy.ClearField("roles")
        copy.roles.extend(roles)
    return copy
