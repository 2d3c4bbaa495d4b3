"""Range, put and delete."""

from __future__ import annotations

import itertools

from kvstore.errors import StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from tests.conformance.kv.suite import Recorder, newer_only, scenario

INVALID = StatusCode.INVALID_ARGUMENT
OUT_OF_RANGE = StatusCode.OUT_OF_RANGE


@scenario
async def run_put_makes_one_revision_each(r: Recorder) -> None:
    for number in range(1, 4):
        put = await r.put(r.key("a"), b"%d" % number)
        assert put.header.revision == r.base + number
        (kv,) = (await r.range(r.key("a"))).kvs
        assert (kv.create_revision, kv.mod_revision, kv.version) == (r.base + 1, r.base + number, number)


@scenario
async def run_generations(r: Recorder) -> None:
    await r.put(r.key("a"), b"1")
    await r.delete(r.key("a"))
    await r.put(r.key("a"), b"2")
    (kv,) = (await r.range(r.key("a"))).kvs
    assert (kv.create_revision, kv.version) == (r.base + 3, 1)
    assert (await r.range(r.key("a"), revision=r.base + 2)).count == 0
    assert (await r.range(r.key("a"), revision=r.base + 1)).kvs[0].value == b"1"


@scenario
async def run_what_changes_nothing_makes_no_revision(r: Recorder) -> None:
    for response in (
        await r.delete(r.key("missing")),
        await r.delete(**r.everything),
        await r.txn(),
    ):
        assert response.header.revision == r.base
    assert await r.client.current_revision() == r.base


@scenario
async def run_empty_value_and_binary_keys(r: Recorder) -> None:
    await r.put(r.key("\x00\x01"), b"")
    await r.put(r.key() + b"\xff\xfe", bytes(range(256)))
    found = await r.range(**r.everything)
    assert [kv.value for kv in found.kvs] == [b"", bytes(range(256))]


@scenario
async def run_put_previous(r: Recorder) -> None:
    assert not (await r.put(r.key("a"), b"1", prev_kv=True)).HasField("prev_kv")
    assert (await r.put(r.key("a"), b"2", prev_kv=True)).prev_kv.value == b"1"


@scenario
async def run_put_keeps_value_or_lease(r: Recorder) -> None:
    await r.refused(r.client.put(pb.PutRequest(key=r.key("a"), ignore_value=True)), INVALID, "key not found")
    await r.refused(r.client.put(pb.PutRequest(key=r.key("a"), ignore_lease=True)), INVALID, "key not found")
    lease = (await r.grant(600)).ID
    await r.put(r.key("a"), b"1", lease=lease)
    await r.put(r.key("a"), b"2", ignore_lease=True)
    await r.put(r.key("a"), ignore_value=True)
    (kv,) = (await r.range(r.key("a"))).kvs
    assert (kv.value, kv.lease, kv.version) == (b"2", 0, 3)
    await r.revoke(lease)
    assert (await r.range(r.key("a"))).count == 1


@scenario
async def run_put_refusals(r: Recorder) -> None:
    put = r.client.put
    await r.refused(put(pb.PutRequest(value=b"x")), INVALID, "key is not provided")
    await r.refused(put(pb.PutRequest(key=r.key("a"), value=b"x", ignore_value=True)), INVALID, "value is provided")
    await r.refused(put(pb.PutRequest(key=r.key("a"), lease=7, ignore_lease=True)), INVALID, "lease is provided")
    await r.refused(put(pb.PutRequest(key=r.key("a"), lease=7)), StatusCode.NOT_FOUND, "requested lease not found")
    # Of two faults the lease is named.
    twice = pb.PutRequest(key=r.key("a"), lease=7, ignore_value=True)
    await r.refused(put(twice), StatusCode.NOT_FOUND, "requested lease not found")
    assert (await r.range(r.key("a"))).count == 0
    large = pb.PutRequest(key=r.key("a"), value=bytes(1_600_000))
    await r.refused(put(large), INVALID, "request is too large")
    await r.put(r.key("a"), bytes(1_572_864 - 200))


