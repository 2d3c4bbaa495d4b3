"""Workloads of the group apps, replication controllers and pod templates."""

from __future__ import annotations

from functools import partial
from typing import Final

from apiserver.api.claim_templates import name_claim_templates
from apiserver.api.status import bad_request
from apiserver.api.validation.names import dns_label_problems
from apiserver.api.validation.pods import check_pod_template
from apiserver.api.validation.workloads import (
    check_controller_revision,
    check_daemon_set,
    check_deployment,
    check_replica_set,
    check_replication_controller,
    check_stateful_set,
    check_workload_status,
)
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.checked import CheckedStrategy, Checks, checked
from apiserver.registry.kinds.pod_warnings import warnings_for_claim_spec, warnings_for_template

__all__ = [
    "ControllerRevisionStrategy",
    "DaemonSetStrategy",
    "DeploymentStrategy",
    "PodTemplateStrategy",
    "ReplicaSetStrategy",
    "ReplicationControllerStrategy",
    "StatefulSetStrategy",
    "warnings_for_pod_names",
]

TEMPLATE_GENERATION: Final = "deprecated.daemonset.template.generation"
_COUNTS: Final = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")
_HISTORY: Final = "a negative value retains all historical revisions; a value >= 0 is recommended"


def warnings_for_pod_names(obj: Object) -> list[str]:
    """Of a name that its pods will have as a prefix."""
    problems = dns_label_problems(obj["metadata"].get("name", ""))
    if not problems:
        return []
    return [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
        f"a DNS label is recommended: [{' '.join(problems)}]"
    ]


def _is_unchanged(obj: Object, old: Object | None) -> bool:
    return old is not None and obj["metadata"].get("generation") == old["metadata"].get("generation")


def _template_warnings(obj: Object, old: Object | None) -> list[str]:
    """Not again at each update: only where the specification changed."""
    return [] if _is_unchanged(obj, old) else warnings_for_template("spec.template", obj["spec"].get("template"))


def _warnings(obj: Object, old: Object | None) -> list[str]:
    names = [] if old is not None else warnings_for_pod_names(obj)
    return names + _template_warnings(obj, old)


def _stateful_warnings(obj: Object, old: Object | None) -> list[str]:
    if _is_unchanged(obj, old):
        return []
    warnings, spec = _template_warnings(obj, old), obj["spec"]
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        warnings += warnings_for_claim_spec(f"spec.volumeClaimTemplates[{index}]", claim.get("spec") or {})
    if (spec.get("revisionHistoryLimit") or 0) < 0:
        warnings.append(f"spec.revisionHistoryLimit: {_HISTORY}")
    return warnings


def _pod_template_warnings(obj: Object, old: Object | None) -> list[str]:
    return warnings_for_template("template", obj.get("template"))


DeploymentStrategy = checked(
    check_deployment,
    partial(check_workload_status, parts=("updatedReplicas", "readyReplicas", "availableReplicas")),
    _warnings,
)
ReplicaSetStrategy = checked(check_replica_set, partial(check_workload_status, parts=_COUNTS), _warnings)
ReplicationControllerStrategy = checked(
    check_replication_controller, partial(check_workload_status, parts=_COUNTS), _warnings
)
ControllerRevisionStrategy = checked(check_controller_revision)
PodTemplateStrategy = checked(
    lambda errors, obj, old: check_pod_template(errors, "template", obj.get("template") or {}),
    warnings=_pod_template_warnings,
)


class StatefulSetStrategy(CheckedStrategy):
    """The strategy of stateful sets."""

    checks = Checks(
        check_stateful_set,
        partial(
            check_workload_status, parts=("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
        ),
        _stateful_warnings,
    )

    def default(self, context: OperationContext, obj: Object) -> None:
        """Claim templates say what they are, as every client has always seen them."""
        super().default(context, obj)
        name_claim_templates(obj)


class DaemonSetStrategy(CheckedStrategy):
    """The strategy of daemon sets. The generation of the template, a field of old, lives on as an annotation."""

    checks = Checks(check_daemon_set, check_workload_status, _template_warnings)

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """The template's first generation, unless the client knows better."""
        super().prepare_for_create(context, obj)
        _set_template_generation(obj, max(_template_generation(obj), 1))

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        """Count the changes of the template."""
        super().prepare_for_update(context, obj, old)
        changed = self._changed(obj, old, "spec.template")
        _set_template_generation(obj, _template_generation(old) + changed)

    def prepare_status(self, context: OperationContext, obj: Object, old: Object) -> None:
        """The annotation belongs to the specification."""
        _set_template_generation(obj, _template_generation(old))


def _template_generation(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "0")
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _set_template_generation(obj: Object, generation: int) -> None:
    metadata = obj["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), TEMPLATE_GENERATION: str(generation)}
