"""Raft's values on the wire and on disk, in etcd's messages.

The `.proto` files beside this one are our own text with etcd's packages (raftpb, walpb, snappb), message and field
names and numbers; `hack/codegen_protos.py` makes the modules from them. Nobody else may register these messages in the
same process.
"""

from raft.wire.convert import (
    ProtobufConfChangeCodec,
    WireError,
    conf_state_from_pb,
    conf_state_to_pb,
    decode_entry,
    decode_hard_state,
    decode_message,
    decode_snapshot,
    encode_entry,
    encode_hard_state,
    encode_message,
    encode_snapshot,
    fill_message_pb,
    message_from_pb,
    message_to_pb,
)

__all__ = [
    "ProtobufConfChangeCodec",
    "WireError",
    "conf_state_from_pb",
    "conf_state_to_pb",
    "decode_entry",
    "decode_hard_state",
    "decode_message",
    "decode_snapshot",
    "encode_entry",
    "encode_hard_state",
    "encode_message",
    "encode_snapshot",
    "fill_message_pb",
    "message_from_pb",
    "message_to_pb",
]