@scenario
async def run_ranges(r: Recorder) -> None:
    for name in ("a", "aa", "ab", "b", "c"):
        await r.put(r.key(name), name.encode())

    async def names(key: str, end: bytes) -> list[str]:
        found = await r.range(r.key(key), range_end=end)
        assert found.count == len(found.kvs)
        return [kv.value.decode() for kv in found.kvs]

    assert await names("a", b"") == ["a"]
    assert await names("a", r.key("b")) == ["a", "aa", "ab"]
    assert await names("aa", r.key("c")) == ["aa", "ab", "b"]
    assert await names("b", r.key("b")) == []
    assert await names("b", r.key("a")) == []
    assert await names("d", r.key("z")) == []


@scenario
async def run_zz_from_key_on(r: Recorder) -> None:
    # This scenario's keys are behind those of all others.
    key = b"~" + r.key()
    for name in (b"a", b"b", b"c"):
        await r.put(key + name)
    assert [kv.key for kv in (await r.range(key + b"b", range_end=b"\0")).kvs] == [key + b"b", key + b"c"]
    everything = pb.RangeRequest(key=b"\0", range_end=b"\0", count_only=True)
    assert (await r.client.range(everything)).count >= 3
    assert (await r.delete(key + b"b", range_end=b"\0")).deleted == 2
    assert (await r.delete(key, range_end=b"\0")).deleted == 1


@scenario
async def run_limit_before_a_target_without_order(r: Recorder) -> None:
    for name in ("c", "b", "a"):
        await r.put(r.key(name))
    by_creation = pb.RangeRequest.CREATE
    cut_first = await r.range(**r.everything, limit=1, sort_target=by_creation)
    assert [kv.key for kv in cut_first.kvs] == [r.key("b")]
    sorted_first = await r.range(**r.everything, limit=1, sort_target=by_creation, sort_order=pb.RangeRequest.ASCEND)
    assert [kv.key for kv in sorted_first.kvs] == [r.key("c")]
    assert (cut_first.more, cut_first.count) == (sorted_first.more, sorted_first.count) == (True, 3)


@scenario
async def run_range_at_revisions(r: Recorder) -> None:
    for number in range(4):
        await r.put(r.key("a"), b"%d" % number)
    for number in range(4):
        found = await r.range(r.key("a"), revision=r.base + 1 + number)
        assert found.kvs[0].value == b"%d" % number
        assert found.header.revision == r.base + 4
    assert (await r.range(r.key("a"), revision=-5)).kvs[0].value == b"3"
    future = pb.RangeRequest(key=r.key("a"), revision=r.base + 5)
    await r.refused(r.client.range(future), OUT_OF_RANGE, "mvcc: required revision is a future revision")


@scenario
async def run_limit_more_count(r: Recorder) -> None:
    for number in range(5):
        await r.put(r.key(str(number)), b"v")
    for limit in (0, 1, 4, 5, 6):
        found = await r.range(**r.everything, limit=limit)
        assert found.count == 5
        assert found.more == (0 < limit < 5)
        assert len(found.kvs) == (min(limit, 5) if limit else 5)
    filtered = await r.range(**r.everything, limit=1, min_mod_revision=r.base + 4)
    assert (filtered.count, filtered.more, len(filtered.kvs)) == (5, True, 1)
    await r.delete(r.key("2"))
    assert (await r.range(**r.everything, limit=2)).count == 4
    assert (await r.range(**r.everything, limit=2, revision=r.base + 5)).count == 5
    counted = await r.range(**r.everything, limit=2, count_only=True)
    assert (counted.count, len(counted.kvs), counted.more) == (4, 0, False)


@scenario
async def run_sort(r: Recorder) -> None:
    await r.put(r.key("a"), b"3")
    await r.put(r.key("b"), b"2")
    await r.put(r.key("c"), b"1")
    await r.put(r.key("a"), b"9")
    await r.put(r.key("b"), b"4")
    await r.put(r.key("a"), b"0")
    targets = pb.RangeRequest.SortTarget.values()
    orders = pb.RangeRequest.SortOrder.values()
    for target, order in itertools.product(targets, orders):
        for limit in (0, 2):
            await r.range(**r.everything, sort_target=target, sort_order=order, limit=limit)
    by_version = await r.range(**r.everything, sort_target=pb.RangeRequest.VERSION)
    assert [kv.version for kv in by_version.kvs] == [1, 2, 3]
    descending = await r.range(**r.everything, sort_order=pb.RangeRequest.DESCEND)
    assert [kv.key for kv in descending.kvs] == [r.key("c"), r.key("b"), r.key("a")]


