"""What went wrong in the store, as clients see it, with kube-apiserver's texts."""

from __future__ import annotations

from typing import Final

from apiserver.api import status
from apiserver.api.scheme import Resource
from apiserver.api.status import StatusError
from apiserver.storage.continue_token import MOST_RECENT, encode_continue
from apiserver.storage.interface import Preconditions
from apiserver.storage.keys import object_name
from kvstore.errors import EtcdError, StatusCode

__all__ = [
    "already_exists",
    "check_preconditions",
    "continue_expired",
    "from_etcd",
    "is_compacted",
    "is_future",
    "list_expired",
    "not_found",
    "watch_expired",
]

_COMPACTED: Final = "required revision has been compacted"
_FUTURE: Final = "required revision is a future revision"

LIST_EXPIRED: Final = "The resourceVersion for the provided list is too old."
WATCH_EXPIRED: Final = "The resourceVersion for the provided watch is too old."
CONTINUE_EXPIRED: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without"
    " the continue parameter, or use the continue token in this response to retrieve the remainder of the results."
    " Continuing with the provided token results in an inconsistent list - objects that were created, modified, or"
    " deleted between the time the first chunk was returned and now may show up in the list."
)


def is_compacted(error: EtcdError) -> bool:
    """Whether the revision asked for is no longer kept."""
    return error.code is StatusCode.OUT_OF_RANGE and _COMPACTED in error.message


def is_future(error: EtcdError) -> bool:
    """Whether the revision asked for does not exist yet."""
    return error.code is StatusCode.OUT_OF_RANGE and _FUTURE in error.message


def from_etcd(error: EtcdError) -> StatusError:
    """The one place where the store's refusals become Statuses.

    What kube-apiserver has no mapping for, and that is nearly everything, is a 500 with the store's own text and no
    reason: "etcdserver: request timed out" without a quorum, "etcdserver: request is too large" or "etcdserver: mvcc:
    database space exceeded" (`endpoints/handlers/responsewriters/status.go`).
    """
    if is_compacted(error):
        return status.expired(LIST_EXPIRED)
    if error.code is StatusCode.DEADLINE_EXCEEDED:
        return status.timeout(error.message)
    return StatusError(500, "", error.message)


def list_expired() -> StatusError:
    """410 for a list at a revision that is no longer kept."""
    return status.expired(LIST_EXPIRED)


def continue_expired(next_key: str, prefix: str) -> StatusError:
    """410 for a page of a list whose revision is gone; its token goes on with what is there now."""
    return status.expired(CONTINUE_EXPIRED, encode_continue(next_key, prefix, MOST_RECENT))


def watch_expired() -> StatusError:
    """410 for a watch from a revision that the store no longer keeps."""
    return status.expired(WATCH_EXPIRED)


def not_found(resource: Resource, key: str) -> StatusError:
    """404 for the object of a key."""
    return status.not_found(resource.group, resource.plural, object_name(key))


def already_exists(resource: Resource, key: str) -> StatusError:
    """409 for the object of a key."""
    return status.already_exists(resource.group, resource.plural, object_name(key))


def check_preconditions(
    resource: Resource, key: str, preconditions: Preconditions | None, *, uid: str, resource_version: str
) -> None:
    """Compare with the object as it is; raises 409 Conflict (storage `Preconditions.Check`)."""
    if preconditions is None:
        return
    if preconditions.uid is not None and preconditions.uid != uid:
        raise _failed(resource, key, f"UID in precondition: {preconditions.uid}, UID in object meta: {uid}")
    wanted = preconditions.resource_version
    if wanted is not None and wanted != resource_version:
        text = f"ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {resource_version}"
        raise _failed(resource, key, text)


def _failed(resource: Resource, key: str, text: str) -> StatusError:
    inner = (
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: {text}"
    )
    return status.conflict(resource.group, resource.plural, object_name(key), inner)
