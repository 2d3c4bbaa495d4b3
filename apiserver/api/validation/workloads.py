"""Deployments, replica sets, stateful sets, daemon sets, replication controllers and revisions (`pkg/apis/apps`)."""

from __future__ import annotations

from typing import Any, Final

from apiserver.api.field_errors import field_forbidden, field_invalid, not_supported, required
from apiserver.api.validation.claims import check_claim_spec
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_name, check_nonnegative, in_order, is_percent
from apiserver.api.validation.names import dns_label_problems, percent_problems
from apiserver.api.validation.objectmeta import IMMUTABLE
from apiserver.api.validation.pods import check_pod_template
from apiserver.api.validation.selectors import check_label_selector, is_empty_selector, selector_matches

__all__ = [
    "check_controller_revision",
    "check_daemon_set",
    "check_deployment",
    "check_immutable",
    "check_replica_set",
    "check_replication_controller",
    "check_stateful_set",
    "check_workload_status",
]

_NO_MATCH: Final = "`selector` does not match template `labels`"
_MORE_THAN_ALL: Final = "cannot be greater than status.replicas"


def check_immutable(errors: Errors, path: str, value: Any, old: Any) -> None:
    """A value that may not change; an empty list or map is as good as none."""
    if value != old and (value or old):
        errors.append(field_invalid(path, value, IMMUTABLE))


def _internal(strategy: Obj) -> Obj:
    """An update strategy as kube-apiserver shows it in errors: its internal type, which has no JSON names."""
    rolling = strategy.get("rollingUpdate")
    shown = rolling and {name[0].upper() + name[1:]: value for name, value in rolling.items()}
    return {"Type": strategy.get("type", ""), "RollingUpdate": shown}


def _check_selector(errors: Errors, spec: Obj, kind: str, *, is_required: bool = True) -> None:
    selector = spec.get("selector")
    if selector is None:
        if is_required:
            errors.append(required("spec.selector"))
        return
    check_label_selector(errors, "spec.selector", selector)
    if is_empty_selector(selector):
        errors.append(field_invalid("spec.selector", selector, f"empty selector is invalid for {kind}"))


def _check_template(errors: Errors, spec: Obj, template: Obj, kind: str) -> None:
    """The template of a workload whose pods run for ever."""
    labels = (template.get("metadata") or EMPTY).get("labels")
    selector = spec.get("selector")
    if selector is not None and not is_empty_selector(selector) and not selector_matches(selector, labels or EMPTY):
        errors.append(field_invalid("spec.template.metadata.labels", in_order(labels), _NO_MATCH))
    check_pod_template(errors, "spec.template", template)
    _check_runs_forever(errors, template, kind)


def _check_runs_forever(errors: Errors, template: Obj, kind: str) -> None:
    pod = template.get("spec") or EMPTY
    if pod.get("restartPolicy") != "Always":
        at = "spec.template.spec.restartPolicy"
        errors.append(not_supported(at, pod.get("restartPolicy", ""), ("Always",)))
    if pod.get("activeDeadlineSeconds") is not None:
        text = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.append(field_forbidden("spec.template.spec.activeDeadlineSeconds", text))


