"""Which class is the strategy of which resource; every other resource has the base class."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from apiserver.api.validation.admission_policies import (
    check_mutating_binding,
    check_mutating_policy,
    check_validating_binding,
    check_validating_policy,
)
from apiserver.api.validation.autoscaling import check_autoscaler, check_autoscaler_status
from apiserver.api.validation.cluster import check_resource_quota, check_resource_quota_status
from apiserver.api.validation.config import check_config_map
from apiserver.api.validation.devices import check_device_class
from apiserver.api.validation.disruption import check_disruption_budget, check_disruption_budget_status
from apiserver.api.validation.flow_control import check_flow_schema, check_flow_status, check_priority_level
from apiserver.api.validation.leases import check_lease, check_lease_candidate
from apiserver.api.validation.storage import (
    check_csi_driver,
    check_csi_node,
    check_csi_node_status,
    check_volume_attachment,
    check_volume_attributes_class,
)
from apiserver.api.validation.webhooks import check_webhook_configuration
from apiserver.registry.kinds import (
    certificates,
    classes,
    cluster,
    config,
    devices,
    endpoints,
    extensions,
    jobs,
    networking,
    rbac,
    volumes,
    workloads,
)
from apiserver.registry.kinds.checked import checked
from apiserver.registry.kinds.namespaces import NamespaceStrategy
from apiserver.registry.kinds.pods import PodStrategy
from apiserver.registry.kinds.services import ServiceStrategy
from apiserver.registry.strategy import Strategy

__all__ = ["STRATEGIES"]

_ADMISSION: Final = "admissionregistration.k8s.io"
_FLOW_CONTROL: Final = "flowcontrol.apiserver.k8s.io"
_RBAC: Final = "rbac.authorization.k8s.io"

STRATEGIES: Final[Mapping[tuple[str, str], type[Strategy]]] = {
    ("", "configmaps"): checked(check_config_map),
    ("", "endpoints"): endpoints.EndpointsStrategy,
    ("", "events"): cluster.EventStrategy,
    ("", "limitranges"): cluster.LimitRangeStrategy,
    ("", "namespaces"): NamespaceStrategy,
    ("", "nodes"): cluster.NodeStrategy,
    ("", "persistentvolumeclaims"): volumes.PersistentVolumeClaimStrategy,
    ("", "persistentvolumes"): volumes.PersistentVolumeStrategy,
    ("", "pods"): PodStrategy,
    ("", "podtemplates"): workloads.PodTemplateStrategy,
    ("", "replicationcontrollers"): workloads.ReplicationControllerStrategy,
    ("", "resourcequotas"): checked(
        check_resource_quota, lambda errors, obj, old: check_resource_quota_status(errors, obj)
    ),
    ("", "secrets"): config.SecretStrategy,
    ("", "serviceaccounts"): config.ServiceAccountStrategy,
    ("", "services"): ServiceStrategy,
    (_ADMISSION, "mutatingadmissionpolicies"): checked(check_mutating_policy),
    (_ADMISSION, "mutatingadmissionpolicybindings"): checked(check_mutating_binding),
    (_ADMISSION, "mutatingwebhookconfigurations"): checked(partial(check_webhook_configuration, mutating=True)),
    (_ADMISSION, "validatingadmissionpolicies"): checked(check_validating_policy),
    (_ADMISSION, "validatingadmissionpolicybindings"): checked(check_validating_binding),
    (_ADMISSION, "validatingwebhookconfigurations"): checked(partial(check_webhook_configuration, mutating=False)),
    ("apiextensions.k8s.io", "customresourcedefinitions"): extensions.CustomResourceDefinitionStrategy,
    ("apiregistration.k8s.io", "apiservices"): extensions.APIServiceStrategy,
    ("apps", "controllerrevisions"): workloads.ControllerRevisionStrategy,
    ("apps", "daemonsets"): workloads.DaemonSetStrategy,
    ("apps", "deployments"): workloads.DeploymentStrategy,
    ("apps", "replicasets"): workloads.ReplicaSetStrategy,
    ("apps", "statefulsets"): workloads.StatefulSetStrategy,
    ("autoscaling", "horizontalpodautoscalers"): checked(check_autoscaler, check_autoscaler_status),
    ("batch", "cronjobs"): jobs.CronJobStrategy,
    ("batch", "jobs"): jobs.JobStrategy,
    ("certificates.k8s.io", "certificatesigningrequests"): certificates.SigningRequestStrategy,
    ("certificates.k8s.io", "clustertrustbundles"): certificates.TrustBundleStrategy,
    ("coordination.k8s.io", "leasecandidates"): checked(check_lease_candidate),
    ("coordination.k8s.io", "leases"): checked(check_lease),
    ("discovery.k8s.io", "endpointslices"): networking.EndpointSliceStrategy,
    ("events.k8s.io", "events"): cluster.EventStrategy,
    (_FLOW_CONTROL, "flowschemas"): checked(check_flow_schema, check_flow_status),
    (_FLOW_CONTROL, "prioritylevelconfigurations"): checked(check_priority_level, check_flow_status),
    ("networking.k8s.io", "ingressclasses"): networking.IngressClassStrategy,
    ("networking.k8s.io", "ingresses"): networking.IngressStrategy,
    ("networking.k8s.io", "ipaddresses"): networking.IPAddressStrategy,
    ("networking.k8s.io", "networkpolicies"): networking.NetworkPolicyStrategy,
    ("networking.k8s.io", "servicecidrs"): networking.ServiceCIDRStrategy,
    ("node.k8s.io", "runtimeclasses"): classes.RuntimeClassStrategy,
    ("policy", "poddisruptionbudgets"): checked(
        check_disruption_budget,
        check_disruption_budget_status,
    ),
    (_RBAC, "clusterrolebindings"): rbac.ClusterRoleBindingStrategy,
    (_RBAC, "clusterroles"): rbac.ClusterRoleStrategy,
    (_RBAC, "rolebindings"): rbac.RoleBindingStrategy,
    (_RBAC, "roles"): rbac.RoleStrategy,
    ("resource.k8s.io", "deviceclasses"): checked(check_device_class),
    ("resource.k8s.io", "devicetaintrules"): devices.DeviceTaintRuleStrategy,
    ("resource.k8s.io", "resourceclaims"): devices.ResourceClaimStrategy,
    ("resource.k8s.io", "resourceclaimtemplates"): devices.ResourceClaimTemplateStrategy,
    ("resource.k8s.io", "resourceslices"): devices.ResourceSliceStrategy,
    ("scheduling.k8s.io", "priorityclasses"): classes.PriorityClassStrategy,
    ("storage.k8s.io", "csidrivers"): checked(check_csi_driver),
    ("storage.k8s.io", "csinodes"): checked(check_csi_node, check_csi_node_status),
    ("storage.k8s.io", "csistoragecapacities"): classes.CSIStorageCapacityStrategy,
    ("storage.k8s.io", "storageclasses"): classes.StorageClassStrategy,
    ("storage.k8s.io", "volumeattachments"): checked(check_volume_attachment),
    ("storage.k8s.io", "volumeattributesclasses"): checked(check_volume_attributes_class),
}
