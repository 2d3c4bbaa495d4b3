"""What a list or a watch may ask for, and what that means in revisions.

The matrix of resourceVersion, resourceVersionMatch, limit and continue is KEP-365 and KEP-2340; the refusals are those
of apimachinery `meta/internalversion/validation` and of k8s.io/apiserver `storage.ValidateListOptions`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Final

from apiserver.api.field_errors import FieldError, field_forbidden, not_supported
from apiserver.api.status import bad_request, invalid
from apiserver.storage.continue_token import decode_continue
from apiserver.storage.interface import ListOptions, WatchOptions

__all__ = [
    "ListPlan",
    "default_watch_options",
    "parse_resource_version",
    "plan_list",
    "validate_list_options",
    "validate_watch_options",
]

EXACT: Final = "Exact"
NOT_OLDER_THAN: Final = "NotOlderThan"
_UINT64_MAX: Final = 2**64 - 1
_DIGITS: Final = re.compile(r"[0-9]+")


def validate_list_options(options: ListOptions, *, send_initial_events: bool | None = None) -> None:
    """Refuse combinations that mean nothing: 422 Invalid for `ListOptions`.

    Also raises 400 for a resourceVersion that is no number. `send_initial_events` is given when a list carries it.
    """
    errors: list[FieldError] = []
    match = options.match
    if match:
        if not options.resource_version:
            errors.append(
                _match_forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"),
            )
        if options.continue_token:
            errors.append(_match_forbidden("resourceVersionMatch is forbidden when continue is provided"))
        if match not in (EXACT, NOT_OLDER_THAN):
            errors.append(not_supported("resourceVersionMatch", match, [EXACT, NOT_OLDER_THAN, ""]))
        if match == EXACT and options.resource_version == "0":
            errors.append(_match_forbidden('resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if send_initial_events is not None:
        errors.append(field_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    _raise_invalid(errors)
    parse_resource_version(options.resource_version)


def validate_watch_options(options: WatchOptions, *, continue_token: str = "") -> None:
    """The same for a watch."""
    errors: list[FieldError] = []
    match = options.match
    if options.send_initial_events is not None and match != NOT_OLDER_THAN:
        errors.append(
            _match_forbidden(f"sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER_THAN}"),
        )
    if match:
        if options.send_initial_events is None:
            errors.append(
                _match_forbidden("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"),
            )
        if match != NOT_OLDER_THAN:
            errors.append(not_supported("resourceVersionMatch", match, [NOT_OLDER_THAN]))
        if continue_token:
            errors.append(_match_forbidden("resourceVersionMatch is forbidden when continue is provided"))
    _raise_invalid(errors)
    parse_resource_version(options.resource_version)


def default_watch_options(options: WatchOptions) -> WatchOptions:
    """A watch that starts with the present state is a watch-list (`SetListOptionsDefaults`, WatchList on)."""
    if options.send_initial_events is not None or options.match or options.resource_version not in ("", "0"):
        return options
    return dataclasses.replace(options, send_initial_events=True, match=NOT_OLDER_THAN)


def parse_resource_version(text: str) -> int:
    """A resourceVersion as a number; 0 for the empty string. Raises 400."""
    if text == "":
        return 0
    if not _DIGITS.fullmatch(text):
        problem = "invalid syntax"
    elif int(text) > _UINT64_MAX:
        problem = "value out of range"
    else:
        return int(text)
    quoted = json.dumps(text, ensure_ascii=False)
    raise bad_request(
        f"invalid resource version: resourceVersion: Invalid value: {quoted}: "
        f"strconv.ParseUint: parsing {quoted}: {problem}"
    )


@dataclass(frozen=True, slots=True)
class ListPlan:
    """What a list has to read.

    Attributes:
        start_key: first key.
        exact: the revision to read at, or 0.
        minimum: the revision the answer must at least be of; 0 when any will do.
        consistent: the answer must be of the most recent revision at the time of the request.
        limit: most items to return, 0 for all.
        continuing: a page after the first.
    """

    start_key: str
    exact: int
    minimum: int
    consistent: bool
    limit: int
    continuing: bool


def plan_list(options: ListOptions, prefix: str) -> ListPlan:
    """Turn validated options into revisions; raises 400 for a bad continue token or resourceVersion.

    A list at resourceVersion "0" ignores its limit, as one from kube-apiserver's watch cache does.
    """
    if options.continue_token:
        start_key, revision = decode_continue(options.continue_token, prefix)
        if options.resource_version not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        exact = max(revision, 0)
        return ListPlan(start_key, exact, 0, consistent=revision < 0, limit=options.limit, continuing=True)
    version = parse_resource_version(options.resource_version)
    limit = 0 if options.resource_version == "0" else options.limit
    legacy_exact = options.match == "" and options.limit > 0 and version > 0
    if version > 0 and (options.match == EXACT or legacy_exact):
        return ListPlan(prefix, version, 0, consistent=False, limit=limit, continuing=False)
    consistent = options.resource_version == ""
    return ListPlan(prefix, 0, version, consistent=consistent, limit=limit, continuing=False)


def _match_forbidden(detail: str) -> FieldError:
    return field_forbidden("resourceVersionMatch", detail)


def _raise_invalid(errors: list[FieldError]) -> None:
    if errors:
        raise invalid("meta.k8s.io", "ListOptions", "", errors)
