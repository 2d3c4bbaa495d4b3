"""What is taken out of etcdctl's output because it must differ from one server to the next, and nothing else."""

from __future__ import annotations

import json
import re

from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message

from kvstore.etcdpb import rpc_pb2 as pb

_MESSAGES: dict[str, type[Message]] = {
    "get": pb.RangeResponse,
    "put": pb.PutResponse,
    "del": pb.DeleteRangeResponse,
    "txn": pb.TxnResponse,
    # Of these etcdctl writes the header alone: that is what its own type marshals.
    "lease grant": pb.ResponseHeader,
    "lease keep-alive": pb.ResponseHeader,
    "lease timetolive": pb.ResponseHeader,
    "lease list": pb.ResponseHeader,
    "lease revoke": pb.LeaseRevokeResponse,
    "member list": pb.MemberListResponse,
    "member add": pb.MemberAddResponse,
    "member update": pb.MemberUpdateResponse,
    "member remove": pb.MemberRemoveResponse,
    "alarm list": pb.AlarmResponse,
    "alarm disarm": pb.AlarmResponse,
    "user add": pb.AuthUserAddResponse,
    "user get": pb.AuthUserGetResponse,
    "user list": pb.AuthUserListResponse,
    "user delete": pb.AuthUserDeleteResponse,
    "user grant-role": pb.AuthUserGrantRoleResponse,
    "user revoke-role": pb.AuthUserRevokeRoleResponse,
    "role add": pb.AuthRoleAddResponse,
    "role get": pb.AuthRoleGetResponse,
    "role list": pb.AuthRoleListResponse,
    "role delete": pb.AuthRoleDeleteResponse,
    "role grant-permission": pb.AuthRoleGrantPermissionResponse,
    "role revoke-permission": pb.AuthRoleRevokePermissionResponse,
    "auth status": pb.AuthStatusResponse,
}

# Everywhere: addresses, and times in the client's own log lines on standard error.
_EVERYWHERE = [
    (re.compile(r'"ts":[^,]*,'), ""),
    (re.compile(r"0x[0-9a-f]{6,}|client-[0-9a-f-]{36}"), "POINTER"),
    (re.compile(r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?([+-]\d{4}|Z)?"), "TIME"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    # Ids are filled up with blanks here, if they happen to be short.
    (re.compile(r"\b(Member|cluster) +<"), r"\1 <"),
]
_DURATION = r"\d+(?:\.\d+)?(?:ns|µs|ms|s|m)"
# All buckets are counted and hashed, also what tells one member from another and one release's format from the next.
_SNAPSHOT_STATUS = [
    (r'("Hash" : |"hash":)\d+', r"\1HASH"),
    (r'("Keys" : |"totalKey":)\d+', r"\1KEYS"),
    (r'("Size" : |"totalSize":)\d+', r"\1SIZE"),
    (r"^[0-9a-f]+, (\d+), \d+, [0-9.]+ kB", r"HASH, \1, KEYS, SIZE"),
]

# By the beginning of the command.
_BY_COMMAND = {
    "lease timetolive": [
        (r"remaining\(\d+s\)", "remaining(SECONDS)"),
        (r'("ttl":|"TTL" : |TTL: )\d+', r"\1SECONDS"),
    ],
    "endpoint health": [(_DURATION, "DURATION")],
    "endpoint status": [
        (r"\d+(\.\d+)? [kM]B", "SIZE"),
        (r'(dbSize|dbSizeInUse|"DBSize\w*)(" ?: ?)\d+', r"\1\2SIZE"),
        (r'"version":"3\.[0-9.]+"|"Version" : "3\.[0-9.]+"|\b3\.\d\.\d+\b', "VERSION"),
    ],
    "defrag": [(_DURATION, "DURATION")],
    "check perf": [(r"[\d.]+ writes/s|[\d.]+s|(?<= )[\d.]+%|\d+(?=/s)", "FIGURE")],
    "check datascale": [(r" *\d+ / \d+ .*\r", ""), (r"[\d.]+ MB|[\d.]+s", "FIGURE")],
    "snapshot save": [(r"\"took\":\S+", "TOOK"), (r"size\":\"[^\"]*", "SIZE")],
    "snapshot restore": [(r'"stack":.*', "STACK")],
    "etcdutl snapshot restore": [(r'"stack":.*', "STACK")],
    "snapshot status": _SNAPSHOT_STATUS,
    "etcdutl snapshot status": _SNAPSHOT_STATUS,
}
_CLUSTER = re.compile(r'(ETCD_INITIAL_CLUSTER=")([^"]*)')


class Normaliser:
    """Takes out ids and durations. `name` gives things names under which they appear from then on."""

    def __init__(self) -> None:
        self.member = ""
        self._names: dict[str, str] = {}

    def learn_server(self, member_list: bytes) -> None:
        """Call the ids of a server by names; `member_list` is `member list -w json`."""
        answer = json.loads(member_list)
        mark = "MIRROR_" if self.member else ""
        cluster, member = answer["header"]["cluster_id"], answer["members"][0]["ID"]
        self.name(mark + "CLUSTER", f"{cluster:x}")
        self.name(mark + "MEMBER", f"{member:x}")
        self.member = self.member or f"{member:x}"

    def name(self, name: str, value: str) -> None:
        """From now on `value`, and if it is an id the other way to write it, reads `<name>`."""
        self._names[value] = f"<{name}>"
        if re.fullmatch(r"[0-9]{17,20}", value):
            self._names[f"{int(value):016x}"] = f"<{name}>"
        elif re.fullmatch(r"[0-9a-f]{8,16}", value):
            self._names[str(int(value, 16))] = f"<{name}>"

    def lines(self, command: str, text: str) -> list[str]:
        """The lines of an output, normalised."""
        for value, name in sorted(self._names.items(), key=lambda item: -len(item[0])):
            text = re.sub(rf"(?<![0-9a-f]){re.escape(value)}(?![0-9a-f])", name, text)
        for pattern, replacement in _EVERYWHERE:
            text = pattern.sub(replacement, text)
        for beginning, rules in _BY_COMMAND.items():
            if command.startswith(beginning):
                for rule, replacement in rules:
                    text = re.sub(rule, replacement, text)
        lines = text.splitlines()
        lines = [_CLUSTER.sub(lambda found: found[1] + ",".join(sorted(found[2].split(","))), line) for line in lines]
        if "-w table" in command:
            # The columns are as wide as the ids in them.
            lines = [re.sub(r"-{2,}", "--", re.sub(r" {2,}", " ", line)) for line in lines]
        if command.startswith("member list"):
            lines.sort()  # members come in the order of their ids
        return lines


def decoded(command: str, out: bytes) -> str | None:
    """What `-w protobuf` wrote, as text; None where that is no message."""
    words = command.split()
    kind = _MESSAGES.get(" ".join(words[:2])) or _MESSAGES.get(words[0])
    if kind is None:
        return None
    message = kind()
    try:
        message.ParseFromString(out)
    except DecodeError:  # the help text, say
        return None
    return text_format.MessageToString(message)
