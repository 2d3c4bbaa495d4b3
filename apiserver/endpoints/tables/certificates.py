"""Rows of `certificates.k8s.io`."""

from __future__ import annotations

from typing import Any

from apiserver.endpoints.tables.cells import NONE, Object, Printer, PrinterTable, age, label_text
from apiserver.endpoints.tables.durations import Now, human_duration

__all__ = ["PRINTERS"]


def _condition_types(obj: Object) -> list[str]:
    return [condition.get("type", "") for condition in (obj.get("status") or {}).get("conditions") or ()]


def _signing_request_state(obj: Object) -> str:
    types = _condition_types(obj)
    state = next((kind for kind in ("Denied", "Approved") if kind in types), "Pending")
    if "Failed" in types:
        state += ",Failed"
    return f"{state},Issued" if (obj.get("status") or {}).get("certificate") else state


def _certificate_signing_request(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    seconds = spec.get("expirationSeconds")
    return [
        obj["metadata"].get("name", ""),
        age(obj, now),
        spec.get("signerName") or NONE,
        spec.get("username", ""),
        NONE if seconds is None else human_duration(seconds),
        _signing_request_state(obj),
    ]


def _cluster_trust_bundle(obj: Object, now: Now) -> list[Any]:
    return [obj["metadata"].get("name", ""), (obj.get("spec") or {}).get("signerName") or NONE]


def _pod_certificate_request(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    states = [kind for kind in _condition_types(obj) if kind in ("Issued", "Denied", "Failed")]
    return [
        obj["metadata"].get("name", ""),
        spec.get("podName", ""),
        spec.get("serviceAccountName", ""),
        spec.get("nodeName", ""),
        spec.get("signerName", ""),
        states[-1] if states else "Pending",
        label_text(spec.get("unverifiedUserAnnotations")),
    ]


PRINTERS: PrinterTable = {
    ("certificates.k8s.io", "CertificateSigningRequest"): Printer(_certificate_signing_request),
    ("certificates.k8s.io", "ClusterTrustBundle"): Printer(_cluster_trust_bundle),
    ("certificates.k8s.io", "PodCertificateRequest"): Printer(_pod_certificate_request),
}
