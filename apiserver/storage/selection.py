"""Does an object belong to a list or a watch: namespace, labels, fields (`SelectionPredicate`)."""

from __future__ import annotations

from collections.abc import Callable

from apiserver.api.scheme import Resource
from apiserver.api.selectors import FieldRequirement, FieldSelector, LabelSelector, field_getter
from apiserver.storage.entries import Entry

__all__ = ["Selection"]

Test = Callable[[Entry], bool]


class Selection:
    """A predicate over entries of one resource, asking the cheapest question first.

    Name and namespace come from the key, labels from a few bytes of the stored message; only other fields need the
    decoded object.

    Attributes:
        everything: no selector was given; the namespace, which is part of the key, may still narrow.
        namespace, name: the one that is possible, or empty.
        selects: whether the selectors let an entry pass; the namespace of the request is not looked at.
        matches: the same with the namespace.
    """

    __slots__ = ("_fields", "everything", "matches", "name", "namespace", "selects")

    def __init__(
        self, resource: Resource, namespace: str, labels: LabelSelector | None, fields: FieldSelector | None
    ) -> None:
        terms = fields.requirements if fields is not None else ()
        names = tuple(term for term in terms if term.field in ("metadata.name", "metadata.namespace"))
        others = tuple(term for term in terms if term not in names)
        self._fields = FieldSelector(others) if others else None
        self.name = (fields.exact("metadata.name") if fields is not None else None) or ""
        self.namespace = ""
        if resource.namespaced:
            self.namespace = namespace or (fields.exact("metadata.namespace") if fields is not None else None) or ""
        tests: list[Test] = [_name_test(term) for term in names]
        if labels is not None and not labels.empty:
            tests.append(_label_test(labels))
        if self._fields is not None:
            tests.append(_field_test(resource, self._fields))
        self.everything = not tests
        self.selects: Test = _all_of(tests)
        self.matches: Test = _all_of([_namespace_test(self.namespace), *tests]) if self.namespace else self.selects

    def exact_field(self, field: str) -> str | None:
        """The value the selector requires of a field, for looking it up in an index."""
        return self._fields.exact(field) if self._fields is not None else None


def _all_of(tests: list[Test]) -> Test:
    if not tests:
        return lambda entry: True
    first, rest = tests[0], tests[1:]
    if not rest:
        return first
    others = _all_of(rest)
    return lambda entry: first(entry) and others(entry)


def _namespace_test(namespace: str) -> Test:
    return lambda entry: entry.namespace == namespace


def _name_test(term: FieldRequirement) -> Test:
    value, wanted = term.value, term.operator == "="
    if term.field == "metadata.name":
        return lambda entry: (entry.name == value) is wanted
    return lambda entry: (entry.namespace == value) is wanted


def _label_test(selector: LabelSelector) -> Test:
    test = selector.matcher()
    return lambda entry: test(entry.labels)


def _field_test(resource: Resource, selector: FieldSelector) -> Test:
    return lambda entry: selector.matches(field_getter(resource, entry.view(resource)))
