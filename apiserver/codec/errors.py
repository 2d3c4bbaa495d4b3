"""What can go wrong between bytes and objects."""

from __future__ import annotations

__all__ = ["CodecError", "DecodeError", "EncodeError", "EncryptedValueError", "UnknownObjectKindError"]


class CodecError(ValueError):
    """The base of all errors of this package."""


class DecodeError(CodecError):
    """The bytes or the parsed document are no object of the kind they claim to be; the message is for the client."""


class UnknownObjectKindError(DecodeError):
    """The object names an apiVersion and kind that the scheme does not have.

    Attributes:
        api_version: as the object says.
        kind: as the object says.
    """

    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(f'no kind "{kind}" is registered for version "{api_version}"')
        self.api_version = api_version
        self.kind = kind


class EncryptedValueError(DecodeError):
    """A stored value that was sealed by an encryption provider and was not opened first."""


class EncodeError(CodecError):
    """The object is not canonical, so it cannot be written: a mistake of the caller, not of the client."""
