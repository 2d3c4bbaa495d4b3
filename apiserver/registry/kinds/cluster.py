"""Nodes, limit ranges, and events: kinds that are about the cluster rather than what runs in it."""

from __future__ import annotations

from apiserver.api.field_errors import FieldError
from apiserver.api.validation.cluster import check_limit_range, check_node
from apiserver.api.validation.events import check_core_event, check_event
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.checked import CheckedStrategy, Checks
from apiserver.registry.kinds.ip_warnings import warnings_for_cidr
from apiserver.registry.strategy import Strategy

__all__ = ["EventStrategy", "LimitRangeStrategy", "NodeStrategy"]


def _node_warnings(obj: Object, old: Object | None) -> list[str]:
    spec = obj.get("spec") or {}
    warnings = []
    if spec.get("configSource") is not None:
        warnings.append("spec.configSource: the feature is no longer supported")
    if spec.get("externalID"):
        warnings.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
    for index, cidr in enumerate(spec.get("podCIDRs") or ()):
        warnings += warnings_for_cidr(f"spec.podCIDRs[{index}]", cidr)
    return warnings


class NodeStrategy(CheckedStrategy):
    """The strategy of nodes. A kubelet registers its node with a status."""

    checks = Checks(check_node, check_node, _node_warnings)

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """Nothing is the server's alone."""


class LimitRangeStrategy(CheckedStrategy):
    """The strategy of limit ranges, which need no name."""

    checks = Checks(lambda errors, obj, old: check_limit_range(errors, obj))

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """A name for one that has none."""
        super().prepare_for_create(context, obj)
        if not obj["metadata"].get("name"):
            obj["metadata"]["name"] = context.randomness.uuid4()


class EventStrategy(Strategy):
    """The strategy of events, in both of their groups: they do not last."""

    def check(self, context: OperationContext, obj: Object, old: Object | None) -> list[FieldError]:
        """The rules of the older group are laxer."""
        errors: list[FieldError] = []
        if self.resource.group:
            check_event(errors, obj, old)
        else:
            check_core_event(errors, obj, old)
        return errors

    def ttl_seconds(self, obj: Object) -> int:
        """--event-ttl."""
        return self.shared.options.event_ttl_seconds
