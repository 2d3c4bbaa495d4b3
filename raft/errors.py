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
