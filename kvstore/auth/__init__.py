"""Users, roles and permissions: who may read and write which keys.

Pure: the log changes it, the same way on every member; passwords are hashed and tokens made elsewhere.
"""

from kvstore.auth.errors import (
    AuthError,
    AuthFailedError,
    AuthNotEnabledError,
    InvalidAuthManagementError,
    InvalidTokenError,
    NoPasswordUserError,
    OldAuthRevisionError,
    PermissionDeniedError,
    PermissionNotGivenError,
    PermissionNotGrantedError,
    RoleEmptyError,
    RoleExistsError,
    RoleNotFoundError,
    RoleNotGrantedError,
    RootRoleMissingError,
    RootUserMissingError,
    UncataloguedAuthError,
    UserEmptyError,
    UserExistsError,
    UserNotFoundError,
)
from kvstore.auth.identity import ANONYMOUS, ROOT, TRUSTED, AuthInfo, Tokens
from kvstore.auth.permissions import KeyUnion, Permissions, is_valid_range, permissions_of
from kvstore.auth.store import AuthStore

__all__ = [
    "ANONYMOUS",
    "ROOT",
    "TRUSTED",
    "AuthError",
    "AuthFailedError",
    "AuthInfo",
    "AuthNotEnabledError",
    "AuthStore",
    "InvalidAuthManagementError",
    "InvalidTokenError",
    "KeyUnion",
    "NoPasswordUserError",
    "OldAuthRevisionError",
    "PermissionDeniedError",
    "PermissionNotGivenError",
    "PermissionNotGrantedError",
    "Permissions",
    "RoleEmptyError",
    "RoleExistsError",
    "RoleNotFoundError",
    "RoleNotGrantedError",
    "RootRoleMissingError",
    "RootUserMissingError",
    "Tokens",
    "UncataloguedAuthError",
    "UserEmptyError",
    "UserExistsError",
    "UserNotFoundError",
    "is_valid_range",
    "permissions_of",
]
