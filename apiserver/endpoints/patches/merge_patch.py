"""JSON Merge Patch (RFC 7386): objects merge member by member, null deletes, everything else replaces."""

from __future__ import annotations

from typing import Any

from apiserver.api.status import bad_request
from apiserver.endpoints.patches.values import copy_value, go_json_type

__all__ = ["MERGE_PATCH", "apply_merge_patch", "decode_merge_patch"]

MERGE_PATCH = "application/merge-patch+json"


def decode_merge_patch(patch: Any, *, strict: bool) -> dict[str, Any]:
    """Check that a parsed body is a patch for an API object.

    Raises:
        StatusError: 400 when it is not an object.
    """
    if isinstance(patch, dict):
        return patch
    if not strict or patch is None:
        raise bad_request("Invalid JSON Patch")
    found = go_json_type(patch)
    raise bad_request(
        f"error decoding patch: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
    )


def apply_merge_patch(document: Any, patch: Any) -> Any:
    """Merge the patch into the document (RFC 7386, section 2).

    As in Kubernetes' library, objects inside arrays of the patch lose their null members too, except where the array
    takes the place of an object.
    """
    if not isinstance(document, dict):
        return _without_nulls(patch)
    if not isinstance(patch, dict):
        return copy_value(patch)
    for key, value in patch.items():
        if value is None:
            document.pop(key, None)
        else:
            document[key] = apply_merge_patch(document.get(key), value)
    return document


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return copy_value(value)
