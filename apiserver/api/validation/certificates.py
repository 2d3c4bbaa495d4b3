"""Certificate signing requests and trust bundles (kubernetes `apis/certificates/validation`).

Of the ASN.1 inside only the outermost structure is looked at; signatures are not verified.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections import Counter
from typing import Final

from apiserver.api.field_errors import (
    duplicate,
    field_forbidden,
    field_invalid,
    not_supported,
    required,
    too_long,
)
from apiserver.api.validation.changes import show_diff
from apiserver.api.validation.common import EMPTY, Errors, Obj
from apiserver.api.validation.objectmeta import IMMUTABLE
from apiserver.api.validation.signers import check_signer_name

__all__ = ["check_signing_request", "check_signing_request_change", "check_trust_bundle"]

TRUST_BUNDLE_BYTES_MAX: Final = 1024 * 1024
EXPIRATION_SECONDS_MIN: Final = 600
LEGACY_SIGNER: Final = "kubernetes.io/legacy-unknown"
_OMITTED: Final = "<value omitted>"
_APPROVAL: Final = ("Approved", "Denied")
_USAGES: Final = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)-----END \1-----", re.DOTALL)


def _pem_blocks(text: str) -> list[tuple[str, bool, bytes]]:
    """The blocks of a PEM text: type, whether there are headers, and the content; undecodable ones do not count."""
    blocks = []
    for kind, body in _PEM.findall(text):
        headers, _, rest = body.partition("\n\n") if ":" in body else ("", "", body)
        try:
            blocks.append((kind, bool(headers), b64decode("".join(rest.split()), validate=True)))
        except binascii.Error:
            continue
    return blocks


def _is_der_sequence(data: bytes) -> bool:
    """Whether data is one ASN.1 SEQUENCE, as certificates and requests are."""
    if len(data) < 2 or data[0] != 0x30:
        return False
    length, start = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    return len(data) == start + length


def _decoded(text: str) -> str:
    return b64decode(text or "").decode("latin-1")


def check_signing_request(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A CertificateSigningRequest, new or as a change leaves it; what was wrong before may stay."""
    spec, before = obj.get("spec") or EMPTY, (old or EMPTY).get("spec") or EMPTY
    problem = _request_problem(_decoded(spec.get("request", "")))
    if problem:
        errors.append(field_invalid("spec.request", spec.get("request", ""), problem))
    _check_usages(errors, spec.get("usages") or [], before.get("usages") or [])
    signer = spec.get("signerName", "")
    if signer == LEGACY_SIGNER and before.get("signerName") != LEGACY_SIGNER:
        text = "the legacy signerName is not allowed via this API version"
        errors.append(field_invalid("spec.signerName", signer, text))
    else:
        check_signer_name(errors, "spec.signerName", signer)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < EXPIRATION_SECONDS_MIN:
        text = "may not specify a duration less than 600 seconds (10 minutes)"
        errors.append(field_invalid("spec.expirationSeconds", seconds, text))
    status, old_status = obj.get("status") or EMPTY, (old or EMPTY).get("status") or EMPTY
    _check_conditions(errors, status.get("conditions") or [], old_status.get("conditions") or [])
    certificate = status.get("certificate", "")
    if certificate != old_status.get("certificate", "") or old is None:
        problem = _certificate_problem(_decoded(certificate))
        if problem:
            errors.append(field_invalid("status.certificate", "<certificate data>", problem))


def _request_problem(text: str) -> str:
    blocks = _pem_blocks(text)
    if not blocks or blocks[0][0] != "CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    return "" if _is_der_sequence(blocks[0][2]) else "asn1: syntax error: data truncated"


def _certificate_problem(text: str) -> str:
    if not text:
        return ""
    blocks = _pem_blocks(text)
    for kind, has_headers, data in blocks:
        if kind != "CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{kind}"'
        if has_headers:
            return "no PEM block headers are permitted"
        if not _is_der_sequence(data):
            return "x509: malformed certificate"
    return "" if blocks else "must contain at least one CERTIFICATE PEM block"


def _check_usages(errors: Errors, usages: list[str], before: list[str]) -> None:
    if not usages:
        errors.append(required("spec.usages"))
    if all(usage in _USAGES for usage in before):
        for index, usage in enumerate(usages):
            if usage not in _USAGES:
                errors.append(not_supported(f"spec.usages[{index}]", usage, _USAGES))
    if len(set(before)) == len(before):
        for index, usage in enumerate(usages):
            if usage in usages[:index]:
                errors.append(duplicate(f"spec.usages[{index}]", usage))


