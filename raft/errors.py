"""Errors that `raft` raises on purpose; anything else is a bug."""


class RaftError(Exception):
    """Base of every error this package raises."""


class CorruptLogError(RaftError):
    """A file of the log is damaged at a place where no crash can have damaged it.

    Attributes:
        path: the file.
        offset: where in the file, in bytes.
    """

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(f"{path}: damaged at offset {offset}: {reason}")
        self.path = path
        self.offset = offset
        self.reason = reason


class StoppedError(RaftError):
    """The driver has stopped; nothing more is accepted."""


class ProposalDroppedError(RaftError):
    """The proposal was not taken: no leader, leadership moving, or too much is uncommitted. It may be tried again."""


class ConfChangeError(RaftError):
    """A membership change that does not fit the present configuration."""


class LogLostError(RaftError):
    """What this member has acknowledged or committed is not in its log any more: its disk was replaced or rolled back.

    Going on could lose committed entries of the whole cluster, so the member must stop.
    """


class UnexpectedMessageError(RaftError):
    """A message that a peer may not send: a local one, or an answer from who is not a member."""


class PeerPortError(RaftError):
    """Peers cannot be listened for: the address is taken, or is none of ours."""


class DataDirInUseError(RaftError):
    """Another process has the log open."""


class PeerCallError(RaftError):
    """A call to another member has failed (`raft.runtime.peer_client`)."""


class PeerUnavailableError(PeerCallError):
    """Nobody has answered in time, by any of the member's URLs. Whether the call was carried out is not known."""


class PeerRefusedError(PeerCallError):
    """The member has answered with an error.

    Attributes:
        code: the gRPC status by its name, such as "FAILED_PRECONDITION".
        reason: the member's text.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
