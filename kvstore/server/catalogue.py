"""Every refusal a client can see: etcd's codes and texts (`api/v3rpc/rpctypes/error.go`).

Clients match on the text, so it is kept exactly. `to_etcd_error` is the one place where what the layers below refuse
gets its code and text.
"""

from __future__ import annotations

from kvstore.apply import (
    CorruptError,
    IdExistsError,
    IdNotFoundError,
    IdRemovedError,
    NoSpaceError,
    NotLearnerError,
    PeerUrlExistsError,
    TooManyLearnersError,
    UnknownRequestError,
)
from kvstore.auth import (
    AuthFailedError,
    AuthNotEnabledError,
    InvalidAuthManagementError,
    InvalidTokenError,
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
from kvstore.errors import EtcdError, StatusCode
from kvstore.mvcc import (
    CompactedError,
    FutureRevisionError,
    KeyNotFoundError,
    LeaseExistsError,
    LeaseNotFoundError,
    LeaseTTLTooLargeError,
    StoreError,
)

__all__ = ["Refusal", "to_etcd_error"]


class Refusal:
    """A row of the catalogue; `error()` makes the exception."""

    __slots__ = ("code", "text")

    def __init__(self, code: StatusCode, text: str) -> None:
        self.code = code
        self.text = "etcdserver: " + text

    def error(self) -> EtcdError:
        """A fresh exception to raise."""
        return EtcdError(self.code, self.text)


WATCH_CANCELED = Refusal(StatusCode.CANCELLED, "watch canceled")
REQUEST_CANCELED = Refusal(StatusCode.CANCELLED, "request canceled")

EMPTY_KEY = Refusal(StatusCode.INVALID_ARGUMENT, "key is not provided")
KEY_NOT_FOUND = Refusal(StatusCode.INVALID_ARGUMENT, "key not found")
VALUE_PROVIDED = Refusal(StatusCode.INVALID_ARGUMENT, "value is provided")
LEASE_PROVIDED = Refusal(StatusCode.INVALID_ARGUMENT, "lease is provided")
TOO_MANY_OPERATIONS = Refusal(StatusCode.INVALID_ARGUMENT, "too many operations in txn request")
DUPLICATE_KEY = Refusal(StatusCode.INVALID_ARGUMENT, "duplicate key given in txn request")
INVALID_CLIENT_API_VERSION = Refusal(StatusCode.INVALID_ARGUMENT, "invalid client api version")
INVALID_SORT_OPTION = Refusal(StatusCode.INVALID_ARGUMENT, "invalid sort option")
INVALID_MEMBER_URLS = Refusal(StatusCode.INVALID_ARGUMENT, "given member URLs are invalid")
REQUEST_TOO_LARGE = Refusal(StatusCode.INVALID_ARGUMENT, "request is too large")
USER_EMPTY = Refusal(StatusCode.INVALID_ARGUMENT, "user name is empty")
ROLE_EMPTY = Refusal(StatusCode.INVALID_ARGUMENT, "role name is empty")
AUTH_FAILED = Refusal(StatusCode.INVALID_ARGUMENT, "authentication failed, invalid user ID or password")
PERMISSION_NOT_GIVEN = Refusal(StatusCode.INVALID_ARGUMENT, "permission not given")
INVALID_AUTH_MANAGEMENT = Refusal(StatusCode.INVALID_ARGUMENT, "invalid auth management")
AUTH_OLD_REVISION = Refusal(StatusCode.INVALID_ARGUMENT, "revision of auth store is old")
WRONG_DOWNGRADE_VERSION_FORMAT = Refusal(StatusCode.INVALID_ARGUMENT, "wrong downgrade target version format")
INVALID_DOWNGRADE_VERSION = Refusal(StatusCode.INVALID_ARGUMENT, "invalid downgrade target version")

LEASE_NOT_FOUND = Refusal(StatusCode.NOT_FOUND, "requested lease not found")
MEMBER_NOT_FOUND = Refusal(StatusCode.NOT_FOUND, "member not found")

PERMISSION_DENIED = Refusal(StatusCode.PERMISSION_DENIED, "permission denied")

NO_SPACE = Refusal(StatusCode.RESOURCE_EXHAUSTED, "mvcc: database space exceeded")

LEASE_EXISTS = Refusal(StatusCode.FAILED_PRECONDITION, "lease already exists")
MEMBER_EXISTS = Refusal(StatusCode.FAILED_PRECONDITION, "member ID already exist")
PEER_URLS_EXIST = Refusal(StatusCode.FAILED_PRECONDITION, "Peer URLs already exists")
MEMBER_NOT_LEARNER = Refusal(StatusCode.FAILED_PRECONDITION, "can only promote a learner member")
LEARNER_NOT_READY = Refusal(
    StatusCode.FAILED_PRECONDITION, "can only promote a learner member which is in sync with leader"
)
TOO_MANY_LEARNERS = Refusal(StatusCode.FAILED_PRECONDITION, "too many learner members in cluster")
CLUSTER_ID_MISMATCH = Refusal(StatusCode.FAILED_PRECONDITION, "cluster ID mismatch")
ROOT_USER_NOT_EXIST = Refusal(StatusCode.FAILED_PRECONDITION, "root user does not exist")
ROOT_ROLE_NOT_EXIST = Refusal(StatusCode.FAILED_PRECONDITION, "root user does not have root role")
USER_EXISTS = Refusal(StatusCode.FAILED_PRECONDITION, "user name already exists")
USER_NOT_FOUND = Refusal(StatusCode.FAILED_PRECONDITION, "user name not found")
ROLE_EXISTS = Refusal(StatusCode.FAILED_PRECONDITION, "role name already exists")
ROLE_NOT_FOUND = Refusal(StatusCode.FAILED_PRECONDITION, "role name not found")
ROLE_NOT_GRANTED = Refusal(StatusCode.FAILED_PRECONDITION, "role is not granted to the user")
PERMISSION_NOT_GRANTED = Refusal(StatusCode.FAILED_PRECONDITION, "permission is not granted to the role")
AUTH_NOT_ENABLED = Refusal(StatusCode.FAILED_PRECONDITION, "authentication is not enabled")
NOT_LEADER = Refusal(StatusCode.FAILED_PRECONDITION, "not leader")
NOT_CAPABLE = Refusal(StatusCode.FAILED_PRECONDITION, "not capable")
NOT_FOR_LEARNER = Refusal(StatusCode.FAILED_PRECONDITION, "rpc not supported for learner")
BAD_LEADER_TRANSFEREE = Refusal(StatusCode.FAILED_PRECONDITION, "bad leader transferee")
CLUSTER_VERSION_UNAVAILABLE = Refusal(StatusCode.FAILED_PRECONDITION, "cluster version not found during downgrade")
DOWNGRADE_IN_PROGRESS = Refusal(StatusCode.FAILED_PRECONDITION, "cluster has a downgrade job in progress")
NO_INFLIGHT_DOWNGRADE = Refusal(StatusCode.FAILED_PRECONDITION, "no inflight downgrade job")

COMPACTED = Refusal(StatusCode.OUT_OF_RANGE, "mvcc: required revision has been compacted")
FUTURE_REVISION = Refusal(StatusCode.OUT_OF_RANGE, "mvcc: required revision is a future revision")
LEASE_TTL_TOO_LARGE = Refusal(StatusCode.OUT_OF_RANGE, "too large lease TTL")

NO_LEADER = Refusal(StatusCode.UNAVAILABLE, "no leader")
LEADER_CHANGED = Refusal(StatusCode.UNAVAILABLE, "leader changed")
STOPPED = Refusal(StatusCode.UNAVAILABLE, "server stopped")
TIMED_OUT = Refusal(StatusCode.UNAVAILABLE, "request timed out")
TIMED_OUT_LEADER_FAILED = Refusal(StatusCode.UNAVAILABLE, "request timed out, possibly due to previous leader failure")
TIMED_OUT_CONNECTION_LOST = Refusal(StatusCode.UNAVAILABLE, "request timed out, possibly due to connection lost")
TIMED_OUT_APPLYING = Refusal(StatusCode.UNAVAILABLE, "request timed out, waiting for the applied index took too long")
UNHEALTHY = Refusal(StatusCode.UNAVAILABLE, "unhealthy cluster")

CORRUPT = Refusal(StatusCode.DATA_LOSS, "corrupt cluster")

INVALID_AUTH_TOKEN = Refusal(StatusCode.UNAUTHENTICATED, "invalid auth token")

# These two reach clients without a code of their own: etcd's server hands gRPC the client's form of the error.
NOT_ENOUGH_STARTED_MEMBERS = Refusal(StatusCode.UNKNOWN, "re-configuration failed due to not enough started members")
TOO_MANY_REQUESTS = Refusal(StatusCode.UNKNOWN, "too many requests")

_OF_STORE_ERRORS: dict[type[StoreError], Refusal] = {
    CompactedError: COMPACTED,
    FutureRevisionError: FUTURE_REVISION,
    KeyNotFoundError: KEY_NOT_FOUND,
    LeaseNotFoundError: LEASE_NOT_FOUND,
    LeaseExistsError: LEASE_EXISTS,
    LeaseTTLTooLargeError: LEASE_TTL_TOO_LARGE,
    NoSpaceError: NO_SPACE,
    CorruptError: CORRUPT,
    RootUserMissingError: ROOT_USER_NOT_EXIST,
    RootRoleMissingError: ROOT_ROLE_NOT_EXIST,
    UserExistsError: USER_EXISTS,
    UserEmptyError: USER_EMPTY,
    UserNotFoundError: USER_NOT_FOUND,
    RoleExistsError: ROLE_EXISTS,
    RoleEmptyError: ROLE_EMPTY,
    RoleNotFoundError: ROLE_NOT_FOUND,
    RoleNotGrantedError: ROLE_NOT_GRANTED,
    PermissionNotGivenError: PERMISSION_NOT_GIVEN,
    PermissionNotGrantedError: PERMISSION_NOT_GRANTED,
    PermissionDeniedError: PERMISSION_DENIED,
    AuthFailedError: AUTH_FAILED,
    AuthNotEnabledError: AUTH_NOT_ENABLED,
    OldAuthRevisionError: AUTH_OLD_REVISION,
    InvalidTokenError: INVALID_AUTH_TOKEN,
    InvalidAuthManagementError: INVALID_AUTH_MANAGEMENT,
    IdExistsError: MEMBER_EXISTS,
    IdNotFoundError: MEMBER_NOT_FOUND,
    IdRemovedError: MEMBER_NOT_FOUND,
    NotLearnerError: MEMBER_NOT_LEARNER,
    PeerUrlExistsError: PEER_URLS_EXIST,
    TooManyLearnersError: TOO_MANY_LEARNERS,
}


def to_etcd_error(error: StoreError) -> EtcdError:
    """What the layers below refused, as clients are told."""
    refusal = _OF_STORE_ERRORS.get(type(error))
    if refusal is not None:
        return refusal.error()
    if isinstance(error, UncataloguedAuthError):
        return EtcdError(StatusCode.UNKNOWN, str(error))
    assert isinstance(error, UnknownRequestError), error
    return EtcdError(StatusCode.UNKNOWN, f"etcdserver: request not understood: {error}")
