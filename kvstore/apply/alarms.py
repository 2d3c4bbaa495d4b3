"""Alarms: why the cluster refuses some requests, until an operator disarms them."""

from __future__ import annotations

from kvstore.backend import Backend
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["Alarms"]

_BUCKET = "alarm"


class Alarms:
    """The alarms raised, by type and member; the record's serialised form is its stored key, as in etcd."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._raised: set[tuple[int, int]] = set()

    def restore(self) -> None:
        """Read what was raised before a restart."""
        self._raised = set()
        for stored, _ in self._backend.items(_BUCKET):
            member = pb.AlarmMember.FromString(stored)
            self._raised.add((member.alarm, member.memberID))

    def activate(self, alarm: int, member_id: int) -> pb.AlarmMember | None:
        """Raise an alarm; None if it is raised already."""
        if (alarm, member_id) in self._raised:
            return None
        self._raised.add((alarm, member_id))
        member = _member(alarm, member_id)
        self._backend.put(_BUCKET, member.SerializeToString(deterministic=True), b"")
        return member

    def deactivate(self, alarm: int, member_id: int) -> pb.AlarmMember | None:
        """Disarm an alarm; None if it is not raised."""
        if (alarm, member_id) not in self._raised:
            return None
        self._raised.remove((alarm, member_id))
        member = _member(alarm, member_id)
        self._backend.delete(_BUCKET, member.SerializeToString(deterministic=True))
        return member

    def get(self, alarm: int = pb.NONE) -> list[pb.AlarmMember]:
        """The alarms of a type, or all."""
        return [_member(*raised) for raised in sorted(self._raised) if alarm in (pb.NONE, raised[0])]

    def is_raised(self, alarm: int, member_id: int) -> bool:
        """Whether a member has raised an alarm."""
        return (alarm, member_id) in self._raised

    @property
    def any(self) -> bool:
        """Whether any alarm is raised."""
        return bool(self._raised)

    @property
    def no_space(self) -> bool:
        """Whether any member ran out of space."""
        return any(alarm == pb.NOSPACE for alarm, _ in self._raised)

    @property
    def corrupt(self) -> bool:
        """Whether any member disagrees with the others about the data."""
        return any(alarm == pb.CORRUPT for alarm, _ in self._raised)


def _member(alarm: int, member_id: int) -> pb.AlarmMember:
    member = pb.AlarmMember(memberID=member_id)
    member.alarm = pb.AlarmType.ValueType(alarm)
    return member
