"""Priority classes, runtime classes and classes of storage."""

from __future__ import annotations

from apiserver.api.validation.classes import check_priority_class, check_runtime_class
from apiserver.api.validation.storage import check_csi_storage_capacity, check_storage_class
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.checked import CheckedStrategy, Checks, checked
from apiserver.registry.kinds.pod_warnings import deprecated_node_label, warnings_for_selector_term

__all__ = [
    "CSIStorageCapacityStrategy",
    "PriorityClassStrategy",
    "RuntimeClassStrategy",
    "StorageClassStrategy",
]


def _runtime_class_warnings(obj: Object, old: Object | None) -> list[str]:
    selector = (obj.get("scheduling") or {}).get("nodeSelector") or {}
    texts = [deprecated_node_label(key) for key in selector]
    return [f"scheduling.nodeSelector: {text}" for text in texts if text]


def _storage_class_warnings(obj: Object, old: Object | None) -> list[str]:
    warnings = []
    for index, term in enumerate(obj.get("allowedTopologies") or ()):
        for place, expression in enumerate(term.get("matchLabelExpressions") or ()):
            text = deprecated_node_label(expression.get("key", ""))
            if text:
                warnings.append(f"allowedTopologies[{index}].matchLabelExpressions[{place}].key: {text}")
    return warnings


def _capacity_warnings(obj: Object, old: Object | None) -> list[str]:
    topology = obj.get("nodeTopology") or {}
    warnings = list(warnings_for_selector_term("nodeTopology", topology))
    for key in topology.get("matchLabels") or ():
        text = deprecated_node_label(key)
        if text:
            warnings.append(f"nodeTopology.matchLabels.{key}: {text}")
    return warnings


class PriorityClassStrategy(CheckedStrategy):
    """The strategy of priority classes: what could change has no generation, yet all have one."""

    checks = Checks(check_priority_class)

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """The only generation there is."""
        obj["metadata"]["generation"] = 1


RuntimeClassStrategy = checked(check_runtime_class, warnings=_runtime_class_warnings)
StorageClassStrategy = checked(check_storage_class, warnings=_storage_class_warnings)
CSIStorageCapacityStrategy = checked(check_csi_storage_capacity, warnings=_capacity_warnings)
