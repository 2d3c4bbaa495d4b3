"""Leases and the candidates for them (kubernetes `apis/coordination/validation`)."""

from __future__ import annotations

import re
from typing import Final

from apiserver.api.field_errors import field_forbidden, field_invalid, not_supported, required
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_name
from apiserver.api.validation.names import label_key_problems
from apiserver.api.validation.objectmeta import IMMUTABLE

__all__ = ["check_lease", "check_lease_candidate"]

OLDEST: Final = "OldestEmulationVersion"
_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-.]+)?(\+[0-9A-Za-z-.]+)?")


def check_lease(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A Lease, new or changed."""
    spec = obj.get("spec") or EMPTY
    duration, transitions, strategy = (
        spec.get(name) for name in ("leaseDurationSeconds", "leaseTransitions", "strategy")
    )
    if duration is not None and duration <= 0:
        errors.append(field_invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        errors.append(field_invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
    if strategy is not None:
        _check_strategy(errors, strategy)
    if spec.get("preferredHolder") and not strategy:
        errors.append(field_forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined"))


def _check_strategy(errors: Errors, strategy: str) -> None:
    """One of Kubernetes' own, or a qualified name of somebody else's."""
    if "/" in strategy:
        check_name(errors, "spec.strategy", strategy, label_key_problems)
    elif strategy != OLDEST:
        errors.append(not_supported("spec.strategy.strategy", strategy, (OLDEST,)))  # kube-apiserver's path


def check_lease_candidate(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A LeaseCandidate."""
    spec = obj.get("spec") or EMPTY
    if not spec.get("leaseName"):
        errors.append(required("spec.leaseName"))
    emulation, binary = spec.get("emulationVersion", ""), spec.get("binaryVersion", "")
    if emulation and not _version(emulation):
        errors.append(field_invalid("spec.emulationVersion", emulation, "must be a valid semantic version"))
    if not binary:
        errors.append(required("spec.binaryVersion"))
    elif not _version(binary):
        errors.append(field_invalid("spec.binaryVersion", binary, "must be a valid semantic version"))
    if binary and emulation and _version(binary) < _version(emulation):
        text = "must be greater than or equal to `emulationVersion`"
        errors.append(field_invalid("spec.binaryVersion", binary, text))
    if not spec.get("strategy"):
        errors.append(required("spec.strategy"))
    else:
        if spec["strategy"] == OLDEST and not any(_version(emulation)):
            text = "must be specified when `strategy` is 'OldestEmulationVersion'"
            errors.append(required("spec.emulationVersion", text))
        _check_strategy(errors, spec["strategy"])
    if old is not None and spec.get("leaseName", "") != (old.get("spec") or EMPTY).get("leaseName", ""):
        errors.append(field_invalid("spec.leaseName", spec.get("leaseName", ""), IMMUTABLE))


def _version(text: str) -> tuple[int, ...]:
    """Major, minor and patch of a semantic version; empty when it is none."""
    match = _SEMVER.fullmatch(text)
    return tuple(int(match[group]) for group in (1, 2, 3)) if match else ()
