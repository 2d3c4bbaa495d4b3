"""Namespaces: born Active with a finalizer of their own, which `/finalize` takes away when they are empty."""

from __future__ import annotations

from typing import Final

from apiserver.api.field_errors import FieldError
from apiserver.api.validation.cluster import check_finalizers, check_namespace_status
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.strategy import Strategy, SubresourceStrategy

__all__ = ["NamespaceStrategy"]

FINALIZER: Final = "kubernetes"


class NamespaceStrategy(Strategy):
    """The strategy of namespaces."""

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """Active, and not to go before its content is gone."""
        obj["status"] = {"phase": "Active"}
        finalizers = obj.setdefault("spec", {}).get("finalizers") or []
        if FINALIZER not in finalizers:
            obj["spec"]["finalizers"] = [*finalizers, FINALIZER]

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        """The finalizers have a subresource of their own."""
        super().prepare_for_update(context, obj, old)
        self.keep(obj.setdefault("spec", {}), old.get("spec") or {}, "finalizers")

    def check(self, context: OperationContext, obj: Object, old: Object | None) -> list[FieldError]:
        """The names of the finalizers."""
        errors: list[FieldError] = []
        check_finalizers(errors, "spec.finalizers", obj["spec"].get("finalizers") or [], indexed=False)
        return errors

    def check_status(self, context: OperationContext, obj: Object, old: Object) -> list[FieldError]:
        """The phase follows the deletion timestamp."""
        errors: list[FieldError] = []
        check_namespace_status(errors, obj)
        return errors

    def subresource(self, name: str) -> Strategy | None:
        """`/finalize` besides `/status`."""
        return _FinalizeStrategy(self) if name == "finalize" else super().subresource(name)


class _FinalizeStrategy(SubresourceStrategy):
    """Writes of `/finalize`: all but the status may change. With the last finalizer the store deletes the object."""

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        self.keep(obj, old, "status")

    def check(self, context: OperationContext, obj: Object, old: Object | None) -> list[FieldError]:
        errors: list[FieldError] = []
        finalizers = (obj.get("spec") or {}).get("finalizers") or []
        check_finalizers(errors, "spec.finalizers", finalizers, indexed=True)
        return errors
