"""Errors as clients see them: `metav1.Status` (API conventions, "Response Status Kind").

Clients decide by code and reason and show the message, so the texts are kube-apiserver's
(apimachinery `api/errors/errors.go`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apiserver.api.field_errors import FieldError

__all__ = [
    "Cause",
    "GenericServerError",
    "StatusError",
    "already_exists",
    "bad_request",
    "conflict",
    "expired",
    "forbidden",
    "gone",
    "internal_error",
    "invalid",
    "method_not_supported",
    "not_acceptable",
    "not_found",
    "qualified",
    "request_entity_too_large",
    "service_unavailable",
    "success",
    "timeout",
    "too_large_resource_version",
    "too_many_requests",
    "unauthorized",
    "unsupported_media_type",
]


@dataclass(frozen=True, slots=True)
class Cause:
    """One StatusCause: `reason` is a machine-readable word, `field` a path such as `spec.replicas`."""

    reason: str
    message: str
    field: str = ""

    def to_dict(self) -> dict[str, str]:
        """The JSON form; empty members are left out."""
        form = {"reason": self.reason, "message": self.message, "field": self.field}
        return {name: value for name, value in form.items() if value}


class StatusError(Exception):
    """A request that failed, with all that its Status says.

    Attributes:
        code: the HTTP status code.
        reason: metav1.StatusReason, e.g. "NotFound"; empty when there is none for the code.
        retry_after_seconds: also sent as the Retry-After header; 0 means none.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        group: str = "",
        kind: str = "",
        name: str = "",
        uid: str = "",
        causes: Sequence[Cause] = (),
        retry_after_seconds: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.group = group
        self.kind = kind
        self.name = name
        self.uid = uid
        self.causes = tuple(causes)
        self.retry_after_seconds = retry_after_seconds
        self.metadata = metadata or {}

    def to_dict(self) -> dict[str, Any]:
        """The `v1 Status` object in JSON form."""
        details: dict[str, Any] = {}
        for name, value in (("name", self.name), ("group", self.group), ("kind", self.kind), ("uid", self.uid)):
            if value:
                details[name] = value
        if self.causes:
            details["causes"] = [cause.to_dict() for cause in self.causes]
        if self.retry_after_seconds:
            details["retryAfterSeconds"] = self.retry_after_seconds
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if details:
            status["details"] = details
        status["code"] = self.code
        return status


class GenericServerError(StatusError):
    """An answer that is not about an object: its details are there, but empty (errors.NewGenericServerResponse)."""

    def to_dict(self) -> dict[str, Any]:
        """See `StatusError.to_dict`."""
        status = super().to_dict()
        code = status.pop("code")
        return {**status, "details": status.get("details", {}), "code": code}


def success(*, group: str = "", kind: str = "", name: str = "", uid: str = "", code: int = 200) -> dict[str, Any]:
    """The Status that answers a delete (its `code` is not serialised, as in kube-apiserver)."""
    details = {key: value for key, value in (("name", name), ("group", group), ("kind", kind), ("uid", uid)) if value}
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details:
        status["details"] = details
    if code != 200:
        status["code"] = code
    return status


def qualified(group: str, resource: str) -> str:
    """`deployments.apps`, or `pods` for the core group (schema.GroupResource.String)."""
    return f"{resource}.{group}" if group else resource


def not_found(group: str, resource: str, name: str) -> StatusError:
    """404 NotFound."""
    message = f'{qualified(group, resource)} "{name}" not found'
    return StatusError(404, "NotFound", message, group=group, kind=resource, name=name)


def already_exists(group: str, resource: str, name: str) -> StatusError:
    """409 AlreadyExists."""
    message = f'{qualified(group, resource)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, group=group, kind=resource, name=name)


def conflict(group: str, resource: str, name: str, error: str) -> StatusError:
    """409 Conflict: a precondition or an optimistic write failed."""
    message = f'Operation cannot be fulfilled on {qualified(group, resource)} "{name}": {error}'
    return StatusError(409, "Conflict", message, group=group, kind=resource, name=name)


def forbidden(group: str, resource: str, name: str, error: str) -> StatusError:
    """403 Forbidden."""
    if not resource:
        message = f"forbidden: {error}"
    elif not name:
        message = f"{qualified(group, resource)} is forbidden: {error}"
    else:
        message = f'{qualified(group, resource)} "{name}" is forbidden: {error}'
    return StatusError(403, "Forbidden", message, group=group, kind=resource, name=name)


def invalid(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> StatusError:
    """422 Invalid; one cause for each field error. Note `kind`, not resource."""
    causes = [Cause(error.reason, error.body(), error.field) for error in errors]
    texts = [str(error) for error in errors]
    unique = list(dict.fromkeys(texts))
    joined = unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]"
    kind_text = f"{kind}.{group}" if group else kind
    message = f'{kind_text} "{name}" is invalid: {joined}' if errors else f'{kind_text} "{name}" is invalid'
    return StatusError(422, "Invalid", message, group=group, kind=kind, name=name, causes=causes)


def bad_request(message: str) -> StatusError:
    """400 BadRequest."""
    return StatusError(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> StatusError:
    """401 Unauthorized."""
    return StatusError(401, "Unauthorized", message)


def method_not_supported(group: str, resource: str, action: str) -> StatusError:
    """405 MethodNotAllowed."""
    message = f'{action} is not supported on resources of kind "{qualified(group, resource)}"'
    return StatusError(405, "MethodNotAllowed", message, group=group, kind=resource)


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    """406 NotAcceptable."""
    message = f"only the following media types are accepted: {', '.join(accepted)}"
    return StatusError(406, "NotAcceptable", message)


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """415 UnsupportedMediaType for a request body."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return StatusError(415, "UnsupportedMediaType", message)


def request_entity_too_large(message: str) -> StatusError:
    """413 RequestEntityTooLarge."""
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: {message}")


def too_many_requests(message: str, retry_after_seconds: int = 1) -> StatusError:
    """429 TooManyRequests."""
    return StatusError(429, "TooManyRequests", message, retry_after_seconds=retry_after_seconds)


def expired(message: str, continue_token: str = "") -> StatusError:
    """410 Expired: the resourceVersion or continue token is older than what is kept."""
    metadata = {"continue": continue_token} if continue_token else None
    return StatusError(410, "Expired", message, metadata=metadata)


def gone(message: str) -> StatusError:
    """410 Gone."""
    return StatusError(410, "Gone", message)


def timeout(message: str, retry_after_seconds: int = 0) -> StatusError:
    """504 Timeout."""
    message = f"Timeout: {message}"
    return StatusError(504, "Timeout", message, retry_after_seconds=retry_after_seconds)


def too_large_resource_version(wanted: int, current: int, retry_after_seconds: int = 1) -> StatusError:
    """504 for a resourceVersion the server has not reached in time (storage.NewTooLargeResourceVersionError)."""
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    causes = [Cause("ResourceVersionTooLarge", "Too large resource version")]
    return StatusError(504, "Timeout", message, causes=causes, retry_after_seconds=retry_after_seconds)


def service_unavailable(message: str, retry_after_seconds: int = 1) -> StatusError:
    """503 ServiceUnavailable."""
    return StatusError(503, "ServiceUnavailable", message, retry_after_seconds=retry_after_seconds)


def internal_error(error: str) -> StatusError:
    """500 InternalError."""
    message = f"Internal error occurred: {error}"
    return StatusError(500, "InternalError", message, causes=[Cause("", error)])
