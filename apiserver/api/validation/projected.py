"""Projected volumes: several sources in one directory, whose paths must not collide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from apiserver.api.field_errors import field_forbidden, field_invalid, not_supported, required
from apiserver.api.validation.common import Errors, Obj, check_local_path
from apiserver.api.validation.selectors import check_label_selector
from apiserver.api.validation.signers import check_signer_name, is_kubernetes_signer, trust_bundle_name_problems
from apiserver.api.validation.volume_parts import check_file_mode, check_key_to_path, check_user

__all__ = ["check_projected", "service_account_token_sources"]

TOKEN_SECONDS_MIN: Final = 600
TOKEN_SECONDS_MAX: Final = 1 << 32
CERTIFICATE_SECONDS_MIN: Final = 3600
CERTIFICATE_SECONDS_MAX: Final = 91 * 24 * 3600
KUBERNETES_CERTIFICATE_SECONDS_MAX: Final = 24 * 3600
_KEY_TYPES: Final = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
_CONFLICT: Final = "conflicting duplicate paths"

CheckFile = Callable[[Errors, str, Obj], None]


def check_projected(errors: Errors, path: str, value: Obj, check_file: CheckFile) -> None:
    """A ProjectedVolumeSource.

    Args:
        check_file: the check of one downward API file.
    """
    check_file_mode(errors, f"{path}.defaultMode", value.get("defaultMode"))
    check_user(errors, f"{path}.defaultUser", value.get("defaultUser"))
    taken: set[str] = set()
    for index, source in enumerate(value.get("sources") or ()):
        at = f"{path}.sources[{index}]"
        given = [name for name, of in source.items() if of is not None]
        for name in ("secret", "configMap"):
            if source.get(name) is not None:
                _check_keys(errors, f"{at}.{name}", source[name], path, taken)
        if source.get("downwardAPI") is not None:
            for item in source["downwardAPI"].get("items") or ():
                check_file(errors, f"{at}.downwardAPI", item)
                _take(errors, path, item.get("path", ""), item.get("path", ""), taken)
        if source.get("serviceAccountToken") is not None:
            _check_token(errors, f"{at}.serviceAccountToken", source["serviceAccountToken"], path)
        if source.get("clusterTrustBundle") is not None:
            _check_trust_bundle(errors, f"{at}.clusterTrustBundle", source["clusterTrustBundle"], path, taken)
        if source.get("podCertificate") is not None:
            _check_certificate(errors, f"{at}.podCertificate", source["podCertificate"], path, taken)
        if len(given) > 1:
            errors.append(field_forbidden(at, "may not specify more than 1 volume type per source"))


def _take(errors: Errors, path: str, file: str, shown: str, taken: set[str]) -> None:
    if file:
        if file in taken:
            errors.append(field_invalid(path, shown, _CONFLICT))
        taken.add(file)


def _check_keys(errors: Errors, path: str, source: Obj, volume: str, taken: set[str]) -> None:
    if not source.get("name"):
        errors.append(required(f"{path}.name"))
    for index, item in enumerate(source.get("items") or ()):
        check_key_to_path(errors, f"{path}.items[{index}]", item)
        _take(errors, volume, item.get("path", ""), source.get("name", ""), taken)


def _check_token(errors: Errors, path: str, token: Obj, volume: str) -> None:
    seconds = token.get("expirationSeconds")
    if seconds is None:
        errors.append(required(f"{path}.expirationSeconds"))
    elif seconds < TOKEN_SECONDS_MIN:
        text = "may not specify a duration less than 10 minutes"
        errors.append(field_invalid(f"{path}.expirationSeconds", seconds, text))
    elif seconds > TOKEN_SECONDS_MAX:
        text = "may not specify a duration larger than 2^32 seconds"
        errors.append(field_invalid(f"{path}.expirationSeconds", seconds, text))
    if not token.get("path"):
        errors.append(required(f"{volume}.path"))
    else:
        check_local_path(errors, f"{volume}.path", token["path"])
    check_user(errors, f"{path}.user", token.get("user"))


def _check_trust_bundle(errors: Errors, path: str, bundle: Obj, volume: str, taken: set[str]) -> None:
    name, signer = bundle.get("name"), bundle.get("signerName")
    if name is not None and signer is not None:
        errors.append(field_invalid(path, bundle, "only one of name and signerName may be used"))
    elif name is not None:
        if not name:
            errors.append(required(f"{path}.name", "must be a valid object name"))
        of, colon, _ = name.rpartition(":")
        for problem in trust_bundle_name_problems(of.replace(":", "/") if colon else "")(name, False):
            text = f"not a valid clustertrustbundlename: {problem}"
            errors.append(field_invalid(f"{path}.name", name, text))
        if bundle.get("labelSelector") is not None:
            text = "labelSelector must be unset if name is specified"
            errors.append(field_invalid(f"{path}.labelSelector", bundle["labelSelector"], text))
    elif signer is not None:
        if not signer:
            errors.append(required(f"{path}.signerName", "must be a valid signer name"))
        check_signer_name(errors, f"{path}.signerName", signer)
        check_label_selector(errors, f"{path}.labelSelector", bundle.get("labelSelector"))
    else:
        errors.append(required(path, "either name or signerName must be specified"))
    if not bundle.get("path"):
        errors.append(required(f"{path}.path"))
    check_user(errors, f"{path}.user", bundle.get("user"))
    check_local_path(errors, f"{path}.path", bundle.get("path", ""))
    _take(errors, volume, bundle.get("path", ""), bundle.get("path", ""), taken)


def _check_certificate(errors: Errors, path: str, certificate: Obj, volume: str, taken: set[str]) -> None:
    signer = certificate.get("signerName", "")
    check_signer_name(errors, f"{path}.signerName", signer)
    check_user(errors, f"{path}.user", certificate.get("user"))
    if certificate.get("keyType", "") not in _KEY_TYPES:
        errors.append(not_supported(f"{path}.keyType", certificate.get("keyType", ""), _KEY_TYPES))
    seconds = certificate.get("maxExpirationSeconds")
    if seconds is not None:
        if seconds < CERTIFICATE_SECONDS_MIN:
            text = f"if provided, maxExpirationSeconds must be >= {CERTIFICATE_SECONDS_MIN}"
            errors.append(field_invalid(f"{path}.maxExpirationSeconds", seconds, text))
        limit = KUBERNETES_CERTIFICATE_SECONDS_MAX if is_kubernetes_signer(signer) else CERTIFICATE_SECONDS_MAX
        if seconds > limit:
            text = f"if provided, maxExpirationSeconds must be <= {limit}"
            errors.append(field_invalid(f"{path}.maxExpirationSeconds", seconds, text))
    files = [m for m in ("credentialBundlePath", "keyPath", "certificateChainPath") if certificate.get(m)]
    for member in files:
        check_local_path(errors, f"{path}.{member}", certificate[member])
        _take(errors, volume, certificate[member], certificate[member], taken)
    if not files:
        text = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
        errors.append(required(path, text))


def service_account_token_sources(volumes: list[Obj]) -> list[str]:
    """Paths, below the list of volumes, of sources that need the pod's service account."""
    return [
        f"[{v}].projected.sources[{s}].serviceAccountToken"
        for v, volume in enumerate(volumes)
        for s, source in enumerate((volume.get("projected") or {}).get("sources") or ())
        if source.get("serviceAccountToken") is not None
    ]
