"""Pods: Pending with a quality of service from the start, deleted gracefully, changed mostly through subresources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from apiserver.api.field_errors import FieldError
from apiserver.api.metatime import format_time
from apiserver.api.validation.names import dns_label_problems
from apiserver.api.validation.pod_changes import (
    check_ephemeral_update,
    check_pod_create,
    check_pod_resize,
    check_pod_status,
    check_pod_update,
)
from apiserver.api.validation.pod_resources import qos_class
from apiserver.api.validation.pods import all_containers
from apiserver.api.validation.security import check_apparmor
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.pod_level_resources import default_pod_level_resources, keep_pod_level_resources
from apiserver.registry.kinds.pod_warnings import warnings_for_pod
from apiserver.registry.strategy import Strategy, SubresourceStrategy

__all__ = ["PodStrategy"]

APPARMOR_ANNOTATION: Final = "container.apparmor.security.beta.kubernetes.io/"
_FINISHED_PHASES: Final = frozenset({"Failed", "Succeeded"})
_APPARMOR_TYPES: Final = {"runtime/default": "RuntimeDefault", "unconfined": "Unconfined"}
_LABEL_KEY_OPERATORS: Final = (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))


class PodStrategy(Strategy):
    """The strategy of pods."""

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """A new pod is Pending, and what its labels say is merged into the selectors that ask for it."""
        obj["metadata"]["generation"] = 1
        spec = obj["spec"]
        default_pod_level_resources(spec)
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
        if spec.get("schedulingGates"):
            obj["status"]["conditions"] = [_gated(context)]
        labels = obj["metadata"].get("labels") or {}
        for term in _affinity_terms(spec):
            _merge_label_keys(term, labels)
        for constraint in spec.get("topologySpreadConstraints") or ():
            _merge_label_keys(constraint, labels)
        if any(key.startswith(APPARMOR_ANNOTATION) for key in obj["metadata"].get("annotations") or ()):
            _apply_apparmor_annotations(context, obj)

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        """Resources of the pod as a whole are not lost."""
        keep_pod_level_resources(obj["spec"], old["spec"])
        super().prepare_for_update(context, obj, old)

    def check(self, context: OperationContext, obj: Object, old: Object | None) -> list[FieldError]:
        """The rules of a create or an update."""
        errors: list[FieldError] = []
        if old is None:
            check_pod_create(errors, obj)
        else:
            check_pod_update(errors, obj, old)
        return errors

    def warnings_on_create(self, context: OperationContext, obj: Object) -> list[str]:
        """What is allowed but will surprise. Updates, mostly by machines, get none."""
        warnings = []
        problems = dns_label_problems(obj["metadata"]["name"])
        if problems:
            warnings.append(
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
                f"a DNS label is recommended: [{' '.join(problems)}]"
            )
        return warnings + warnings_for_pod(obj)

    def check_graceful_delete(self, context: OperationContext, obj: Object, options: dict[str, Any]) -> bool:
        """A kubelet needs time; where none is involved, there is none to wait for."""
        spec = obj["spec"]
        period = options.get("gracePeriodSeconds")
        if period is None:
            period = spec.get("terminationGracePeriodSeconds") or 0
        if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in _FINISHED_PHASES:
            period = 0
        options["gracePeriodSeconds"] = period if period >= 0 else 1
        return True

    def prepare_status(self, context: OperationContext, obj: Object, old: Object) -> None:
        """Old kubelets leave out what they do not know."""
        status, before = obj.setdefault("status", {}), old.get("status") or {}
        if not status.get("qosClass") and before.get("qosClass"):
            status["qosClass"] = before["qosClass"]
        if not status.get("observedGeneration") and before.get("observedGeneration"):
            status["observedGeneration"] = before["observedGeneration"]
        known: dict[str, list[int]] = {}  # a list each, since several conditions may have the same type
        for condition in before.get("conditions") or ():
            known.setdefault(condition.get("type", ""), []).append(condition.get("observedGeneration", 0))
        for condition in status.get("conditions") or ():
            generations = known.get(condition.get("type", ""))
            generation = generations.pop(0) if generations else 0
            if generation and not condition.get("observedGeneration"):
                condition["observedGeneration"] = generation

    def check_status(self, context: OperationContext, obj: Object, old: Object) -> list[FieldError]:
        """The rules of a change of status."""
        errors: list[FieldError] = []
        check_pod_status(errors, obj, old)
        return errors

    def subresource(self, name: str) -> Strategy | None:
        """`/ephemeralcontainers` and `/resize` besides `/status`."""
        match name:
            case "ephemeralcontainers":
                return _EphemeralContainersStrategy(self)
            case "resize":
                return _ResizeStrategy(self)
        return super().subresource(name)


class _EphemeralContainersStrategy(SubresourceStrategy):
    """Writes of `/ephemeralcontainers`: nothing else changes (KEP-277)."""

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        given = (obj.get("spec") or {}).get("ephemeralContainers")
        self.keep(obj, old, "status")
        self.keep_metadata(obj, old)
        obj["spec"] = {name: value for name, value in old["spec"].items() if name != "ephemeralContainers"}
        if given:
            obj["spec"]["ephemeralContainers"] = given
        self.count_generation(obj, old)

    def check(self, context: OperationContext, obj: Object, old: Object | None) -> list[FieldError]:
        assert old is not None, "a subresource does not create"
        return check_ephemeral_update([], obj, old)


class _ResizeStrategy(SubresourceStrategy):
    """Writes of `/resize`: resources and resize policies of containers, resources of the pod (KEP-1287)."""

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        spec, before = obj["spec"], old["spec"]
        if all(len(spec.get(lists) or ()) == len(before.get(lists) or ()) for lists in _CONTAINER_LISTS):
            self._keep_all_but_resources(obj, old)
        keep_pod_level_resources(obj["spec"], before)
        default_pod_level_resources(obj["spec"])
        self.count_generation(obj, old)

    def _keep_all_but_resources(self, obj: Object, old: Object) -> None:
        """Not where containers come, go or change places: validation has to see that."""
        spec = obj["spec"]
        kept: Object = {**old["spec"]}
        self.keep(kept, spec, "resources")
        for name in _CONTAINER_LISTS:
            containers, before = spec.get(name) or [], kept.get(name) or []
            if [each.get("name") for each in containers] != [each.get("name") for each in before]:
                kept[name] = containers
            elif containers:
                kept[name] = [_with_resources(was, each) for was, each in zip(before, containers, strict=True)]
        obj["spec"] = kept
        self.keep(obj, old, "status")
        self.keep_metadata(obj, old)

    def check(self, context: OperationContext, obj: Object, old: Object | None) -> list[FieldError]:
        assert old is not None, "a subresource does not create"
        return check_pod_resize([], obj, old)


_CONTAINER_LISTS: Final = ("containers", "initContainers")


def _with_resources(before: Object, container: Object) -> Object:
    kept = {name: value for name, value in before.items() if name not in ("resources", "resizePolicy")}
    for name in ("resources", "resizePolicy"):
        if name in container:
            kept[name] = container[name]
    return kept


def _gated(context: OperationContext) -> Object:
    return {
        "type": "PodScheduled",
        "status": "False",
        "lastProbeTime": None,
        "lastTransitionTime": format_time(int(context.clock.now())),
        "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
    }


def _affinity_terms(spec: Object) -> Iterator[Object]:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind) or {}
        for weighted in terms.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            yield weighted.get("podAffinityTerm") or {}
        yield from terms.get("requiredDuringSchedulingIgnoredDuringExecution") or ()


def _merge_label_keys(owner: Object, labels: dict[str, str]) -> None:
    """Values of the pod's own labels become requirements (KEP-3243, KEP-3633). No selector matches nothing anyway."""
    selector = owner.get("labelSelector")
    if selector is None:
        return
    merged = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for member, operator in _LABEL_KEY_OPERATORS
        for key in owner.get(member) or ()
        if key in labels
    ]
    if merged:
        owner["labelSelector"] = {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *merged]}


