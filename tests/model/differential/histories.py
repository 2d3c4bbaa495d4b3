"""Histories of requests, made by Hypothesis.

Requests are etcd's messages in which keys lack the example's prefix and revisions and leases are counted from the
example's beginning; `bind` fills that in. A revision below zero is meant as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st
from google.protobuf import text_format
from google.protobuf.message import Message

from kvstore.etcdpb import rpc_pb2 as pb

KEYS = [b"a", b"aa", b"ab", b"b", b"b\xff", b"c"]
ENDS = [b"", b"\0", b"a", b"ab", b"b", b"c", b"d"]
LEASES = (1, 2, 3)
REVISIONS_MAX = 14

_FROM_KEY_ON = b"\0"
_REVISION_FIELDS = frozenset(
    [
        "revision",
        "create_revision",
        "mod_revision",
        "min_mod_revision",
        "max_mod_revision",
        "min_create_revision",
        "max_create_revision",
        "start_revision",
    ]
)
_LEASE_FIELDS = frozenset(["lease", "ID"])


@dataclass(frozen=True)
class Call:
    """One unary request of a method such as `KV/Put`."""

    method: str
    request: Message

    def __repr__(self) -> str:
        return f"{self.method}({_text(self.request)})"


@dataclass(frozen=True)
class Watch:
    """A watcher is created."""

    request: pb.WatchCreateRequest

    def __repr__(self) -> str:
        return f"Watch({_text(self.request)})"


@dataclass(frozen=True)
class Cancel:
    """The watcher that was created as the n-th is cancelled, if there is one that lives."""

    number: int


@dataclass(frozen=True)
class Settle:
    """Wait until every watcher has seen what there is to see, and ask for progress."""


@dataclass(frozen=True)
class LogIn:
    """A user asks for a token, and has it from then on."""

    user: str
    password: str


@dataclass(frozen=True)
class As:
    """A call with the token of a user, if that one has logged in."""

    user: str
    call: Call


Operation = Call | Watch | Cancel | Settle | LogIn | As


def _text(message: Message) -> str:
    return text_format.MessageToString(message, as_one_line=True)


def bind(message: Message, prefix: bytes, base_revision: int, base_lease: int) -> None:
    """Make a request one of this example, in place."""
    for descriptor, value in message.ListFields():
        name = descriptor.name
        if descriptor.message_type is not None:
            for part in value if descriptor.is_repeated else [value]:
                bind(part, prefix, base_revision, base_lease)
        elif name == "key" or (name == "range_end" and value != _FROM_KEY_ON):
            setattr(message, name, prefix + value)
        elif name in _REVISION_FIELDS and value > 0:
            setattr(message, name, base_revision + value)
        elif name in _LEASE_FIELDS and value:
            setattr(message, name, base_lease + value)


def _rarely(usual: st.SearchStrategy[object], rare: object) -> st.SearchStrategy[object]:
    """The rare one about once in ten times."""
    return st.integers(0, 9).flatmap(lambda dice: st.just(rare) if dice == 9 else usual)


keys = st.sampled_from(KEYS * 8 + [b""])
ends = st.sampled_from(ENDS)
# Values are few, so that compares hit.
values = st.sampled_from([b"", b"0", b"1", b"2", b"\xff\0"])
leases = st.sampled_from([0] * 9 + [*LEASES])
seldom = st.integers(0, 7).map(lambda dice: dice == 7)
# Those of the past are the ones of interest, and few histories are long.
revisions = st.sampled_from([0] * 18 + [-1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8, REVISIONS_MAX])
bounds = st.sampled_from([0] * 10 + [1, 1, 2, 2, 3, 3, 4, 5, 6, 8, REVISIONS_MAX])

_FILTERS = dict.fromkeys(["min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"], bounds)


def _ranges(filters: dict[str, st.SearchStrategy[int]]) -> st.SearchStrategy[pb.RangeRequest]:
    return st.builds(
        pb.RangeRequest,
        key=keys,
        range_end=ends,
        limit=st.sampled_from([0, 0, 0, 1, 2, -1]),
        revision=revisions,
        sort_order=st.sampled_from([0, 0, 1, 2]),
        sort_target=st.sampled_from([0, 0, 1, 2, 3, 4]),
        serializable=seldom,
        keys_only=seldom,
        count_only=seldom,
        **filters,
    )


ranges = _ranges({}) | _ranges({}) | _ranges(_FILTERS)
puts = st.builds(
    pb.PutRequest,
    key=keys,
    value=values,
    lease=leases,
    prev_kv=seldom,
    ignore_value=_rarely(st.just(False), True),
    ignore_lease=_rarely(st.just(False), True),
)
deletions = st.builds(pb.DeleteRangeRequest, key=keys, range_end=ends, prev_kv=seldom)


@st.composite
def compares(draw: st.DrawFn) -> pb.Compare:
    compare = pb.Compare(key=draw(keys), range_end=draw(_rarely(st.just(b""), b"\0") | ends))
    compare.result = pb.Compare.CompareResult.ValueType(draw(st.integers(0, 3)))
    target = draw(st.integers(0, 4))
    compare.target = pb.Compare.CompareTarget.ValueType(target)
    if draw(st.integers(0, 19)) == 19:
        return compare  # nothing to compare with
    match target:
        case pb.Compare.VERSION:
            compare.version = draw(st.integers(0, 3))
        case pb.Compare.CREATE:
            compare.create_revision = draw(bounds)
        case pb.Compare.MOD:
            compare.mod_revision = draw(bounds)
        case pb.Compare.VALUE:
            compare.value = draw(values)
        case _:
            compare.lease = draw(leases)
    return compare


def _operation(inner: st.SearchStrategy[pb.TxnRequest] | None) -> st.SearchStrategy[pb.RequestOp]:
    kinds = [
        st.builds(pb.RequestOp, request_put=puts),
        st.builds(pb.RequestOp, request_range=ranges),
        st.builds(pb.RequestOp, request_delete_range=deletions),
    ]
    if inner is not None:
        kinds.append(st.builds(pb.RequestOp, request_txn=inner))
    return st.one_of(kinds) | st.one_of(kinds) | _rarely(st.one_of(kinds), pb.RequestOp())


def _txns(depth: int) -> st.SearchStrategy[pb.TxnRequest]:
    branch = st.lists(_operation(_txns(depth - 1) if depth else None), max_size=3)
    return st.builds(pb.TxnRequest, compare=st.lists(compares(), max_size=2), success=branch, failure=branch)


txns = _txns(2)
compactions = st.builds(
    pb.CompactionRequest,
    revision=st.sampled_from([-1, 0, 1, 2, 2, 3, 3, 4, 5, 6, 7, 9, REVISIONS_MAX]),
    physical=st.booleans(),
)

watches = st.builds(
    pb.WatchCreateRequest,
    key=keys,
    range_end=ends,
    start_revision=bounds,
    prev_kv=st.booleans(),
    filters=st.lists(st.sampled_from([0, 1]), max_size=1),
    watch_id=_rarely(st.just(0), 7),
    fragment=seldom,
)

lease_ids = st.sampled_from(LEASES)
calls = st.one_of(
    st.builds(Call, st.just("KV/Range"), ranges),
    st.builds(Call, st.just("KV/Range"), ranges),
    st.builds(Call, st.just("KV/Put"), puts),
    st.builds(Call, st.just("KV/Put"), puts),
    st.builds(Call, st.just("KV/DeleteRange"), deletions),
    st.builds(Call, st.just("KV/Txn"), txns),
    st.builds(Call, st.just("KV/Txn"), txns),
    st.builds(Call, st.just("KV/Compact"), compactions),
    st.builds(
        Call,
        st.just("Lease/LeaseGrant"),
        st.builds(pb.LeaseGrantRequest, ID=lease_ids, TTL=st.sampled_from([1000, 1000, 9_000_000_000, 9_000_000_001])),
    ),
    st.builds(Call, st.just("Lease/LeaseRevoke"), st.builds(pb.LeaseRevokeRequest, ID=lease_ids)),
    st.builds(
        Call,
        st.just("Lease/LeaseTimeToLive"),
        st.builds(pb.LeaseTimeToLiveRequest, ID=lease_ids, keys=st.booleans()),
    ),
    st.builds(Call, st.just("Lease/LeaseLeases"), st.builds(pb.LeaseLeasesRequest)),
    st.builds(Call, st.just("Lease/LeaseKeepAlive"), st.builds(pb.LeaseKeepAliveRequest, ID=lease_ids)),
)
operations = st.one_of(
    calls,
    calls,
    calls,
    st.builds(Watch, watches),
    st.builds(Cancel, st.integers(0, 3)) | st.builds(Settle),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    """A lease and some keys to begin with, and then anything."""
    beginning: list[Operation] = [Call("Lease/LeaseGrant", pb.LeaseGrantRequest(ID=LEASES[0], TTL=1000))]
    for key, value, lease in draw(st.lists(st.tuples(st.sampled_from(KEYS), values, st.booleans()), max_size=6)):
        beginning.append(Call("KV/Put", pb.PutRequest(key=key, value=value, lease=LEASES[0] if lease else 0)))
    return beginning + draw(st.lists(operations, min_size=2, max_size=24))