def check_deployment(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A Deployment, new or changed."""
    spec = obj.get("spec") or EMPTY
    if old is None or spec != old.get("spec"):
        check_nonnegative(errors, "spec.replicas", spec.get("replicas"))
        _check_selector(errors, spec, "deployment")
        _check_template(errors, spec, spec.get("template") or EMPTY, "ReplicaSet")
        _check_deployment_strategy(errors, spec.get("strategy") or EMPTY)
        check_nonnegative(errors, "spec.minReadySeconds", spec.get("minReadySeconds"))
        check_nonnegative(errors, "spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is not None:
            check_nonnegative(errors, "spec.progressDeadlineSeconds", deadline)
            if deadline <= spec.get("minReadySeconds", 0):
                text = "must be greater than minReadySeconds"
                errors.append(field_invalid("spec.progressDeadlineSeconds", deadline, text))
    if old is not None:
        check_immutable(errors, "spec.selector", spec.get("selector"), old["spec"].get("selector"))


def _check_deployment_strategy(errors: Errors, strategy: Obj) -> None:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    at = "spec.strategy.rollingUpdate"
    if kind == "Recreate":
        if rolling is not None:
            text = "may not be specified when strategy `type` is 'Recreate'"
            errors.append(field_forbidden(at, text))
    elif kind != "RollingUpdate":
        errors.append(not_supported("spec.strategy", _internal(strategy), ("Recreate", "RollingUpdate")))
    elif rolling is None:
        errors.append(required(at, "this should be defaulted and never be nil"))
    else:
        unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
        _check_amount(errors, f"{at}.maxUnavailable", unavailable)
        _check_amount(errors, f"{at}.maxSurge", surge)
        if _number(unavailable) == 0 and _number(surge) == 0:
            text = "may not be 0 when `maxSurge` is 0"
            errors.append(field_invalid(f"{at}.maxUnavailable", unavailable, text))
        _check_at_most_all(errors, f"{at}.maxUnavailable", unavailable)


def _check_amount(errors: Errors, path: str, value: Any) -> None:
    if isinstance(value, str):
        check_name(errors, path, value, percent_problems)
    else:
        check_nonnegative(errors, path, value)


def _number(value: Any) -> int:
    if isinstance(value, str):
        return int(value[:-1]) if is_percent(value) else int(value) if value.isdigit() else 0
    return int(value)


def _check_at_most_all(errors: Errors, path: str, value: Any) -> None:
    if is_percent(value) and _number(value) > 100:
        errors.append(field_invalid(path, value, "must not be greater than 100%"))


def check_replica_set(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A ReplicaSet, new or changed."""
    spec = obj.get("spec") or EMPTY
    if old is None or spec != old.get("spec"):
        check_nonnegative(errors, "spec.replicas", spec.get("replicas"))
        check_nonnegative(errors, "spec.minReadySeconds", spec.get("minReadySeconds"))
        _check_selector(errors, spec, "deployment")  # kube-apiserver's own words
        _check_template(errors, spec, spec.get("template") or EMPTY, "ReplicaSet")
    if old is not None:
        check_immutable(errors, "spec.selector", spec.get("selector"), old["spec"].get("selector"))


def check_replication_controller(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A ReplicationController, new or changed; its numbers are checked by tags."""
    spec = obj.get("spec") or EMPTY
    if old is not None and spec == old.get("spec"):
        return
    selector, template = spec.get("selector"), spec.get("template")
    if not selector:
        errors.append(required("spec.selector"))
    if spec.get("replicas") is None:
        errors.append(required("spec.replicas"))
    if template is None:
        errors.append(required("spec.template"))
        return
    labels = (template.get("metadata") or EMPTY).get("labels")
    if selector and any((labels or EMPTY).get(key) != value for key, value in selector.items()):
        errors.append(field_invalid("spec.template.metadata.labels", in_order(labels), _NO_MATCH))
    check_pod_template(errors, "spec.template", template)
    _check_runs_forever(errors, template, "ReplicationController")


def check_daemon_set(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A DaemonSet, new or changed."""
    spec = obj.get("spec") or EMPTY
    if old is not None:
        check_immutable(errors, "spec.selector", spec.get("selector"), old["spec"].get("selector"))
        if spec == old.get("spec"):
            return
    selector, template = spec.get("selector"), spec.get("template") or EMPTY
    check_label_selector(errors, "spec.selector", selector)
    labels = (template.get("metadata") or EMPTY).get("labels")
    if selector is None or not selector_matches(selector, labels or EMPTY):
        errors.append(field_invalid("spec.template.metadata.labels", in_order(labels), _NO_MATCH))
    if selector is not None and is_empty_selector(selector):
        errors.append(field_invalid("spec.selector", selector, "empty selector is invalid for daemonset"))
    check_pod_template(errors, "spec.template", template)
    _check_runs_forever(errors, template, "DaemonSet")
    check_nonnegative(errors, "spec.minReadySeconds", spec.get("minReadySeconds"))
    _check_daemon_strategy(errors, spec.get("updateStrategy") or EMPTY)
    check_nonnegative(errors, "spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))


def _check_daemon_strategy(errors: Errors, strategy: Obj) -> None:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    at = "spec.updateStrategy.rollingUpdate"
    if kind == "OnDelete":
        return
    if kind != "RollingUpdate":
        errors.append(not_supported("spec.updateStrategy", _internal(strategy), ("RollingUpdate", "OnDelete")))
    elif rolling is None:
        errors.append(required(at))
    else:
        unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
        for name, value in (("maxUnavailable", unavailable), ("maxSurge", surge)):
            _check_amount(errors, f"{at}.{name}", value)
            _check_at_most_all(errors, f"{at}.{name}", value)
        if _number(unavailable) and _number(surge):
            text = "may not be set when maxUnavailable is non-zero"
            errors.append(field_invalid(f"{at}.maxSurge", surge, text))
        elif not _number(unavailable) and not _number(surge):
            errors.append(required(f"{at}.maxUnavailable", "cannot be 0 when maxSurge is 0"))


def check_stateful_set(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A StatefulSet, new or changed."""
    spec = obj.get("spec") or EMPTY
    if old is None or spec != old.get("spec"):
        _check_stateful_spec(errors, spec)
    if old is not None:
        for member in ("selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy"):
            value = spec.get(member)
            shown = "" if value is None and member in ("serviceName", "podManagementPolicy") else value
            if value != old["spec"].get(member) and (value or old["spec"].get(member)):
                errors.append(field_invalid(f"spec.{member}", shown, IMMUTABLE))


def _check_stateful_spec(errors: Errors, spec: Obj) -> None:
    policy = spec.get("podManagementPolicy", "")
    if not policy:
        errors.append(required("spec.podManagementPolicy"))
    elif policy not in ("OrderedReady", "Parallel"):
        text = "must be 'OrderedReady' or 'Parallel'"
        errors.append(field_invalid("spec.podManagementPolicy", policy, text))
    _check_stateful_strategy(errors, spec.get("updateStrategy") or EMPTY)
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or EMPTY
    for member, value in retention.items():
        if value not in ("Retain", "Delete"):
            at = f"spec.persistentVolumeClaimRetentionPolicy.{member}"
            errors.append(not_supported(at, value, ("Retain", "Delete")))
    templates = spec.get("volumeClaimTemplates") or []
    for index, template in enumerate(templates):
        check_claim_spec(errors, f"spec.volumeClaimTemplates[{index}].spec", template.get("spec") or EMPTY)
    check_nonnegative(errors, "spec.replicas", spec.get("replicas"))
    check_nonnegative(errors, "spec.minReadySeconds", spec.get("minReadySeconds"))
    check_nonnegative(errors, "spec.ordinals.start", (spec.get("ordinals") or EMPTY).get("start"))
    if spec.get("serviceName"):
        check_name(errors, "spec.serviceName", spec["serviceName"], dns_label_problems)
    _check_selector(errors, spec, "statefulset")
    _check_template(errors, spec, _template_with_claims(spec.get("template") or EMPTY, templates), "StatefulSet")


def _check_stateful_strategy(errors: Errors, strategy: Obj) -> None:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    at = "spec.updateStrategy.rollingUpdate"
    if not kind:
        errors.append(required("spec.updateStrategy"))
    elif kind == "OnDelete":
        if rolling is not None:
            text = "only allowed for updateStrategy 'RollingUpdate'"
            errors.append(field_invalid(at, rolling, text))
    elif kind != "RollingUpdate":
        text = "must be 'RollingUpdate' or 'OnDelete'"
        errors.append(field_invalid("spec.updateStrategy", _internal(strategy), text))
    elif rolling is not None:
        check_nonnegative(errors, f"{at}.partition", rolling.get("partition"))
        unavailable = rolling.get("maxUnavailable")
        if unavailable is not None:
            _check_amount(errors, f"{at}.maxUnavailable", unavailable)
            if _number(unavailable) == 0:
                errors.append(field_invalid(f"{at}.maxUnavailable", unavailable, "cannot be 0"))
            _check_at_most_all(errors, f"{at}.maxUnavailable", unavailable)


def _template_with_claims(template: Obj, claims: list[Obj]) -> Obj:
    """The template as its pods will be: claims become volumes; hostname and subdomain are the controller's."""
    pod = template.get("spec") or EMPTY
    if not claims and not pod.get("hostname") and not pod.get("subdomain"):
        return template
    volumes = {
        name: {"name": name, "persistentVolumeClaim": {"claimName": name}}
        for name in ((claim.get("metadata") or EMPTY).get("name", "") for claim in claims)
    }
    others = [volume for volume in pod.get("volumes") or () if volume.get("name") not in volumes]
    rest = {name: value for name, value in pod.items() if name not in ("hostname", "subdomain")}
    return {**template, "spec": {**rest, "volumes": [*volumes.values(), *others]}}


def check_controller_revision(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A ControllerRevision: its data never change."""
    check_nonnegative(errors, "revision", obj.get("revision", 0))
    data = obj.get("data")
    if old is not None:
        check_immutable(errors, "data", data, old.get("data"))
    elif data is None:
        errors.append(required("data", "data is mandatory"))
    elif not isinstance(data, dict):
        errors.append(required("data", "data must be a valid JSON object"))


def check_workload_status(errors: Errors, obj: Obj, old: Obj, parts: tuple[str, ...] = ()) -> None:
    """The status of a workload: counts are not negative, and parts are not more than the whole.

    Args:
        parts: members of the status that count some of `replicas`.
    """
    status = obj.get("status") or EMPTY
    for name, value in status.items():
        if isinstance(value, int) and not isinstance(value, bool):
            check_nonnegative(errors, f"status.{name}", value)
    replicas, ready = status.get("replicas", 0), status.get("readyReplicas", 0)
    for name in parts:
        if status.get(name, 0) > replicas:
            errors.append(field_invalid(f"status.{name}", status.get(name, 0), _MORE_THAN_ALL))
    if "availableReplicas" in parts and status.get("availableReplicas", 0) > ready:
        whose = "status.readyReplicas" if obj.get("kind") == "StatefulSet" else "readyReplicas"
        errors.append(
            field_invalid("status.availableReplicas", status["availableReplicas"], f"cannot be greater than {whose}")
        )
    before = (old.get("status") or EMPTY).get("collisionCount")
    if before is not None and status.get("collisionCount", 0) < before:
        errors.append(field_invalid("status.collisionCount", status.get("collisionCount", 0), "cannot be decremented"))
