"""Transactions."""

from __future__ import annotations

import itertools

from kvstore.errors import StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from tests.conformance.kv.suite import (
    Recorder,
    compare,
    op_delete,
    op_put,
    op_range,
    op_txn,
    scenario,
    txn_request,
)

INVALID = StatusCode.INVALID_ARGUMENT
C = pb.Compare


@scenario
async def run_txn_create_update_delete(r: Recorder) -> None:
    """The three writes of a Kubernetes API server."""
    key = r.key("a")
    absent = compare(key, C.MOD, mod_revision=0)
    created = await r.txn([absent], [op_put(key, b"1")], [op_range(key)])
    assert created.succeeded
    assert created.header.revision == r.base + 1
    again = await r.txn([absent], [op_put(key, b"1")], [op_range(key)])
    assert not again.succeeded
    assert again.responses[0].response_range.kvs[0].value == b"1"
    same = compare(key, C.MOD, mod_revision=r.base + 1)
    assert (await r.txn([same], [op_put(key, b"2")], [op_range(key)])).succeeded
    stale = await r.txn([same], [op_delete(key)], [op_range(key)])
    assert not stale.succeeded
    assert (await r.txn([compare(key, C.MOD, mod_revision=r.base + 2)], [op_delete(key)], [op_range(key)])).succeeded
    assert await r.client.current_revision() == r.base + 3


@scenario
async def run_txn_one_revision_ordered(r: Recorder) -> None:
    response = await r.txn(
        success=[op_put(r.key("b"), b"1"), op_put(r.key("a"), b"2"), op_range(r.key("a")), op_delete(r.key("c"))]
    )
    assert response.header.revision == r.base + 1
    found = await r.range(**r.everything)
    assert {kv.mod_revision for kv in found.kvs} == {r.base + 1}
    assert response.responses[2].response_range.kvs[0].value == b"2"


@scenario
async def run_txn_headers_inside(r: Recorder) -> None:
    key = r.key("a")
    response = await r.txn(
        success=[op_range(key), op_delete(r.key("none")), op_put(key, b"1", prev_kv=True), op_range(key)]
    )
    inside = [getattr(answer, answer.WhichOneof("response")).header.revision - r.base for answer in response.responses]
    assert inside == [0, 0, 1, 1]
    header = response.responses[3].response_range.header
    assert (header.cluster_id, header.member_id, header.raft_term) == (0, 0, 0)


@scenario
async def run_compare_every_target_and_result(r: Recorder) -> None:
    lease = (await r.grant(600)).ID
    key, other = r.key("a"), r.key("missing")
    await r.put(key, b"m")
    await r.put(key, b"m", lease=lease)
    wanted = {
        C.VERSION: ("version", [1, 2, 3]),
        C.CREATE: ("create_revision", [r.base, r.base + 1, r.base + 2]),
        C.MOD: ("mod_revision", [r.base + 1, r.base + 2, r.base + 3]),
        C.LEASE: ("lease", [0, lease, lease + 1]),
        C.VALUE: ("value", [b"a", b"m", b"z"]),
    }
    for target, (name, values) in wanted.items():
        for value, result in itertools.product(values, C.CompareResult.values()):
            holds = (await r.txn([compare(key, target, result, **{name: value})])).succeeded
            order = (values[1] > value) - (values[1] < value)
            assert holds == [order == 0, order > 0, order < 0, order != 0][result]
            await r.txn([compare(other, target, result, **{name: value})])
    for target, result in itertools.product(wanted, C.CompareResult.values()):
        missing = (await r.txn([compare(other, target, result)])).succeeded
        assert missing == (target != C.VALUE and result == C.EQUAL)
        await r.txn([compare(key, target, result)])
        await r.txn([compare(key, target, result, version=2)])
    await r.revoke(lease)


@scenario
async def run_compare_ranges(r: Recorder) -> None:
    for name, value in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        await r.put(r.key(name), value)
    all_keys = {"key": r.key("a"), "range_end": r.key("z")}
    some_keys = {"key": r.key("a"), "range_end": r.key("c")}
    none = {"key": r.key("x"), "range_end": r.key("z")}
    assert (await r.txn([compare(target=C.VERSION, version=1, **all_keys)])).succeeded
    assert not (await r.txn([compare(target=C.VALUE, value=b"1", **all_keys)])).succeeded
    assert (await r.txn([compare(target=C.VALUE, value=b"1", **some_keys)])).succeeded
    assert (await r.txn([compare(target=C.VERSION, version=0, **none)])).succeeded
    assert not (await r.txn([compare(target=C.VALUE, value=b"", **none)])).succeeded
    assert (await r.txn([compare(target=C.MOD, result=C.GREATER, mod_revision=r.base, **all_keys)])).succeeded
    backwards = {"key": r.key("c"), "range_end": r.key("a")}
    assert (await r.txn([compare(target=C.VERSION, version=0, **backwards)])).succeeded


@scenario
async def run_compares_all_must_hold(r: Recorder) -> None:
    await r.put(r.key("a"), b"1")
    good = compare(r.key("a"), C.VERSION, version=1)
    bad = compare(r.key("a"), C.VERSION, version=2)
    assert (await r.txn([good, good])).succeeded
    assert not (await r.txn([good, bad])).succeeded
    assert not (await r.txn([bad, good])).succeeded


@scenario
async def run_nested_txn_compares_see_the_state_before(r: Recorder) -> None:
    key = r.key("a")
    response = await r.txn(
        success=[
            op_put(key, b"1"),
            op_txn(
                [compare(key, C.VERSION, version=0)],
                [op_range(key), op_put(r.key("b"), b"then")],
                [op_put(r.key("b"), b"else")],
            ),
            op_txn([compare(key, C.VERSION, version=1)], [op_put(r.key("c"))], [op_txn(failure=[op_put(key + b"x")])]),
        ]
    )
    nested = response.responses[1].response_txn
    assert nested.succeeded
    assert nested.responses[0].response_range.kvs[0].value == b"1"
    assert not response.responses[2].response_txn.succeeded
    assert (await r.range(r.key("b"))).kvs[0].value == b"then"


