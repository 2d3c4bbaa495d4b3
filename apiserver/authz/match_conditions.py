"""CEL expressions that say which requests a webhook is asked about (k8s.io/apiserver `authorization/cel`).

An expression is compiled twice by cel-expr-python. Once against the types of a SubjectAccessReview's spec, given as
protobuf messages, so that a wrong field or type is found when the configuration is read; and once without types for
evaluation over plain dicts, where a member that is not there is an error and not an empty value, as in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings
from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2

__all__ = ["CONDITIONS_MAX", "ConditionError", "MatchConditions", "MatchError"]

CONDITIONS_MAX: Final = 64
_VARIABLE: Final = "request"
_PACKAGE: Final = "authorization.review"
_STRINGS: Final = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
_LIST_VALUE: Final = f".{struct_pb2.ListValue.DESCRIPTOR.full_name}"
_MESSAGES: Final[Mapping[str, Mapping[str, str]]] = {
    # message: field: type, * for a list
    "Requirement": {"key": "string", "operator": "string", "values": "*string"},
    "Selector": {"rawSelector": "string", "requirements": "*Requirement"},
    "ResourceAttributes": {
        **dict.fromkeys(_STRINGS, "string"),
        "fieldSelector": "Selector",
        "labelSelector": "Selector",
    },
    "NonResourceAttributes": {"path": "string", "verb": "string"},
    "Spec": {
        "user": "string",
        "uid": "string",
        "groups": "*string",
        "resourceAttributes": "ResourceAttributes",
        "nonResourceAttributes": "NonResourceAttributes",
    },
}


class ConditionError(ValueError):
    """An expression that cannot be used; the text says what is wrong where."""


class MatchError(Exception):
    """No condition is false, and at least one has no value for this request."""


class MatchConditions:
    """All of them must be true.

    Args:
        expressions: as configured.

    Raises:
        ConditionError: the first expression that does not compile or is no boolean.
    """

    def __init__(self, expressions: Sequence[str]) -> None:
        self._conditions = [(text, _compiled(text)) for text in expressions]

    def match(self, spec: Mapping[str, Any]) -> bool:
        """Whether a review with this spec (v1) is to be asked.

        Raises:
            MatchError: it cannot be told.
        """
        request = _complete(spec)
        failures = []
        for text, condition in self._conditions:
            result = condition.eval(data={_VARIABLE: request})
            kind = result.type()
            if kind == cel.Type.BOOL:
                if not result.value():
                    return False
            else:
                detail = _readable(str(result.value())) if kind == cel.Type.ERROR else f"it is of type {kind.name()}"
                failures.append(f"cel evaluation error: expression '{text}' resulted in error: {detail}")
        if failures:
            raise MatchError("; ".join(failures))
        return True


def _compiled(text: str) -> Any:
    checking, evaluating = _environments()
    try:
        checked = checking.compile(text)
    except RuntimeError as error:
        raise ConditionError(f"compilation failed: {_readable(str(error))}") from None
    if checked.return_type() != cel.Type.BOOL:
        raise ConditionError(f"must evaluate to bool but got {checked.return_type().name().lower()}")
    return evaluating.compile(text)


@cache
def _environments() -> tuple[Any, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(_review_file().SerializeToString())
    extensions = [ext_strings.ExtStrings(), ext_optional.ExtOptional()]
    typed = {_VARIABLE: cel.Type(f"{_PACKAGE}.Spec")}
    untyped = {_VARIABLE: cel.Type.Map(cel.Type.STRING, cel.Type.DYN)}
    return (
        cel.NewEnv(descriptor_pool=pool, variables=typed, extensions=extensions),
        cel.NewEnv(variables=untyped, extensions=extensions),
    )


def _review_file() -> descriptor_pb2.FileDescriptorProto:
    """The types of a review's spec. `extra` is a map to lists, which protobuf has as a well-known type alone."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="authorization/review.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.append(struct_pb2.DESCRIPTOR.name)
    for title, members in _MESSAGES.items():
        message = file.message_type.add(name=title)
        for number, (name, kind) in enumerate(members.items(), 1):
            label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
            added = message.field.add(name=name, number=number, label=label, type=field.TYPE_STRING)
            if not kind.endswith("string"):
                added.type, added.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind.lstrip('*')}"
    spec = file.message_type[-1]
    entry = spec.nested_type.add(name="ExtraEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING)
    value = entry.field.add(name="value", number=2, label=field.LABEL_OPTIONAL, type=field.TYPE_MESSAGE)
    value.type_name = _LIST_VALUE
    extra = spec.field.add(name="extra", number=20, label=field.LABEL_REPEATED, type=field.TYPE_MESSAGE)
    extra.type_name = f".{_PACKAGE}.Spec.ExtraEntry"
    return file


def _complete(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with every member that an expression may count on."""
    request: dict[str, Any] = {"user": "", "uid": "", "groups": [], "extra": {}, **spec}
    if "resourceAttributes" in spec:
        request["resourceAttributes"] = {**dict.fromkeys(_STRINGS, ""), **spec["resourceAttributes"]}
    if "nonResourceAttributes" in spec:
        request["nonResourceAttributes"] = {"path": "", "verb": "", **spec["nonResourceAttributes"]}
    return request


def _readable(text: str) -> str:
    text = text.removeprefix("INVALID_ARGUMENT: ").removeprefix("NOT_FOUND: ")
    return text.removesuffix(" [INVALID_ARGUMENT]").strip()
