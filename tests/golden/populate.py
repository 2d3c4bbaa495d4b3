"""Deterministic objects of any kind, made from the schema tables: every field set, or a random choice of them."""

from __future__ import annotations

import random
from base64 import b64encode
from typing import Any
from zlib import crc32

from apiserver.api.scheme import Field, Scheme, Type
from apiserver.codec import Codec, Kind


def api_version(kind: Kind) -> str:
    group, version, _ = kind
    return f"{group}/{version}" if group else version


class Populator:
    """Makes objects. Without `chance` every field is set, with it each only sometimes, now and then to its zero.

    `recursion_max` is how often a type may contain itself.
    """

    def __init__(self, scheme: Scheme, chance: random.Random | None = None, recursion_max: int = 1) -> None:
        self._scheme = scheme
        self._chance = chance
        self._recursion_max = recursion_max

    def object(self, kind: Kind) -> dict[str, Any]:
        type_ = self._scheme.type_of(*kind)
        return {"kind": kind[2], "apiVersion": api_version(kind), **self._fields(type_, ())}

    def _fields(self, type_: Type, inside: tuple[str, ...]) -> dict[str, Any]:
        found = {}
        # Objects inside of objects lose their TypeMeta in protobuf.
        has_type_meta = any(field.type_name.endswith(".TypeMeta") for field in type_.fields)
        for name, field in type_.by_json_name.items():
            if name in ("kind", "apiVersion") and has_type_meta:
                continue
            if self._chance is not None and self._chance.random() < 0.5:
                continue
            if field.is_message and inside.count(field.type_name) > self._recursion_max:
                continue
            found[name] = self._value(field, name, (*inside, type_.name))
        return found

    def _value(self, field: Field, name: str, inside: tuple[str, ...]) -> Any:
        if field.is_map:
            keys = [f"{name}Key", f"{name}Kay"] if self._chance else [f"{name}Key"]
            return {key: self._single(field, name, inside) for key in keys}
        if field.repeated:
            count = self._chance.randrange(3) if self._chance else 1
            return [self._single(field, name, inside) for _ in range(count)]
        return self._single(field, name, inside)

    def _single(self, field: Field, name: str, inside: tuple[str, ...]) -> Any:
        number = crc32(name.encode()) % 1000 + 1
        zero = self._chance is not None and self._chance.random() < 0.2
        match field.type_name:
            case "string":
                return "" if zero else field.enum[0] if field.enum else f"{name}Välue"
            case "bool":
                return not zero
            case "int32" | "int64":
                return 0 if zero else -number if number % 7 == 0 else number << (number % 20)
            case "double":
                return 0 if zero else number / 4
            case "bytes":
                return "" if zero else b64encode(name.encode()).decode()
            case "any":
                return name
        return self._message(self._scheme.type(field.type_name), name, number, inside)

    def _message(self, type_: Type, name: str, number: int, inside: tuple[str, ...]) -> Any:
        match type_.json_form:
            case "quantity":
                return f"{number}m" if number % 1000 else "1"
            case "time":
                return f"2024-02-{number % 28 + 1:02}T03:04:{number % 60:02}Z"
            case "microtime":
                return f"2024-02-{number % 28 + 1:02}T03:04:05.{number:06}Z"
            case "duration":
                return f"{number % 59 + 1}.5s"
            case "int-or-string":
                return number if number % 2 else f"{name}Välue"
            case "raw":
                return {
                    "apiVersion": "example.com/v1",
                    "kind": "Custom",
                    "spec": {"replicas": number, "x": [1.5, None]},
                }
            case "strings":
                return [f"{name}Välue"]
            case "schema-or-bool":
                return bool(number % 2)
            case "schema-or-array":
                schema = next(f for f in type_.fields if f.proto_name == "schema")
                deep = inside.count(schema.type_name) > self._recursion_max
                return [{} if deep else self._fields(self._scheme.type(schema.type_name), inside)]
            case "schema-or-strings":
                return [f"{name}Välue"]
        return self._fields(type_, inside)


def canonical(codec: Codec, kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    """The object made canonical, checked to be known to the schema."""
    normalized = codec.normalize(obj, kind, strict=True)
    assert normalized.unknown == [], kind
    return normalized.obj
