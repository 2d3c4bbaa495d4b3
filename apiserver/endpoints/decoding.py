"""Request bodies as canonical objects, with the refusals and warnings of kube-apiserver's decoders."""

from __future__ import annotations

from typing import Any

import orjson

from apiserver.api.scheme import GroupVersion, UnknownKindError, parse_api_version
from apiserver.api.status import StatusError, bad_request
from apiserver.codec import Codec, DecodeError, Kind
from apiserver.codec.json import parse_json
from apiserver.codec.yaml import parse_yaml
from apiserver.endpoints.negotiation import JSON, PROTOBUF, negotiate_input
from apiserver.endpoints.options import WriteOptions
from apiserver.request import Request

__all__ = ["check_strict", "decode_object", "decode_options", "read_json", "strict_error_text"]

_SUMMARY_BYTES = 30
_SCHEME = "pkg/api/legacyscheme/scheme.go:30"


def decode_object(request: Request, body: bytes, codec: Codec, kind: Kind, options: WriteOptions) -> dict[str, Any]:
    """The object in a body that should hold one of `kind`, normalized.

    Unknown and duplicate fields are refused or warned of as `options` say.

    Raises:
        StatusError: 415 for an unknown format, 400 for everything else that is wrong.
    """
    if request.trace is not None:
        request.trace("decode")
    form = negotiate_input(request)
    duplicates: list[str] = []
    try:
        if form == PROTOBUF:
            obj = codec.from_wire(body)
            _check_kind(codec, obj, kind, body)
            return obj
        if form == JSON:
            document, duplicates = read_json(body, strict=options.strict)
        else:
            document, duplicates = parse_yaml(body, strict=options.strict)
    except DecodeError as error:
        text = f"couldn't get version/kind; json parse error: {error}" if form == JSON else str(error)
        raise _unrecognized(kind, text, body) from None
    if not isinstance(document, dict):
        text = "couldn't get version/kind; json parse error: json: cannot unmarshal"
        raise _unrecognized(kind, f"{text} {_json_type(document)} into Go value of type struct", body)
    _check_kind(codec, document, kind, body)
    try:
        normalized = codec.normalize(document, kind, strict=options.strict)
    except DecodeError as error:
        raise _unhandled(kind, kind, str(error)) from None
    problems = duplicates + normalized.unknown
    check_strict(request, options, problems, lambda text: _unhandled(kind, kind, text))
    return normalized.obj


def read_json(body: bytes, *, strict: bool) -> tuple[Any, list[str]]:
    """A JSON document and its strict decoding errors; raises DecodeError, also for what is nested too deeply."""
    try:
        return parse_json(body, strict=strict)
    except orjson.JSONEncodeError:
        raise DecodeError("exceeded max depth") from None


def check_strict(request: Request, options: WriteOptions, problems: list[str], refuse: Any) -> None:
    """Warn of strict decoding errors, or raise what `refuse` makes of their text."""
    if not problems:
        return
    if options.field_validation == "Strict":
        raise refuse(strict_error_text(problems))
    if options.field_validation == "Warn":
        request.warnings.extend(problems)


def strict_error_text(problems: list[str]) -> str:
    """Several strict decoding errors in one."""
    return f"strict decoding error: {', '.join(dict.fromkeys(problems))}"


def decode_options(request: Request, body: bytes, codec: Codec) -> dict[str, Any]:
    """DeleteOptions in a body: of meta.k8s.io/v1, or of the group of the resource, as older clients send it."""
    form = negotiate_input(request)
    try:
        if form == PROTOBUF:
            options = codec.from_wire(body)
        else:
            options, _ = read_json(body, strict=False) if form == JSON else parse_yaml(body, strict=False)
        if not isinstance(options, dict):
            raise bad_request("couldn't get version/kind; json parse error: the body is no object")
        if options.get("kind", "DeleteOptions") != "DeleteOptions":
            raise bad_request("decoded object cannot be converted to DeleteOptions")
        return codec.normalize(options, ("", "v1", "DeleteOptions"), strict=False).obj
    except DecodeError as error:
        raise bad_request(str(error)) from None


def _check_kind(codec: Codec, obj: dict[str, Any], kind: Kind, body: bytes) -> None:
    """The object may leave apiVersion and kind to the URL, but not contradict it."""
    api_version, name = obj.get("apiVersion"), obj.get("kind")
    expected = GroupVersion(kind[0], kind[1]).api_version
    if (not api_version or api_version == expected) and (not name or name == kind[2]):
        return
    try:
        given = parse_api_version(str(api_version or expected))
    except ValueError as error:
        raise _unrecognized(kind, str(error), body) from None
    found = (given.group, given.version, str(name or kind[2]))
    try:
        codec.scheme.type_of(*found)
    except UnknownKindError:
        text = f'no kind "{found[2]}" is registered for version "{given.api_version}" in scheme "{_SCHEME}"'
        raise _unhandled(found, kind, text) from None
    if found[0] != kind[0] or found[2] != kind[2]:
        package = kind[0].partition(".")[0] or "core"
        text = f"converting ({found[1]}.{found[2]}) to ({package}.{kind[2]}): unknown conversion"
        raise _unhandled(found, kind, text)
    raise bad_request(
        f"the API version in the data ({given.api_version}) does not match the expected API version ({expected})"
    )


def _unhandled(found: Kind, kind: Kind, error: str) -> StatusError:
    return bad_request(f'{found[2]} in version "{found[1]}" cannot be handled as a {kind[2]}: {error}')


def _unrecognized(kind: Kind, error: str, body: bytes) -> StatusError:
    return bad_request(f"the object provided is unrecognized (must be of type {kind[2]}): {error} ({_summary(body)})")


def _summary(body: bytes) -> str:
    """The beginning of a body that could not be read."""
    if not body:
        return "<empty>"
    cut = body[:_SUMMARY_BYTES]
    more = " ..." if len(body) > _SUMMARY_BYTES else ""
    return (cut.decode("utf-8", "replace") if body.startswith(b"{") else cut.hex()) + more


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return {str: "string", list: "array", type(None): "null"}.get(type(value), "value")