@scenario
async def run_revision_filters(r: Recorder) -> None:
    for name in ("a", "b", "c", "b", "a"):
        await r.put(r.key(name), b"v")
    for option in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
        for offset in range(6):
            await r.range(**r.everything, **{option: r.base + offset})
    both = await r.range(**r.everything, min_mod_revision=r.base + 4, max_create_revision=r.base + 1)
    assert [kv.key for kv in both.kvs] == [r.key("a")]


@scenario
async def run_keys_only(r: Recorder) -> None:
    await r.put(r.key("a"), b"1")
    await r.put(r.key("b"), b"2")
    for options in ({}, {"limit": 1}, {"sort_order": pb.RangeRequest.DESCEND}, {"sort_target": pb.RangeRequest.VALUE}):
        found = await r.range(**r.everything, keys_only=True, **options)
        assert all(kv.value == b"" and kv.version == 1 for kv in found.kvs)


@scenario
@newer_only
async def run_keys_only_leaves_out_the_lease(r: Recorder) -> None:
    lease = (await r.grant(600)).ID
    await r.put(r.key("a"), b"1", lease=lease)
    assert (await r.range(r.key("a"), keys_only=True)).kvs[0].lease == 0
    await r.revoke(lease)


@scenario
@newer_only
async def run_unknown_sort_options(r: Recorder) -> None:
    for request in (pb.RangeRequest(key=b"a"), pb.RangeRequest(key=b"a")):
        request.MergeFromString(b"\x28\x63")  # sort_order = 99
        await r.refused(r.client.range(request), INVALID, "invalid sort option")


@scenario
async def run_range_and_delete_refusals(r: Recorder) -> None:
    await r.refused(r.client.range(pb.RangeRequest(range_end=b"z")), INVALID, "key is not provided")
    await r.refused(r.client.delete_range(pb.DeleteRangeRequest()), INVALID, "key is not provided")


@scenario
async def run_serializable(r: Recorder) -> None:
    await r.put(r.key("a"), b"1")
    assert (await r.range(r.key("a"), serializable=True)).kvs[0].value == b"1"


@scenario
async def run_delete(r: Recorder) -> None:
    for name in ("a", "b", "c", "d"):
        await r.put(r.key(name), name.encode())
    one = await r.delete(r.key("a"), prev_kv=True)
    assert (one.deleted, one.prev_kvs[0].value, one.header.revision) == (1, b"a", r.base + 5)
    many = await r.delete(r.key("b"), range_end=r.key("d"), prev_kv=True)
    assert [kv.value for kv in many.prev_kvs] == [b"b", b"c"]
    assert many.header.revision == r.base + 6
    rest = await r.delete(**r.everything)
    assert (rest.deleted, len(rest.prev_kvs)) == (1, 0)


@scenario
async def run_compaction(r: Recorder) -> None:
    for number in range(5):
        await r.put(r.key("a"), b"%d" % number)
    await r.put(r.key("gone"), b"x")
    await r.delete(r.key("gone"))
    await r.put(r.key("kept"), b"y")
    compacted = await r.compact(r.base + 4)
    assert compacted.header.revision == r.base + 8
    text = "mvcc: required revision has been compacted"
    for revision in (r.base + 3, 1):
        await r.refused(r.client.range(pb.RangeRequest(key=r.key("a"), revision=revision)), OUT_OF_RANGE, text)
    assert (await r.range(r.key("a"), revision=r.base + 4)).kvs[0].value == b"3"
    assert (await r.range(**r.everything)).count == 2
    for revision in (r.base + 4, r.base + 1, 0, -3):
        await r.refused(r.client.compact(pb.CompactionRequest(revision=revision)), OUT_OF_RANGE, text)
    future = pb.CompactionRequest(revision=r.base + 9)
    await r.refused(r.client.compact(future), OUT_OF_RANGE, "mvcc: required revision is a future revision")
    await r.compact(r.base + 8)
    assert (await r.range(**r.everything)).count == 2
    assert (await r.range(r.key("gone"))).count == 0