def _apply_apparmor_annotations(context: OperationContext, pod: Object) -> None:
    """Annotations of before 1.30 become the fields that replaced them (KEP-24)."""
    spec, annotations = pod["spec"], pod["metadata"]["annotations"]
    if (spec.get("os") or {}).get("name") == "windows":
        return
    of_pod = (spec.get("securityContext") or {}).get("appArmorProfile")
    for _, container in all_containers(spec, "spec"):
        key = APPARMOR_ANNOTATION + container.get("name", "")
        security = container.get("securityContext") or {}
        if key not in annotations or security.get("appArmorProfile") is not None:
            continue
        profile = _apparmor_profile(annotations[key])
        if profile is not None and profile != of_pod:
            container["securityContext"] = {**security, "appArmorProfile": profile}
        elif profile is not None:
            continue
        context.warn(
            f'metadata.annotations[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead',
        )


def _apparmor_profile(annotation: str) -> Object | None:
    """The profile an annotation stands for; None for one that stands for none."""
    if annotation.startswith("localhost/"):
        profile: Object = {"type": "Localhost", "localhostProfile": annotation.removeprefix("localhost/")}
    elif annotation in _APPARMOR_TYPES:
        profile = {"type": _APPARMOR_TYPES[annotation]}
    else:
        return None
    errors: list[FieldError] = []
    check_apparmor(errors, "", profile)
    return None if errors else profile
