"""What a delete request does to an object before it goes, if it goes at once.

These are pure decisions over dicts; `store.py` carries them out. They follow k8s.io/apiserver
`registry/rest/delete.go` and the second half of `registry/generic/registry/store.go`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from apiserver.api.metatime import format_time, parse_time
from apiserver.api.status import conflict, internal_error
from apiserver.registry.interface import Object, OperationContext

if TYPE_CHECKING:
    from apiserver.registry.strategy import Strategy

__all__ = ["DeletionStep", "Verdict", "check_preconditions", "finalizers_after", "plan_deletion", "returns_object"]

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"

_RETURNS_OBJECT = frozenset(
    {
        ("", "namespaces"),
        ("", "persistentvolumeclaims"),
        ("", "persistentvolumes"),
        ("", "pods"),
        ("", "podtemplates"),
        ("", "resourcequotas"),
        ("", "serviceaccounts"),
        ("", "services"),
        ("resource.k8s.io", "deviceclasses"),
        ("resource.k8s.io", "devicetaintrules"),
        ("resource.k8s.io", "resourceclaims"),
        ("resource.k8s.io", "resourceclaimtemplates"),
        ("resource.k8s.io", "resourcepoolstatusrequests"),
        ("resource.k8s.io", "resourceslices"),
        ("storage.k8s.io", "csidrivers"),
        ("storage.k8s.io", "csinodes"),
        ("storage.k8s.io", "storageclasses"),
        ("storage.k8s.io", "volumeattachments"),
        ("storage.k8s.io", "volumeattributesclasses"),
    }
)


def returns_object(group: str, resource: str) -> bool:
    """Whether a finished delete answers with the object; most kinds answer with a Status."""
    return (group, resource) in _RETURNS_OBJECT


class Verdict(Enum):
    """What is to be done with an object that somebody wants deleted."""

    DELETE = "delete now"
    UPDATE = "write the object, which goes on existing"
    UPDATE_THEN_DELETE = "write the object, then delete it"
    PENDING = "a deletion is under way already; change nothing"


@dataclass(slots=True)
class DeletionStep:
    """The verdict, and the object to write where one is to be written."""

    verdict: Verdict
    obj: Object


def plan_deletion(context: OperationContext, strategy: Strategy, obj: Object, options: dict[str, Any]) -> DeletionStep:
    """Decide; `obj` is the caller's own copy of the present state and is changed in place.

    `options` (DeleteOptions) gets the grace period that applies.
    """
    graceful, pending = _begin(context, strategy, obj, options)
    if pending:
        return DeletionStep(Verdict.PENDING, obj)
    metadata = obj["metadata"]
    finalizers = finalizers_after(context, metadata.get("finalizers") or [], options)
    changed = set(finalizers) != set(metadata.get("finalizers") or [])
    if changed:
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)
    if graceful:
        if finalizers or options["gracePeriodSeconds"] > 0:
            return DeletionStep(Verdict.UPDATE, obj)
        return DeletionStep(Verdict.UPDATE_THEN_DELETE, obj)
    if finalizers:
        _mark_as_deleting(metadata, int(context.clock.now()))
        return DeletionStep(Verdict.UPDATE, obj)
    return DeletionStep(Verdict.DELETE, obj)


def check_preconditions(context: OperationContext, metadata: dict[str, Any], options: dict[str, Any]) -> None:
    """Raise 409 when the object is not the one that is meant."""
    wanted = options.get("preconditions") or {}
    resource = context.resource
    for key, name, text in (
        ("uid", "UID", "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "modified"),
    ):
        want, have = wanted.get(key), metadata.get(key, "")
        if want is not None and want != have:
            error = (
                f"the {name} in the precondition ({want}) does not match the {name} in record ({have}). "
                f"The object might have been {text}"
            )
            raise conflict(resource.group, resource.kind, metadata.get("name", ""), error)


def _begin(context: OperationContext, strategy: Strategy, obj: Object, options: dict[str, Any]) -> tuple[bool, bool]:
    """Whether the deletion is graceful, and whether an earlier one is pending (rest.BeforeDelete)."""
    metadata = obj["metadata"]
    check_preconditions(context, metadata, options)
    if (options.get("gracePeriodSeconds") or 0) < 0:
        options["gracePeriodSeconds"] = 1  # negative values mean the shortest grace there is
    if metadata.get("deletionTimestamp"):
        return _shorten(context, metadata, options)
    if not strategy.check_graceful_delete(context, obj, options):
        return False, False
    grace = options.get("gracePeriodSeconds")
    if grace is None:
        raise internal_error("options.GracePeriodSeconds should not be nil")
    metadata["deletionTimestamp"] = format_time(int(context.clock.now()) + grace)
    metadata["deletionGracePeriodSeconds"] = grace
    _bump_generation(metadata)
    return True, False


def _shorten(context: OperationContext, metadata: dict[str, Any], options: dict[str, Any]) -> tuple[bool, bool]:
    """A second delete may only bring the end nearer."""
    present = metadata.get("deletionGracePeriodSeconds")
    if not present:
        return False, False
    present = max(present, 1)
    wanted = options.get("gracePeriodSeconds")
    if wanted is None:
        options["gracePeriodSeconds"] = present
        return False, True
    if wanted >= present:
        return False, True
    now = int(context.clock.now())
    end = parse_time(metadata["deletionTimestamp"]) - present + wanted
    if end < now:
        end = now
        wanted = min(wanted, 1)  # somebody else still has to finish a deletion that was meant to be graceful
    metadata["deletionTimestamp"] = format_time(end)
    metadata["deletionGracePeriodSeconds"] = wanted
    return True, False


def finalizers_after(context: OperationContext, present: list[str], options: dict[str, Any]) -> list[str]:
    """The finalizers with those of the garbage collector as the options, or else the object, want them."""
    if context.resource.plural == "events":  # have no dependents
        return present
    orphan = options.get("orphanDependents")
    policy = options.get("propagationPolicy")
    if orphan is not None:
        wanted = ORPHAN if orphan else ""
    elif policy is not None:
        wanted = {"Orphan": ORPHAN, "Foreground": FOREGROUND}.get(policy, "")
    else:
        wanted = next((name for name in present if name in (ORPHAN, FOREGROUND)), "")
    kept = [name for name in present if name not in (ORPHAN, FOREGROUND)]
    return [*kept, wanted] if wanted else kept


def _mark_as_deleting(metadata: dict[str, Any], now_seconds: int) -> None:
    """Finalizers watch for the timestamp and go to work."""
    present = metadata.get("deletionTimestamp")
    if not present:
        _bump_generation(metadata)
    if not present or parse_time(present) > now_seconds:
        metadata["deletionTimestamp"] = format_time(now_seconds)
    metadata["deletionGracePeriodSeconds"] = 0


def _bump_generation(metadata: dict[str, Any]) -> None:
    if metadata.get("generation"):
        metadata["generation"] += 1
