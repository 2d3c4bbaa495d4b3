"""What the tables of kinds say beyond the schema (kubernetes `pkg/registry/*/*/strategy.go`), as one table.

A kind that is not listed has the rules of `KindRules()`: names are DNS subdomains, an update needs no resourceVersion,
PUT does not create, generations are not counted, and a write of the status may change metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from apiserver.api.scheme import Resource

__all__ = ["KindRules", "rules_of"]


@dataclass(frozen=True, slots=True)
class KindRules:
    """Rules of one kind.

    Attributes:
        name: which names are valid: a key of `api.validation.names.NAME_RULES`.
        create_on_update: whether PUT creates what does not exist.
        unconditional_update: whether PUT may come without resourceVersion.
        generation: members whose change counts a generation ("*" for all but metadata); empty: not counted.
        status_metadata: what a write of the status keeps of the stored metadata: "reset" for all that clients set
            (`ResetObjectMetaForStatus`), "old" for all of it, else names of members separated by spaces.
        isolates_status: whether writes of the main resource leave the status alone.
    """

    name: str = "subdomain"
    create_on_update: bool = False
    unconditional_update: bool = True
    generation: tuple[str, ...] = ()
    status_metadata: str = ""
    isolates_status: bool = True


_SPEC: Final = ("spec",)
_RBAC: Final = KindRules("path", create_on_update=True)
_POLICY: Final = KindRules(unconditional_update=False, generation=_SPEC)
_WEBHOOKS: Final = KindRules(unconditional_update=False, generation=("webhooks",))

_RULES: Final[dict[tuple[str, str], KindRules]] = {
    ("", "endpoints"): KindRules(create_on_update=True),
    ("", "events"): KindRules(create_on_update=True),
    ("", "limitranges"): KindRules(create_on_update=True),
    ("", "namespaces"): KindRules("label"),
    ("", "pods"): KindRules(generation=_SPEC, status_metadata="deletionTimestamp ownerReferences"),
    ("", "podtemplates"): KindRules(generation=("template",)),
    ("", "replicationcontrollers"): KindRules(generation=_SPEC),
    ("", "services"): KindRules("label", create_on_update=True),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"): _POLICY,
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"): _POLICY,
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): _WEBHOOKS,
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"): KindRules(
        unconditional_update=False, generation=_SPEC, status_metadata="reset"
    ),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"): _POLICY,
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): _WEBHOOKS,
    ("apiextensions.k8s.io", "customresourcedefinitions"): KindRules(
        unconditional_update=False, generation=_SPEC, status_metadata="deletionTimestamp"
    ),
    ("apiregistration.k8s.io", "apiservices"): KindRules(
        "path", unconditional_update=False, status_metadata="labels annotations finalizers ownerReferences"
    ),
    ("apps", "daemonsets"): KindRules(generation=_SPEC),
    ("apps", "deployments"): KindRules(generation=("spec", "metadata.annotations"), status_metadata="labels"),
    ("apps", "replicasets"): KindRules(generation=_SPEC),
    ("apps", "statefulsets"): KindRules("label", generation=_SPEC),
    ("autoscaling", "horizontalpodautoscalers"): KindRules(generation=_SPEC),
    ("batch", "cronjobs"): KindRules(generation=_SPEC),
    ("batch", "jobs"): KindRules(generation=_SPEC),
    ("certificates.k8s.io", "certificatesigningrequests"): KindRules("any"),
    ("certificates.k8s.io", "clustertrustbundles"): KindRules("any", unconditional_update=False),
    ("certificates.k8s.io", "podcertificaterequests"): KindRules(unconditional_update=False, status_metadata="reset"),
    ("coordination.k8s.io", "leasecandidates"): KindRules(
        "config key", create_on_update=True, unconditional_update=False
    ),
    ("coordination.k8s.io", "leases"): KindRules(create_on_update=True, unconditional_update=False),
    ("discovery.k8s.io", "endpointslices"): KindRules(generation=("*", "metadata.labels")),
    ("events.k8s.io", "events"): KindRules(create_on_update=True),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"): KindRules(generation=_SPEC, status_metadata="old"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"): KindRules(generation=_SPEC, status_metadata="old"),
    ("internal.apiserver.k8s.io", "storageversions"): KindRules(
        "any", unconditional_update=False, status_metadata="reset"
    ),
    ("lifecycle.k8s.io", "evictionrequests"): KindRules(
        unconditional_update=False, generation=_SPEC, status_metadata="reset"
    ),
    ("lifecycle.k8s.io", "evictions"): KindRules(unconditional_update=False, generation=_SPEC, status_metadata="reset"),
    ("networking.k8s.io", "ingressclasses"): KindRules(generation=_SPEC),
    ("networking.k8s.io", "ingresses"): KindRules(generation=_SPEC),
    ("networking.k8s.io", "ipaddresses"): KindRules("ip"),
    ("networking.k8s.io", "networkpolicies"): KindRules(generation=_SPEC),
    ("networking.k8s.io", "servicecidrs"): KindRules(status_metadata="reset"),
    ("node.k8s.io", "runtimeclasses"): KindRules(create_on_update=True, unconditional_update=False),
    ("policy", "poddisruptionbudgets"): KindRules(unconditional_update=False, generation=_SPEC),
    ("rbac.authorization.k8s.io", "clusterrolebindings"): _RBAC,
    ("rbac.authorization.k8s.io", "clusterroles"): _RBAC,
    ("rbac.authorization.k8s.io", "rolebindings"): _RBAC,
    ("rbac.authorization.k8s.io", "roles"): _RBAC,
    ("resource.k8s.io", "deviceclasses"): KindRules(generation=_SPEC),
    ("resource.k8s.io", "devicetaintrules"): KindRules(generation=_SPEC, status_metadata="reset"),
    ("resource.k8s.io", "resourceclaims"): KindRules(status_metadata="reset"),
    ("resource.k8s.io", "resourcepoolstatusrequests"): KindRules(unconditional_update=False, status_metadata="reset"),
    ("resource.k8s.io", "resourceslices"): KindRules(generation=_SPEC),
    ("scheduling.k8s.io", "compositepodgroups"): KindRules(unconditional_update=False, status_metadata="reset"),
    ("scheduling.k8s.io", "podgroups"): KindRules(unconditional_update=False, status_metadata="reset"),
    ("scheduling.k8s.io", "workloads"): KindRules(unconditional_update=False),
    ("storage.k8s.io", "csidrivers"): KindRules(unconditional_update=False, generation=_SPEC),
    ("storage.k8s.io", "csinodes"): KindRules(unconditional_update=False, status_metadata="reset"),
    ("storage.k8s.io", "csistoragecapacities"): KindRules(unconditional_update=False),
    ("storage.k8s.io", "volumeattachments"): KindRules(unconditional_update=False, status_metadata="reset"),
    ("storagemigration.k8s.io", "storageversionmigrations"): KindRules(
        unconditional_update=False, status_metadata="reset"
    ),
}

_PLAIN: Final = KindRules()


def rules_of(resource: Resource) -> KindRules:
    """The rules of a resource, which are the same in all versions of its group."""
    return _RULES.get((resource.group, resource.plural), _PLAIN)
