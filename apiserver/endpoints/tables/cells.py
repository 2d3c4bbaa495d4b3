"""What the cells of many kinds are made of.

Objects come as Kubernetes prints them, so every optional member may be missing and lists may be null; the helpers
here take that in their stride.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apiserver.api.label_selectors import SelectorError, label_selector_from_object
from apiserver.api.scheme import Column
from apiserver.endpoints.tables.durations import Now

__all__ = [
    "NONE",
    "UNSET",
    "CellFunction",
    "Object",
    "Printer",
    "PrinterTable",
    "age",
    "condition_status",
    "container_names_and_images",
    "first_few",
    "is_true",
    "kind_and_name",
    "label_text",
    "name_and_age",
    "selector_text",
]

NONE = "<none>"
UNSET = "<unset>"

Object = Mapping[str, Any]
CellFunction = Callable[[Object, Now], list[Any]]


@dataclass(frozen=True, slots=True)
class Printer:
    """How the objects of one kind become rows.

    Attributes:
        cells: the cells of a row, in the order of the kind's columns.
        conditions: the row's conditions, which let clients hide finished objects.
        sort_key: the order of the rows of a list, where it is not that of the list.
        for_list: makes the cell function for the objects of one list, for cells that depend on the others.
        columns: of the kind, where they are not those in the schema tables; as custom resources have.
    """

    cells: CellFunction
    conditions: Callable[[Object], list[dict[str, str]]] | None = None
    sort_key: Callable[[Object], Any] | None = None
    for_list: Callable[[Sequence[Object]], CellFunction] | None = None
    columns: tuple[Column, ...] = ()


PrinterTable = dict[tuple[str, str], Printer]


def age(obj: Object, now: Now) -> str:
    """How long ago the object was created."""
    return now.age(obj["metadata"].get("creationTimestamp"))


def name_and_age(obj: Object, now: Now) -> list[Any]:
    """The whole row of kinds that have nothing more to show."""
    metadata = obj["metadata"]
    return [metadata.get("name", ""), now.age(metadata.get("creationTimestamp"))]


def label_text(labels: Mapping[str, str] | None) -> str:
    """`a=1,b=2`, sorted, or `<none>`."""
    if not labels:
        return NONE
    return ",".join(sorted(f"{key}={value}" for key, value in labels.items()))


def selector_text(selector: Mapping[str, Any] | None, *, empty: str = NONE, invalid: str = "<error>") -> str:
    """A label selector as text (`metav1.FormatLabelSelector`)."""
    if not selector:
        return empty
    try:
        return str(label_selector_from_object(selector)) or empty
    except SelectorError:
        return invalid


def container_names_and_images(template: Mapping[str, Any] | None) -> list[str]:
    """The names and the images of a pod template's containers, each joined by comma."""
    spec = (template or {}).get("spec") or {}
    containers = spec.get("containers") or ()
    names = ",".join(container.get("name", "") for container in containers)
    return [names, ",".join(container.get("image", "") for container in containers)]


def first_few(items: Sequence[str], *, limit: int = 3, separator: str = ",", empty: str = UNSET) -> str:
    """`a,b,c + 2 more...`"""
    if not items:
        return empty
    text = separator.join(items[:limit])
    return f"{text} + {len(items) - limit} more..." if len(items) > limit else text or empty


def condition_status(conditions: Iterable[Mapping[str, Any]] | None, kind: str) -> str | None:
    """The status of the first condition of that type, None when there is none."""
    for condition in conditions or ():
        if condition.get("type") == kind:
            status: str = condition.get("status", "")
            return status
    return None


def is_true(conditions: Iterable[Mapping[str, Any]] | None, kind: str) -> bool:
    """Whether the first condition of that type is True."""
    return condition_status(conditions, kind) == "True"


def kind_and_name(reference: Mapping[str, Any] | None) -> str:
    """`Kind/name` of a reference."""
    reference = reference or {}
    return f"{reference.get('kind', '')}/{reference.get('name', '')}"
