"""What the auth store refuses (etcd `server/auth/store.go`)."""

from __future__ import annotations

from kvstore.mvcc import StoreError

__all__ = [
    "AuthError",
    "AuthFailedError",
    "AuthNotEnabledError",
    "InvalidAuthManagementError",
    "InvalidTokenError",
    "NoPasswordUserError",
    "OldAuthRevisionError",
    "PermissionDeniedError",
    "PermissionNotGivenError",
    "PermissionNotGrantedError",
    "RoleEmptyError",
    "RoleExistsError",
    "RoleNotFoundError",
    "RoleNotGrantedError",
    "RootRoleMissingError",
    "RootUserMissingError",
    "UncataloguedAuthError",
    "UserEmptyError",
    "UserExistsError",
    "UserNotFoundError",
]


class AuthError(StoreError):
    """Base of every refusal of the auth store; nothing was changed."""


class RootUserMissingError(AuthError):
    """Authentication cannot be enabled without a user called root."""


class RootRoleMissingError(AuthError):
    """Authentication cannot be enabled while the user root has no role root."""


class UserExistsError(AuthError):
    """A user of this name was added before."""


class UserEmptyError(AuthError):
    """No user is named: in a new user, or in a request that needs one."""


class UserNotFoundError(AuthError):
    """There is no user of this name."""


class RoleExistsError(AuthError):
    """A role of this name was added before."""


class RoleEmptyError(AuthError):
    """A role needs a name."""


class RoleNotFoundError(AuthError):
    """There is no role of this name."""


class RoleNotGrantedError(AuthError):
    """The user does not have the role that was to be taken away."""


class PermissionNotGivenError(AuthError):
    """A grant says nothing of what it grants."""


class PermissionNotGrantedError(AuthError):
    """The role does not have the permission that was to be taken away."""


class PermissionDeniedError(AuthError):
    """The user may not do this."""


class AuthFailedError(AuthError):
    """Unknown user, wrong password or a user without one: nobody is told which."""


class AuthNotEnabledError(AuthError):
    """There are no tokens to be had while authentication is off."""


class OldAuthRevisionError(AuthError):
    """Users or roles have changed since the request was let in."""


class InvalidTokenError(AuthError):
    """The token is none of ours, or no longer."""


class InvalidAuthManagementError(AuthError):
    """The change would lock everybody out, or grants a range that is none."""


class UncataloguedAuthError(AuthError):
    """A refusal that reaches clients without a code, in the words of its message."""


class NoPasswordUserError(UncataloguedAuthError):
    """The password of a user is unusable."""

    def __init__(self) -> None:
        super().__init__("auth: authentication failed, password was given for no password user")
