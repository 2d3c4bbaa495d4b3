"""Strategic merge patch: a merge patch that knows from the schema which lists merge, and by which key.

The schema gives each field a patch strategy (`merge`, `replace`, `retainKeys`) and each list of objects that merges a
merge key. The patch may carry directives of its own:

* `$patch: replace` in an object takes the object as it stands; `$patch: delete` empties it, or, in an element of a
  merging list, deletes the element with that key. `$patch: replace` in an element of a list replaces the whole list.
* `$retainKeys: [a, b]` drops all members of the object that are not named.
* `$deleteFromPrimitiveList/finalizers: [x]` takes values out of a list of scalars.
* `$setElementOrder/containers: [{name: b}, {name: a}]` gives the order of the list's elements after the merge.

Elements only the server knows keep their place among the others as well as the order of the patch allows
(k8s.io/apimachinery `util/strategicpatch`, design proposal "preserve order in strategic merge patch").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apiserver.api.scheme import Scheme, Type
from apiserver.api.status import StatusError, bad_request
from apiserver.endpoints.patches.order import interleave, split_by_membership
from apiserver.endpoints.patches.values import copy_value, go_text, go_type, same, unprocessable

__all__ = ["STRATEGIC_MERGE_PATCH", "apply_strategic_merge_patch"]

STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"

_DIRECTIVE = "$patch"
_RETAIN_KEYS = "$retainKeys"
_DELETE_FROM_LIST = "$deleteFromPrimitiveList"
_SET_ELEMENT_ORDER = "$setElementOrder"


def apply_strategic_merge_patch(
    document: dict[str, Any], patch: dict[str, Any], scheme: Scheme, kind: Type
) -> dict[str, Any]:
    """Merge the patch into the document by the schema of the document's kind.

    Raises:
        StatusError: 400 for malformed directives, 422 for lists of lists, 500 where kube-apiserver answers so: list
            elements without their merge key or of mixed types, unknown directives.
    """
    return _merge_objects(document, copy_value(patch), _ObjectSchema(scheme, kind))


@dataclass(frozen=True, slots=True)
class _Member:
    """What the schema says of one member: the schema of its value or element, and how it merges."""

    schema: _ObjectSchema
    merges: bool
    replaces: bool
    key: str


@dataclass(frozen=True, slots=True)
class _ObjectSchema:
    """The schema of an object; `type` is None for a map, whose members have no schema of their own."""

    scheme: Scheme
    type: Type | None

    def member(self, name: str) -> _Member:
        """Look a member up that is an object or a list both in the document and in the patch."""
        if self.type is None:
            raise _failure("merging an object in json but data type is not struct, instead is: map")
        field = self.type.by_json_name.get(name)
        if field is None:
            raise _failure(f'unable to find api field in struct {self.type.short_name} for the json field "{name}"')
        strategies = field.patch_strategy.split(",")
        is_object = field.is_message and not field.is_map
        schema = _ObjectSchema(self.scheme, self.scheme.type(field.type_name) if is_object else None)
        return _Member(schema, "merge" in strategies, "replace" in strategies, field.patch_merge_key)


def _failure(message: str) -> StatusError:
    """A patch kube-apiserver stumbles over: 500 with the plain text of the error."""
    return StatusError(500, "", message)


def _merge_objects(original: dict[str, Any], patch: dict[str, Any], schema: _ObjectSchema) -> dict[str, Any]:
    if _DIRECTIVE in patch:
        return _directed(patch)
    _retain_keys(original, patch)
    _merge_ordered_lists(original, patch, schema)
    for name, value in patch.items():
        if name.startswith(_DELETE_FROM_LIST):
            _delete_from_list(original, _directive_target(name, _DELETE_FROM_LIST), value)
        elif value is None:
            original.pop(name, None)
        else:
            _merge_member(original, name, value, schema)
    return original


def _directed(patch: dict[str, Any]) -> dict[str, Any]:
    directive = patch.pop(_DIRECTIVE)
    if directive == "replace":
        return patch
    if directive == "delete":
        return {}
    raise _unknown_directive(directive, {**patch, _DIRECTIVE: directive})


def _unknown_directive(directive: Any, holder: dict[str, Any]) -> StatusError:
    return _failure(f"unknown patch type: {go_text(directive)} in map: {go_text(holder)}")


def _merge_member(original: dict[str, Any], name: str, value: Any, schema: _ObjectSchema) -> None:
    """Merge one member that the patch sets: by the schema where both sides are objects or lists, else by taking it."""
    present = original.get(name)
    if isinstance(present, dict) and isinstance(value, dict):
        member = schema.member(name)
        original[name] = value if member.replaces else _merge_objects(present, value, member.schema)
    elif isinstance(present, list) and isinstance(value, list):
        original[name] = _merge_list_member(present, value, schema.member(name))
    else:
        _take(original, name, value)


def _take(original: dict[str, Any], name: str, value: Any) -> None:
    """Set a member from the patch alone: without nulls, and without anything that carries a directive."""
    kept = _plain(value)
    if kept is _DROPPED:
        original.pop(name, None)
    else:
        original[name] = kept


_DROPPED = object()


def _plain(value: Any, *, nulls: bool = False) -> Any:
    if isinstance(value, dict):
        if _DIRECTIVE in value:
            return _DROPPED
        plain = {name: _plain(item, nulls=nulls) for name, item in value.items() if nulls or item is not None}
        return {name: item for name, item in plain.items() if item is not _DROPPED}
    if isinstance(value, list):
        return [item for item in (_plain(item, nulls=nulls) for item in value) if item is not _DROPPED]
    return value


def _merge_list_member(original: list[Any], patch: list[Any], member: _Member) -> list[Any]:
    return _merge_lists(original, patch, member) if member.merges else patch


def _retain_keys(original: dict[str, Any], patch: dict[str, Any]) -> None:
    """Drop the members that `$retainKeys` does not name; every member the patch sets must be named."""
    if _RETAIN_KEYS not in patch:
        return
    retained = patch.pop(_RETAIN_KEYS)
    if not isinstance(retained, list):
        raise bad_request("invalid patch format of retainKeys")
    names = {name for name in retained if isinstance(name, str)}
    for name, value in patch.items():
        is_directive = name.startswith((_DELETE_FROM_LIST, _SET_ELEMENT_ORDER))
        if value is not None and not is_directive and name not in names:
            raise bad_request("invalid patch format of retainKeys")
    for name in original.keys() - names:
        del original[name]


def _directive_target(name: str, directive: str) -> str:
    """The member a directive such as `$setElementOrder/containers` is about."""
    prefix, slash, target = name.partition("/")
    if not slash or prefix != directive:
        form = "primitive" if directive == _DELETE_FROM_LIST else "setElementOrder"
        raise bad_request(f"invalid patch format of {form} list")
    return target


def _delete_from_list(original: dict[str, Any], name: str, values: Any) -> None:
    present = original.get(name)
    if values is None:
        original.pop(name, None)
        return
    if not isinstance(present, list) or not isinstance(values, list) or not (present or values):
        return
    if _element_type(present, values) is dict:
        raise _failure("cannot merge lists without merge key for struct")
    original[name] = [item for item in present if item not in values]


def _element_type(*lists: list[Any]) -> type:
    """The one type of all elements of the lists.

    Raises:
        StatusError: 422 for lists of lists; 500 when types differ or there is no element at all.
    """
    types = {type(item) for items in lists for item in items}
    if list in types:
        raise unprocessable()
    if len(types) > 1 or type(None) in types:
        raise _failure(f"list element types are not identical: {go_text(list(lists))}")
    if not types:
        raise _failure("no elements in any of the given slices")
    return types.pop()


def _merge_lists(original: list[Any], patch: list[Any], member: _Member) -> list[Any]:
    """Merge two lists: elements of the patch in its order, the server's own in theirs, interleaved."""
    if not original and not patch:
        return original
    if _element_type(original, patch) is not dict:
        merged = list(dict.fromkeys([*original, *patch]))
        mine, others = split_by_membership(merged, patch, "")
        return interleave(mine, others, patch, original, "")
    if not member.key:
        raise _failure("cannot merge lists without merge key for struct")
    original, patch = _apply_element_directives(original, patch, member.key)
    merged = _merge_elements(original, patch, member)
    mine, others = split_by_membership(merged, patch, member.key)
    return interleave(mine, others, patch, original, member.key)