@scenario
async def run_txn_refusals_on_its_face(r: Recorder) -> None:
    key = r.key("a")

    async def refused(text: str, *arguments: object) -> None:
        await r.refused(r.client.txn(txn_request(*arguments)), INVALID, text)

    too_many = "too many operations in txn request"
    many = [op_put(r.key(str(number))) for number in range(129)]
    await refused(too_many, [], many)
    await refused(too_many, [], [], many)
    await refused(too_many, [compare(key, C.MOD, mod_revision=0)] * 129)
    await r.txn(success=many[:128])
    await refused(too_many, [], [op_txn(success=many[:70]), *many[70:]])
    await refused("key is not provided", [], [op_put(b"")])
    await refused("key is not provided", [], [], [op_range(b"")])
    await refused("key is not provided", [compare(b"", C.MOD, mod_revision=0)])
    await refused("key is not provided", [], [op_delete(b"")])
    await refused("key not found", [], [pb.RequestOp()])
    await refused("value is provided", [], [op_put(key, b"x", ignore_value=True)])
    await refused("lease is provided", [], [op_put(key, lease=1, ignore_lease=True)])


@scenario
async def run_txn_duplicate_keys(r: Recorder) -> None:
    key, other = r.key("a"), r.key("b")
    end = r.key("z")
    refused: list[list[pb.RequestOp]] = [
        [op_put(key), op_put(key)],
        [op_put(key), op_delete(key)],
        [op_delete(key), op_put(key)],
        [op_put(other), op_delete(key, range_end=end)],
        [op_put(key), op_txn(success=[op_put(key)])],
        [op_put(key), op_txn(failure=[op_put(key)])],
        [op_delete(key, range_end=end), op_txn(success=[op_put(other)])],
        [op_txn(success=[op_delete(key, range_end=end)]), op_put(other)],
        [op_txn(success=[op_put(key)]), op_txn(success=[op_put(key)])],
        [op_txn(success=[op_txn(success=[op_put(key)])]), op_put(key)],
    ]
    for operations in refused:
        request = txn_request(success=operations)
        await r.refused(r.client.txn(request), INVALID, "duplicate key given in txn request")
    taken: list[list[pb.RequestOp]] = [
        [op_put(key), op_put(other)],
        [op_delete(key), op_delete(key, range_end=end), op_delete(other)],
        [op_txn(success=[op_put(key)], failure=[op_put(key)])],
        [op_put(key), op_range(key), op_range(key)],
        [op_put(end), op_delete(key, range_end=end)],
        [op_put(key), op_delete(b"~~", range_end=b"\0")],
    ]
    for operations in taken:
        await r.txn(success=operations)


@scenario
async def run_txn_branches_may_repeat_each_other(r: Recorder) -> None:
    key = r.key("a")
    for _ in range(2):
        await r.txn([compare(key, C.VERSION, version=0)], [op_put(key, b"new")], [op_put(key, b"old")])
    assert (await r.range(key)).kvs[0].value == b"old"


@scenario
async def run_txn_fails_as_a_whole(r: Recorder) -> None:
    key = r.key("a")
    await r.put(key, b"1")
    out_of_range = StatusCode.OUT_OF_RANGE
    for operation, code, text in (
        (op_range(key, revision=r.base + 100), out_of_range, "mvcc: required revision is a future revision"),
        (op_put(r.key("x"), lease=123456789), StatusCode.NOT_FOUND, "requested lease not found"),
        (op_put(r.key("x"), ignore_value=True), INVALID, "key not found"),
        (op_put(r.key("x"), ignore_lease=True), INVALID, "key not found"),
    ):
        request = txn_request(success=[op_put(key, b"2"), operation])
        await r.refused(r.client.txn(request), code, text)
        unused = txn_request([compare(key, C.VERSION, version=9)], [operation], [op_range(key)])
        assert not (await r.client.txn(unused)).succeeded
    assert (await r.range(key)).kvs[0].value == b"1"
    assert await r.client.current_revision() == r.base + 1


@scenario
async def run_read_only_txn(r: Recorder) -> None:
    await r.put(r.key("a"), b"1")
    await r.put(r.key("a"), b"2")
    response = await r.txn(
        [compare(r.key("a"), C.VERSION, version=2)],
        [op_range(r.key("a")), op_range(r.key("a"), revision=r.base + 1), op_range(**r.everything, count_only=True)],
    )
    values = [answer.response_range.kvs[0].value for answer in response.responses[:2]]
    assert values == [b"2", b"1"]
    assert response.header.revision == r.base + 2
    future = txn_request(success=[op_range(r.key("a"), revision=r.base + 3)])
    await r.refused(r.client.txn(future), StatusCode.OUT_OF_RANGE, "mvcc: required revision is a future revision")


@scenario
async def run_txn_compacted_revision(r: Recorder) -> None:
    for _ in range(3):
        await r.put(r.key("a"), b"v")
    await r.compact(r.base + 2)
    text = "mvcc: required revision has been compacted"
    read_only = [op_range(r.key("a"), revision=r.base + 1)]
    for operations in (read_only, [op_put(r.key("b")), *read_only]):
        await r.refused(r.client.txn(txn_request(success=operations)), StatusCode.OUT_OF_RANGE, text)
    assert (await r.range(r.key("b"))).count == 0
    await r.txn(success=[op_range(r.key("a"), revision=r.base + 2)])
