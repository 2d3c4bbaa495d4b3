"""Raft as a state machine without input, output or clock.

After Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (the paper), and Ongaro, "Consensus:
Bridging Theory and Practice" (the thesis), with the interface contract of etcd's raft library. Time is the number of
`RawNode.tick` calls, chance is `Config.random_below`; the same calls in the same order give the same results.

What the caller owes a `RawNode`:

1. Feed it: `tick` at a steady pace, `step` for each message from a peer, `propose`, `read_index`.
2. Whenever `has_ready`, take a `Ready` and, in this order,
   a. send its messages, at once; they do not wait for the disk;
   b. store hard state, entries and snapshot, entries replacing any stored ones from their first index on, and when
      `must_sync` is set call `persisted` once all of that is durable. Meanwhile go on feeding the node and taking
      `Ready`s: they will hand out nothing more for storage, so what arrives during one write goes into the next;
   c. give a snapshot to the state machine once it is stored, then call `applied` with its index;
   d. apply the committed entries in order, for each membership change `apply_conf_change` at its place, then call
      `applied` with the last index.
3. After a restart, build a new `RawNode` from what was stored.

Where things are:

    types       values: entries, messages, states, Ready
    raw_node    the public face
    step        terms, the table of handlers, time
    state       the member's state and its changes of role
    election  replication  commit  reads  leader  membership      handlers, by subject
    log  progress  quorum  confchange  read_only  config          parts that know nothing of the rest
"""

from raft.core.confchange import apply_change, check_conf_state, is_leave
from raft.core.config import ConfChangeCodec, Config
from raft.core.log import RaftLog
from raft.core.progress import Progress, ProgressState
from raft.core.quorum import VoteResult, committed_index, tally
from raft.core.raw_node import NodeStatus, RawNode
from raft.core.types import (
    NO_NODE,
    ConfChange,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeType,
    ConfChangeV2,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Peer,
    ReadOnlyOption,
    ReadState,
    Ready,
    Role,
    Snapshot,
    SoftState,
)

__all__ = [
    "NO_NODE",
    "ConfChange",
    "ConfChangeCodec",
    "ConfChangeSingle",
    "ConfChangeTransition",
    "ConfChangeType",
    "ConfChangeV2",
    "ConfState",
    "Config",
    "Entry",
    "EntryType",
    "HardState",
    "Message",
    "MessageType",
    "NodeStatus",
    "Peer",
    "Progress",
    "ProgressState",
    "RaftLog",
    "RawNode",
    "ReadOnlyOption",
    "ReadState",
    "Ready",
    "Role",
    "Snapshot",
    "SoftState",
    "VoteResult",
    "apply_change",
    "check_conf_state",
    "committed_index",
    "is_leave",
    "tally",
]
