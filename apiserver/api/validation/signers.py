"""Names of certificate signers and of the trust bundles that belong to them (core `names.go`)."""

from __future__ import annotations

from typing import Final

from apiserver.api.field_errors import field_invalid, required, too_long
from apiserver.api.validation.common import Errors
from apiserver.api.validation.names import (
    DNS_LABEL_BYTES_MAX,
    DNS_SUBDOMAIN_BYTES_MAX,
    NameRule,
    dns_label_problems,
    dns_subdomain_problems,
    mask_trailing_dash,
)

__all__ = ["check_signer_name", "is_kubernetes_signer", "trust_bundle_name_problems"]

# A path must hold a namespace and a name with a dot between.
SIGNER_NAME_BYTES_MAX: Final = DNS_SUBDOMAIN_BYTES_MAX + 1 + DNS_SUBDOMAIN_BYTES_MAX + DNS_LABEL_BYTES_MAX + 1


def is_kubernetes_signer(name: str) -> bool:
    """Whether a signer's name is reserved to Kubernetes."""
    host = name.partition("/")[0]
    return host == "kubernetes.io" or host.endswith(".kubernetes.io")


def check_signer_name(errors: Errors, path: str, name: str) -> None:
    """A signer's name: `example.com/signer-name`."""
    if not name:
        errors.append(required(path))
        return
    domain, slash, signer = name.partition("/")
    if not slash or "/" in signer:
        text = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        errors.append(field_invalid(path, name, text))
        return
    if len(domain) > DNS_SUBDOMAIN_BYTES_MAX:
        errors.append(too_long(path, DNS_SUBDOMAIN_BYTES_MAX))
    labels = domain.split(".")
    for label in labels:
        problems = dns_label_problems(label)
        for problem in problems:
            errors.append(field_invalid(path, domain, f'validating label "{label}": {problem}'))
        if problems:
            break
    if len(labels) < 2:
        text = "should be a domain with at least two segments separated by dots"
        errors.append(field_invalid(path, domain, text))
    for label in signer.split("."):
        problems = dns_subdomain_problems(label)
        for problem in problems:
            errors.append(field_invalid(path, signer, f'validating label "{label}": {problem}'))
        if problems:
            break
    if len(name) > SIGNER_NAME_BYTES_MAX:
        errors.append(too_long(path, SIGNER_NAME_BYTES_MAX))


def trust_bundle_name_problems(signer: str) -> NameRule:
    """The rule for names of ClusterTrustBundles of a signer; of bundles without one when it is empty."""

    def problems(name: str, prefix: bool) -> list[str]:
        if not signer:
            if ":" in name:
                return ['ClusterTrustBundle without signer name must not have ":" in its name']
            return dns_subdomain_problems(mask_trailing_dash(name) if prefix else name)
        wanted = signer.replace("/", ":") + ":"
        if not name.startswith(wanted):
            return [f"ClusterTrustBundle for signerName {signer} must be named with prefix {wanted}"]
        rest = name.removeprefix(wanted)
        return dns_subdomain_problems(mask_trailing_dash(rest) if prefix else rest)

    return problems
