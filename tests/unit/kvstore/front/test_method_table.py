"""Names of methods, and what a path that is none is told."""

from __future__ import annotations

import pytest

from kvstore.errors import StatusCode
from kvstore.front import Kind, MethodTable, service_descriptors
from kvstore.front.service import methods_of, rpc_attribute


@pytest.mark.parametrize(
    ("rpc", "attribute"),
    [
        ("Range", "range"),
        ("DeleteRange", "delete_range"),
        ("HashKV", "hash_kv"),
        ("LeaseTimeToLive", "lease_time_to_live"),
        ("UserChangePassword", "user_change_password"),
        ("RangeStream", "range_stream"),
    ],
)
def test_attribute_names(rpc: str, attribute: str) -> None:
    assert rpc_attribute(rpc) == attribute


class Some:
    def range(self) -> None: ...
    def range_stream(self) -> None: ...
    def watch(self) -> None: ...


def test_only_what_is_implemented_is_there() -> None:
    descriptors = service_descriptors()
    methods = methods_of(descriptors["etcdserverpb.KV"], Some()) + methods_of(descriptors["etcdserverpb.Watch"], Some())
    assert {method.path: method.kind for method in methods} == {
        "/etcdserverpb.KV/Range": Kind.UNARY,
        "/etcdserverpb.KV/RangeStream": Kind.SERVER_STREAM,
        "/etcdserverpb.Watch/Watch": Kind.BIDI_STREAM,
    }


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV"),
        (b"/nope.Nope/Range", "unknown service nope.Nope"),
        (b"nope", 'malformed method name: "nope"'),
    ],
)
def test_unknown_paths(path: bytes, text: str) -> None:
    table = MethodTable(methods_of(service_descriptors()["etcdserverpb.KV"], Some()))
    assert table.get(path) is None
    error = table.unknown(path)
    assert (error.code, error.message) == (StatusCode.UNIMPLEMENTED, text)
