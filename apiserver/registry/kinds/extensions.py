"""Custom resource definitions and API services.

What a CRD's status says beyond the stored versions (accepted names, Established) is for whoever serves the custom
resources to write: until then a client must not believe that they are served.
"""

from __future__ import annotations

from apiserver.api.metatime import format_time
from apiserver.api.validation.api_services import (
    api_service_name_rule,
    check_api_service,
    check_api_service_status,
)
from apiserver.api.validation.custom_resources import (
    check_custom_resource,
    check_custom_resource_status,
    custom_resource_name_rule,
)
from apiserver.api.validation.names import NameRule
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.checked import CheckedStrategy, Checks

__all__ = ["APIServiceStrategy", "CustomResourceDefinitionStrategy"]


class CustomResourceDefinitionStrategy(CheckedStrategy):
    """The strategy of definitions: the versions that objects may be stored in are remembered."""

    checks = Checks(check_custom_resource, check_custom_resource_status)

    def name_rule(self, obj: Object) -> str | NameRule:
        """The name says what is defined."""
        return custom_resource_name_rule(obj)

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """Only the storage version has been stored so far."""
        super().prepare_for_create(context, obj)
        _remember_storage_version(obj)

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        """A new storage version joins those there may be objects of."""
        super().prepare_for_update(context, obj, old)
        _remember_storage_version(obj)


def _remember_storage_version(definition: Object) -> None:
    status = definition.get("status") or {}
    stored = status.get("storedVersions") or []
    for version in definition["spec"].get("versions") or ():
        if version.get("storage"):
            if version["name"] not in stored:
                definition["status"] = {**status, "storedVersions": [*stored, version["name"]]}
            return


class APIServiceStrategy(CheckedStrategy):
    """The strategy of API services: those without a Service are served by this process, and so available."""

    checks = Checks(check_api_service, check_api_service_status)

    def name_rule(self, obj: Object) -> str | NameRule:
        """The name says what is served."""
        return api_service_name_rule(obj)

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """Say so at once."""
        super().prepare_for_create(context, obj)
        if obj["spec"].get("service") is None:
            obj["status"] = {
                "conditions": [
                    {
                        "type": "Available",
                        "status": "True",
                        "lastTransitionTime": format_time(int(context.clock.now())),
                        "reason": "Local",
                        "message": "Local APIServices are always available",
                    }
                ]
            }
