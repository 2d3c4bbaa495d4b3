"""Which printer a kind has: one table put together from the modules of the API groups."""

from __future__ import annotations

from typing import Any

from apiserver.api.scheme import Column
from apiserver.endpoints.tables import (
    admission,
    apps,
    autoscaling,
    batch,
    certificates,
    control_plane,
    core,
    core_nodes,
    core_pods,
    core_volumes,
    devices,
    events,
    lifecycle,
    networking,
    rbac,
    scheduling,
    storage,
)
from apiserver.endpoints.tables.cells import Object, Printer, PrinterTable
from apiserver.endpoints.tables.durations import Now

__all__ = ["DEFAULT_PRINTER", "PRINTERS", "printer_for"]

_MODULES = (
    admission,
    apps,
    autoscaling,
    batch,
    certificates,
    control_plane,
    core,
    core_nodes,
    core_pods,
    core_volumes,
    devices,
    events,
    lifecycle,
    networking,
    rbac,
    scheduling,
    storage,
)

PRINTERS: PrinterTable = {kind: printer for module in _MODULES for kind, printer in module.PRINTERS.items()}


def _name_and_creation_time(obj: Object, now: Now) -> list[Any]:
    metadata = obj["metadata"]
    return [metadata.get("name", ""), metadata.get("creationTimestamp") or "0001-01-01T00:00:00Z"]


DEFAULT_PRINTER = Printer(
    _name_and_creation_time,
    columns=(
        Column("Name", "string", "name", how="metadata.name"),
        Column("Created At", "date", how="metadata.creationTimestamp"),
    ),
)


def printer_for(group: str, kind: str) -> Printer:
    """The printer of a kind; the default one, for the columns Name and Created At, when it has none of its own."""
    return PRINTERS.get((group, kind), DEFAULT_PRINTER)
