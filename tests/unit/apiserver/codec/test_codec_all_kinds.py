"""Every kind of the scheme through every way of the codec, with the protobuf runtime as oracle for the wire format."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from apiserver.api.scheme import Scheme
from apiserver.codec import Codec, DecodeError, Kind
from apiserver.codec.explain import Explainer
from apiserver.codec.reference import ReferenceDecoder, ReferenceEncoder
from apiserver.codec.streams import split_envelope

SEEDS = range(2)
# FieldDescriptorProto.Type of the scalars.
RUNTIME_TYPES = {"string": 9, "bool": 8, "int32": 5, "int64": 3, "bytes": 12, "double": 1}


def kinds_with_messages(scheme: Scheme) -> list[Kind]:
    return [kind for kind in scheme.kinds() if not scheme.type_of(*kind).json_only]


class Runtime:
    """Message classes of the protobuf runtime, from descriptors made of the tables (proto2: presence is kept)."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._file = descriptor_pb2.FileDescriptorProto(name="all.proto", syntax="proto2")
        self._seen: set[str] = set()
        for kind in scheme.kinds():
            self._add(scheme.type_of(*kind).name)
        self._pool = descriptor_pool.DescriptorPool()
        self._pool.AddSerializedFile(self._file.SerializeToString())

    def message(self, type_name: str) -> Any:
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(type_name.replace(".", "_")))()

    def _add(self, type_name: str) -> None:
        if type_name in self._seen:
            return
        self._seen.add(type_name)
        message = self._file.message_type.add(name=type_name.replace(".", "_"))
        for field in self._scheme.type(type_name).fields:
            if field.number is None:
                continue
            holder, number, label = message, field.number, 3 if field.repeated or field.is_map else 1
            name = f"f{number}"
            if field.is_map:
                entry = message.nested_type.add(name=f"F{number}Entry")
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, label=1, type=9)
                message.field.add(
                    name=name, number=number, label=3, type=11
                ).type_name = f".{message.name}.F{number}Entry"
                holder, number, label, name = entry, 2, 1, "value"
            added = holder.field.add(name=name, number=number, label=label)
            if field.is_message:
                self._add(field.type_name)
                added.type, added.type_name = 11, "." + field.type_name.replace(".", "_")
            else:
                added.type = RUNTIME_TYPES[field.type_name]


@pytest.fixture(scope="module")
def runtime(scheme: Scheme) -> Runtime:
    return Runtime(scheme)