def _apply_element_directives(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Carry out `$patch` in elements; what is left are the original to merge into and the elements to merge."""
    plain = []
    replace = False
    for element in patch:
        directive = element.get(_DIRECTIVE)
        if _DIRECTIVE not in element:
            plain.append(element)
        elif directive == "delete":
            value = _key_value(element, key)
            original = [item for item in original if key not in item or not same(item[key], value)]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise _failure("merging lists cannot yet be specified in the patch")
        else:
            raise _unknown_directive(directive, element)
    return (plain, []) if replace else (original, plain)


def _key_value(element: dict[str, Any], key: str) -> Any:
    if key not in element:
        raise _failure(f"map: {go_text(element)} does not contain declared merge key: {key}")
    return element[key]


def _merge_elements(original: list[Any], patch: list[Any], member: _Member) -> list[Any]:
    """Merge each element into the first of the same key, or append it."""
    merged = list(original)
    for element in patch:
        value = _key_value(element, member.key)
        for index, candidate in enumerate(merged):
            if member.key in candidate and same(candidate[member.key], value):
                merged[index] = _merge_objects(candidate, element, member.schema)
                break
        else:
            merged.append(element)
    for element in merged:
        _key_value(element, member.key)
    return merged


def _merge_ordered_lists(original: dict[str, Any], patch: dict[str, Any], schema: _ObjectSchema) -> None:
    """Merge the lists that come with `$setElementOrder`, and take both out of the patch."""
    for directive in [name for name in patch if name.startswith(_SET_ELEMENT_ORDER)]:
        order = patch.pop(directive)
        if not isinstance(order, list):
            raise _failure(f"expected a []interface {{}}, but received a {go_type(order)}")
        name = _directive_target(directive, _SET_ELEMENT_ORDER)
        for holder in (original, patch):
            if name in holder and not isinstance(holder[name], list):
                raise _failure(f"expected a []interface {{}}, but received a {go_type(holder[name])}")
        member = schema.member(name)
        before: list[Any] = original.get(name, [])
        changes: list[Any] = patch.get(name, [])
        _check_order(changes, order, member.key)
        if name not in original and name not in patch:
            continue
        if name not in patch:
            merged = before
        elif name not in original:
            merged = _plain(changes, nulls=True)
        else:
            merged = _merge_list_member(list(before), changes, member)
        _element_type(before, changes)
        mine, others = split_by_membership(merged, order, member.key)
        original[name] = interleave(mine, others, order, _server_order(before, changes, member.key), member.key)
        patch.pop(name, None)


def _server_order(before: list[Any], changes: list[Any], key: str) -> list[Any]:
    """The order in which the server is taken to have had the elements.

    Elements that the patch adds count as standing behind the present ones as far as deleted elements have made room,
    which puts server-only elements in front of them; Kubernetes places them so and clients see it.
    """
    if not key:
        return before
    deleted = [element for element in changes if element.get(_DIRECTIVE) == "delete"]
    _, present = split_by_membership(before, deleted, key)
    plain = [element for element in changes if _DIRECTIVE not in element]
    _, added = split_by_membership(plain, present, key)
    return present + added[: len(before) - len(present)]


def _check_order(changes: list[Any], order: list[Any], key: str) -> None:
    """The elements the patch sets must all stand in the order list, and in the same order."""
    if not order or not changes:
        return
    remaining = iter(order)
    for element in changes:
        if isinstance(element, dict) and _DIRECTIVE in element:
            continue
        if key:
            for side in (element, *order):
                if not isinstance(side, dict):
                    raise _failure(f"expected a map[string]interface {{}}, but received a {go_type(side)}")
                _key_value(side, key)
            wanted = element[key]
            found = any(same(entry[key], wanted) for entry in remaining)
        else:
            found = any(same(entry, element) for entry in remaining)
        if not found:
            texts = f"{go_text(changes)}\n doesn't match {_SET_ELEMENT_ORDER} list:\n{go_text(order)}\n"
            raise _failure(f"The order in patch list:\n{texts}")
