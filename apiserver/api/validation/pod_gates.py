"""What a pod that waits at a scheduling gate may still change: where it could go, more narrowly (KEP-3838)."""

from __future__ import annotations

from typing import Final

from apiserver.api.field_errors import field_invalid
from apiserver.api.validation.common import EMPTY, Errors, Obj

__all__ = ["check_gated_placement"]

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_AT: Final = "spec.affinity.nodeAffinity"


def check_gated_placement(errors: Errors, munged: Obj, before: Obj) -> None:
    """Check nodeSelector and node affinity, and put them back in `munged` so that they count as unchanged."""
    selector, old_selector = munged.get("nodeSelector") or EMPTY, before.get("nodeSelector") or EMPTY
    if any(selector.get(key) != value for key, value in old_selector.items()):
        text = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        errors.append(field_invalid("spec.nodeSelector", munged.get("nodeSelector"), text))
    _put_back(munged, before, "nodeSelector")
    affinity, old_affinity = munged.get("affinity") or EMPTY, before.get("affinity") or EMPTY
    now, was = affinity.get("nodeAffinity"), old_affinity.get("nodeAffinity")
    if now == was:
        return
    _check_node_affinity(errors, now, was)
    rest = {name: value for name, value in affinity.items() if name != "nodeAffinity"}
    if was is not None:
        rest["nodeAffinity"] = was
    if rest or "affinity" in before:
        munged["affinity"] = rest
    else:
        munged.pop("affinity", None)


def _put_back(munged: Obj, before: Obj, member: str) -> None:
    if member in before:
        munged[member] = before[member]
    else:
        munged.pop(member, None)


def _check_node_affinity(errors: Errors, now: Obj | None, was: Obj | None) -> None:
    old_required = (was or EMPTY).get(_REQUIRED)
    if old_required is None:
        return
    old_terms = old_required.get("nodeSelectorTerms") or []
    new_terms = ((now or EMPTY).get(_REQUIRED) or EMPTY).get("nodeSelectorTerms") or []
    path = f"{_AT}.{_REQUIRED}.nodeSelectorTerms"
    if old_terms and len(new_terms) != len(old_terms):
        text = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        errors.append(field_invalid(path, new_terms, text))
        return
    for index, (new, old) in enumerate(zip(new_terms, old_terms, strict=False)):
        if not _has_only_additions(new, old):
            text = "only additions are allowed (no mutations or deletions)"
            errors.append(field_invalid(f"{path}[{index}]", new, text))


def _has_only_additions(new: Obj, old: Obj) -> bool:
    if not old.get("matchExpressions") and not old.get("matchFields"):
        return new == old
    for member in ("matchExpressions", "matchFields"):
        given, kept = new.get(member) or [], old.get(member) or []
        if len(given) < len(kept) or given[: len(kept)] != kept:
            return False
    return True