def _check_conditions(errors: Errors, conditions: list[Obj], before: list[Obj]) -> None:
    known = Counter(condition.get("type", "") for condition in before)
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        at, kind, status = f"status.conditions[{index}]", condition.get("type", ""), condition.get("status", "")
        if not kind and "" not in known:
            errors.append(required(f"{at}.type"))
        allowed = ("True",) if kind in (*_APPROVAL, "Failed") else ("False", "True", "Unknown")
        if not status:
            errors.append(required(f"{at}.status"))
        elif status not in allowed:
            errors.append(not_supported(f"{at}.status", status, allowed))
        if kind in seen and all(count == 1 for count in known.values()):
            errors.append(duplicate(f"{at}.type", kind))
        seen.add(kind)


def check_signing_request_change(errors: Errors, obj: Obj, old: Obj, *, may_approve: bool, may_issue: bool) -> None:
    """What a change may do: approve or deny through `/approval`, issue the certificate through `/status`."""
    check_signing_request(errors, obj, old)
    now, before = ((of.get("status") or EMPTY).get("conditions") or [] for of in (obj, old))
    for kind in (*_APPROVAL, "Failed"):
        if len(_of_type(now, kind)) < len(_of_type(before, kind)):
            text = f'updates may not remove a condition of type "{kind}"'
            errors.append(field_forbidden("status.conditions", text))
    if not may_approve:
        for kind in _APPROVAL:
            new, was = _of_type(now, kind), _of_type(before, kind)
            if len(new) > len(was):
                text = f'updates may not add a condition of type "{kind}"'
                errors.append(field_forbidden("status.conditions", text))
            elif len(new) == len(was) and new != was:
                text = f'updates may not modify a condition of type "{kind}"\n{show_diff(was, new)}'
                errors.append(field_forbidden("status.conditions", text))
    issued, was_issued = ((of.get("status") or EMPTY).get("certificate", "") for of in (obj, old))
    if issued != was_issued:
        if not may_issue:
            errors.append(field_forbidden("status.certificate", "updates may not set certificate content"))
        elif was_issued:
            errors.append(field_forbidden("status.certificate", "updates may not modify existing certificate content"))


def _of_type(conditions: list[Obj], kind: str) -> list[Obj]:
    return [condition for condition in conditions if condition.get("type") == kind]


def check_trust_bundle(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A ClusterTrustBundle."""
    spec, before = obj.get("spec") or EMPTY, (old or EMPTY).get("spec") or EMPTY
    signer, bundle = spec.get("signerName", ""), spec.get("trustBundle", "")
    if signer:
        check_signer_name(errors, "spec.signerName", signer)
    if old is None or bundle != before.get("trustBundle", ""):
        _check_bundle(errors, "spec.trustBundle", bundle)
    if old is not None and signer != before.get("signerName", ""):
        errors.append(field_invalid("spec.signerName", signer, IMMUTABLE))


def _check_bundle(errors: Errors, path: str, bundle: str) -> None:
    if len(bundle.encode()) > TRUST_BUNDLE_BYTES_MAX:
        errors.append(too_long(path, TRUST_BUNDLE_BYTES_MAX))
        return
    count = len(errors)
    entries: dict[bytes, list[int]] = {}
    for index, (kind, has_headers, data) in enumerate(_pem_blocks(bundle)):
        if kind != "CERTIFICATE":
            errors.append(field_invalid(path, _OMITTED, f"entry {index} has bad block type: {kind}"))
        elif has_headers:
            errors.append(field_invalid(path, _OMITTED, f"entry {index} has PEM block headers"))
        elif not _is_der_sequence(data):
            errors.append(field_invalid(path, _OMITTED, f"entry {index} does not parse as X.509"))
        else:
            entries.setdefault(data, []).append(index)
    if len(errors) > count:
        return
    if not entries:
        errors.append(field_invalid(path, _OMITTED, "at least one trust anchor must be provided"))
    for indices in entries.values():
        if len(indices) > 1:
            listed = " ".join(map(str, indices))
            errors.append(field_invalid(path, _OMITTED, f"duplicate trust anchor (indices [{listed}])"))
