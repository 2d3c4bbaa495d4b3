"""Persistent volumes and claims: Pending from the start, with the time of the last phase change."""

from __future__ import annotations

from typing import Any, Final

from apiserver.api.field_errors import FieldError
from apiserver.api.metatime import format_time
from apiserver.api.validation.claims import check_claim, check_claim_status, check_claim_update
from apiserver.api.validation.persistent_volumes import check_persistent_volume
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.checked import CheckedStrategy, Checks
from apiserver.registry.kinds.pod_warnings import warnings_for_claim_spec, warnings_for_selector_term
from apiserver.registry.strategy import Strategy

__all__ = ["PersistentVolumeClaimStrategy", "PersistentVolumeStrategy"]

CLASS_ANNOTATION: Final = "volume.beta.kubernetes.io/storage-class"
OPTIONS_ANNOTATION: Final = "volume.beta.kubernetes.io/mount-options"
_CLASS_TEXT: Final = 'deprecated since v1.8; use "storageClassName" attribute instead'
_OPTIONS_TEXT: Final = 'deprecated since v1.31; use "mountOptions" attribute instead'
_RECYCLE_TEXT: Final = (
    "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning."
)
_DEPRECATED_PLUGINS: Final = {
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
}
_SOURCES_OF_OLD: Final = {("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")}


def _volume_warnings(obj: Object, old: Object | None) -> list[str]:
    annotations, spec = obj["metadata"].get("annotations") or {}, obj["spec"]
    warnings = [
        f"metadata.annotations[{key}]: {text}"
        for key, text in ((CLASS_ANNOTATION, _CLASS_TEXT), (OPTIONS_ANNOTATION, _OPTIONS_TEXT))
        if key in annotations
    ]
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        warnings.append(f"spec.persistentVolumeReclaimPolicy: {_RECYCLE_TEXT}")
    affinity = (spec.get("nodeAffinity") or {}).get("required") or {}
    for index, term in enumerate(affinity.get("nodeSelectorTerms") or ()):
        warnings += warnings_for_selector_term(f"spec.nodeAffinity.required.nodeSelectorTerms[{index}]", term)
    for plugin, text in _DEPRECATED_PLUGINS.items():
        if spec.get(plugin) is not None:
            warnings.append(f"spec.{'storageOS' if plugin == 'storageos' else plugin}: {text}")
    return warnings


def _claim_warnings(obj: Object, old: Object | None) -> list[str]:
    annotations = obj["metadata"].get("annotations") or {}
    warnings = [f"metadata.annotations[{CLASS_ANNOTATION}]: {_CLASS_TEXT}"] if CLASS_ANNOTATION in annotations else []
    return warnings + warnings_for_claim_spec("spec", obj["spec"])


class PersistentVolumeStrategy(CheckedStrategy):
    """The strategy of persistent volumes."""

    checks = Checks(check_persistent_volume, warnings=_volume_warnings)

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """Pending since now."""
        super().prepare_for_create(context, obj)
        obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": _now(context)}

    def prepare_status(self, context: OperationContext, obj: Object, old: Object) -> None:
        """The time of a change of phase, which controllers leave to the server (KEP-3762)."""
        status, before = obj.setdefault("status", {}), old.get("status") or {}
        since, old_since = status.get("lastPhaseTransitionTime"), before.get("lastPhaseTransitionTime")
        if status.get("phase") == before.get("phase"):
            if since is None and old_since is not None:
                status["lastPhaseTransitionTime"] = old_since
        elif since in (None, old_since):
            status["lastPhaseTransitionTime"] = _now(context)


class PersistentVolumeClaimStrategy(Strategy):
    """The strategy of claims. `dataSource` is the older name of `dataSourceRef` (KEP-1495)."""

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """Pending; both names of the source, or none where it is nothing that could be one."""
        super().prepare_for_create(context, obj)
        obj["status"] = {"phase": "Pending"}
        spec = obj["spec"]
        _drop_disabled_reference(spec, {})
        _drop_useless_source(spec, {})
        _mirror_sources(spec)

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        """What a create would not have kept does not come in later either."""
        super().prepare_for_update(context, obj, old)
        _drop_disabled_reference(obj["spec"], old["spec"])
        _drop_useless_source(obj["spec"], old["spec"])

    def check(self, context: OperationContext, obj: Object, old: Object | None) -> list[FieldError]:
        """The rules of a create or an update."""
        errors: list[FieldError] = []
        if old is None:
            check_claim(errors, obj)
        else:
            check_claim_update(errors, obj, _with_both_sources(old))
        return errors

    def check_status(self, context: OperationContext, obj: Object, old: Object) -> list[FieldError]:
        """The rules of a change of status."""
        errors: list[FieldError] = []
        check_claim_status(errors, obj)
        return errors

    def warnings_on_create(self, context: OperationContext, obj: Object) -> list[str]:
        """What is allowed but hardly meant."""
        return _claim_warnings(obj, None)

    def warnings_on_update(self, context: OperationContext, obj: Object, old: Object) -> list[str]:
        """Likewise of a change."""
        return _claim_warnings(obj, old)


def _drop_disabled_reference(spec: Object, before: Object) -> None:
    """References to other namespaces are behind the gate CrossNamespaceVolumeDataSource, which is off."""
    if (spec.get("dataSourceRef") or {}).get("namespace") and before.get("dataSourceRef") is None:
        del spec["dataSourceRef"]


def _drop_useless_source(spec: Object, before: Object) -> None:
    """Before 1.18 other sources were silently ignored, and clients rely on it."""
    if before.get("dataSource") is not None or before.get("dataSourceRef") is not None:
        return
    source = spec.get("dataSource")
    if source is None or spec.get("dataSourceRef") is not None:
        return
    if (source.get("apiGroup") or "", source.get("kind", "")) not in _SOURCES_OF_OLD:
        del spec["dataSource"]


def _mirror_sources(spec: Object) -> None:
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif reference is not None and source is None and not reference.get("namespace"):
        spec["dataSource"] = {name: value for name, value in reference.items() if name != "namespace"}


def _with_both_sources(claim: Object) -> Object:
    """Claims of servers before 1.22 have one name alone."""
    spec: dict[str, Any] = {**claim["spec"]}
    _mirror_sources(spec)
    return {**claim, "spec": spec}


def _now(context: OperationContext) -> str:
    return format_time(int(context.clock.now()))
