"""Committed entry -> store -> (response, events), the same on every member.

Pure: no clock, no I/O, nothing that could differ between two members that apply the same log.
"""

from kvstore.apply.alarms import Alarms
from kvstore.apply.applier import Applier, StartCompaction
from kvstore.apply.errors import CorruptError, NoSpaceError, UnknownRequestError
from kvstore.apply.header import HeaderSource
from kvstore.apply.membership import (
    IdExistsError,
    IdNotFoundError,
    IdRemovedError,
    Member,
    Membership,
    MembershipChange,
    MembershipChangeKind,
    NotLearnerError,
    PeerUrlExistsError,
    TooManyLearnersError,
    member_from_json,
    member_to_json,
)
from kvstore.apply.operations import joined_kvs, range_keys_into
from kvstore.apply.permissions import check_lease_keys, check_txn
from kvstore.apply.quota import DEFAULT_QUOTA_BYTES, LEASE_COST_BYTES, Quota, put_cost_bytes
from kvstore.apply.state_machine import (
    APPLIED_INDEX_KEY,
    APPLIED_TERM_KEY,
    ApplyObserver,
    CommittedEntry,
    Proposal,
    StateMachine,
)
from kvstore.apply.txn import apply_txn
from kvstore.apply.txn_plan import DELETE, EMPTY, NESTED, PUT, RANGE, Operation, TxnPlan, plan_txn

__all__ = [
    "APPLIED_INDEX_KEY",
    "APPLIED_TERM_KEY",
    "DEFAULT_QUOTA_BYTES",
    "DELETE",
    "EMPTY",
    "LEASE_COST_BYTES",
    "NESTED",
    "PUT",
    "RANGE",
    "Alarms",
    "Applier",
    "ApplyObserver",
    "CommittedEntry",
    "CorruptError",
    "HeaderSource",
    "IdExistsError",
    "IdNotFoundError",
    "IdRemovedError",
    "Member",
    "Membership",
    "MembershipChange",
    "MembershipChangeKind",
    "NoSpaceError",
    "NotLearnerError",
    "Operation",
    "PeerUrlExistsError",
    "Proposal",
    "Quota",
    "StartCompaction",
    "StateMachine",
    "TooManyLearnersError",
    "TxnPlan",
    "UnknownRequestError",
    "apply_txn",
    "check_lease_keys",
    "check_txn",
    "joined_kvs",
    "member_from_json",
    "member_to_json",
    "plan_txn",
    "put_cost_bytes",
    "range_keys_into",
]
