"""Admission plugins in order, as one."""

from __future__ import annotations

from collections.abc import Sequence

from apiserver.admission.interface import AdmissionPlugin, Attributes, Operation

__all__ = ["AdmissionChain"]


class AdmissionChain:
    """Has the shape of its parts: asks each plugin that handles the operation, in the order given."""

    name = "chain"

    def __init__(self, plugins: Sequence[AdmissionPlugin]) -> None:
        self.plugins = tuple(plugins)
        self._by_operation = {
            operation: tuple(plugin for plugin in plugins if plugin.handles(operation)) for operation in Operation
        }

    def handles(self, operation: Operation) -> bool:
        """See `AdmissionPlugin.handles`."""
        return bool(self._by_operation[operation])

    async def admit(self, attributes: Attributes) -> None:
        """See `AdmissionPlugin.admit`."""
        for plugin in self._by_operation[attributes.operation]:
            await plugin.admit(attributes)

    async def validate(self, attributes: Attributes) -> None:
        """See `AdmissionPlugin.validate`."""
        for plugin in self._by_operation[attributes.operation]:
            await plugin.validate(attributes)
