"""Does an object belong to a list or a watch: namespace, labels, fields (`SelectionPredicate`)."""

from __future__ import annotations

from apiserver.api.scheme import Resource
from apiserver.api.selectors import FieldSelector, LabelSelector, field_getter
from apiserver.storage.entries import Entry

__all__ = ["Selection"]


class Selection:
    """A predicate over entries of one resource, asking the cheapest question first.

    Name and namespace come from the key, labels from a few bytes of the stored message; only other fields need the
    decoded object.

    Attributes:
        everything: no selector was given; the namespace, which is part of the key, may still narrow.
        namespace, name: the one that is possible, or empty.
    """

    __slots__ = ("_fields", "_labels", "_names", "_resource", "everything", "name", "namespace")

    def __init__(
        self, resource: Resource, namespace: str, labels: LabelSelector | None, fields: FieldSelector | None
    ) -> None:
        self._resource = resource
        self._labels = labels if labels is not None and not labels.empty else None
        terms = fields.requirements if fields is not None else ()
        self._names = tuple(term for term in terms if term.field in ("metadata.name", "metadata.namespace"))
        others = tuple(term for term in terms if term not in self._names)
        self._fields = FieldSelector(others) if others else None
        self.everything = self._labels is None and not terms
        self.name = (fields.exact("metadata.name") if fields is not None else None) or ""
        self.namespace = ""
        if resource.namespaced:
            self.namespace = namespace or (fields.exact("metadata.namespace") if fields is not None else None) or ""

    def exact_field(self, field: str) -> str | None:
        """The value the selector requires of a field, for looking it up in an index."""
        return self._fields.exact(field) if self._fields is not None else None

    def matches(self, entry: Entry) -> bool:
        """Whether the entry is selected; its namespace is looked at too."""
        if self.namespace and entry.namespace != self.namespace:
            return False
        return self.everything or self._selected(entry)

    def _selected(self, entry: Entry) -> bool:
        for term in self._names:
            value = entry.name if term.field == "metadata.name" else entry.namespace
            if (value == term.value) != (term.operator == "="):
                return False
        if self._labels is not None and not self._labels.matches(entry.labels):
            return False
        if self._fields is None:
            return True
        return self._fields.matches(field_getter(self._resource, entry.view(self._resource)))