@pytest.fixture(scope="module")
def codec(scheme: Scheme) -> Iterator[Codec]:
    """A codec that compiles at once, so that it is the generated code that is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apiserver.codec.encoder.COMPILED_AFTER", 0)
        patch.setattr("apiserver.codec.decoder.COMPILED_AFTER", 0)
        yield Codec(scheme)


@pytest.fixture(scope="module")
def objects(scheme: Scheme, codec: Codec, populate: ModuleType) -> list[tuple[Kind, dict[str, Any]]]:
    """Canonical objects of every kind: one with every field, some with a random choice."""
    found = []
    for kind in kinds_with_messages(scheme):
        for chance in [None, *(random.Random(f"{seed} {kind}") for seed in SEEDS)]:
            obj = populate.Populator(scheme, chance).object(kind)
            found.append((kind, populate.canonical(codec, kind, obj)))
    return found


def test_round_trip(codec: Codec, objects: list[tuple[Kind, dict[str, Any]]]) -> None:
    for kind, obj in objects:
        stored = codec.to_storage(obj)
        assert codec.from_storage(stored) == obj, kind
        assert codec.to_storage(codec.from_storage(stored)) == stored, kind
        assert codec.decode_body(kind, codec.encode_body(kind, obj)) == obj, kind


def test_canonical_objects_stay_as_they_are(codec: Codec, objects: list[tuple[Kind, dict[str, Any]]]) -> None:
    for kind, obj in objects:
        again = codec.normalize(copy.deepcopy(obj), kind, strict=True)
        assert again.obj == obj, kind


def test_explainer_agrees_with_the_fast_normalizer(
    scheme: Scheme, codec: Codec, populate: ModuleType, objects: list[tuple[Kind, dict[str, Any]]]
) -> None:
    explainer = Explainer(scheme)
    for kind, obj in objects:
        type_ = scheme.type_of(*kind)
        known = {name: value for name, value in copy.deepcopy(obj).items() if name in type_.by_json_name}
        explained, unknown = explainer.normalize(type_.name, known)
        assert unknown == [], kind
        assert {**explained, "kind": kind[2], "apiVersion": obj["apiVersion"]} == obj, kind
    for kind in kinds_with_messages(scheme):
        raw = populate.Populator(scheme, random.Random(f"raw {kind}")).object(kind)
        explained, _ = explainer.normalize(scheme.type_of(*kind).name, copy.deepcopy(raw))
        fast = codec.normalize(raw, kind, strict=True).obj
        assert {**explained, "kind": kind[2], "apiVersion": fast["apiVersion"]} == fast, kind


def test_reference_encoder_agrees_with_the_generated_ones(
    scheme: Scheme, codec: Codec, objects: list[tuple[Kind, dict[str, Any]]]
) -> None:
    reference = ReferenceEncoder(scheme)
    for kind, obj in objects:
        assert reference.encode_value(scheme.type_of(*kind), obj) == codec.encode_body(kind, obj), kind


def test_reference_decoder_agrees_with_the_generated_ones(
    scheme: Scheme, codec: Codec, objects: list[tuple[Kind, dict[str, Any]]]
) -> None:
    reference = ReferenceDecoder(scheme)
    for kind, obj in objects:
        body = codec.encode_body(kind, obj)
        head = {"kind": kind[2], "apiVersion": obj["apiVersion"]}
        assert reference.decode(scheme.type_of(*kind).name, body, 0, len(body), head) == obj, kind


def test_the_protobuf_runtime_reads_and_writes_the_same(
    scheme: Scheme, codec: Codec, runtime: Runtime, objects: list[tuple[Kind, dict[str, Any]]]
) -> None:
    for kind, obj in objects:
        body = split_envelope(codec.to_storage(obj))
        message = runtime.message(scheme.type_of(*kind).name)
        message.ParseFromString(body)
        assert message.SerializeToString(deterministic=True) == body, kind


def test_fields_in_another_order_and_unknown_ones(codec: Codec, objects: list[tuple[Kind, dict[str, Any]]]) -> None:
    """Two halves of a message are a message; so is one with fields that no table knows."""
    unknown = b"\xf8\x7f\x01" + b"\xfa\x7f\x02hi" + b"\xf9\x7f12345678" + b"\xfd\x7f1234"  # number 2047, all wire types
    for kind, obj in objects[:: len(SEEDS) + 1]:
        body = codec.encode_body(kind, obj)
        assert codec.decode_body(kind, body + unknown) == obj, kind
        assert codec.decode_body(kind, unknown + body) == obj, kind


def test_truncated_messages_are_errors(codec: Codec, objects: list[tuple[Kind, dict[str, Any]]]) -> None:
    """Cut anywhere, a message is an error or a smaller object: never another exception."""
    chance = random.Random(7)
    for _, obj in objects[:: len(SEEDS) + 1]:
        stored = codec.to_storage(obj)
        for cut in {chance.randrange(len(stored) - 4) for _ in range(4)}:  # the last four bytes are empty fields
            with pytest.raises(DecodeError):
                codec.from_storage(stored[:cut])


def test_damaged_messages_never_crash(codec: Codec, objects: list[tuple[Kind, dict[str, Any]]]) -> None:
    chance = random.Random(11)
    failures = 0
    for _, obj in objects[:: len(SEEDS) + 1]:
        damaged = bytearray(codec.to_storage(obj))
        for _ in range(3):
            damaged[chance.randrange(4, len(damaged))] = chance.randrange(256)
            try:
                codec.from_storage(bytes(damaged))
            except DecodeError:
                failures += 1
    assert failures > 100
