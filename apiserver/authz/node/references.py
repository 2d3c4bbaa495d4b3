"""What pods and volumes name (`pkg/api/v1/pod/util.go`, `pkg/api/v1/persistentvolume/util.go`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

__all__ = ["claims_of", "config_maps_of", "resource_claims_of", "secrets_of", "secrets_of_volume"]

Object = dict[str, Any]

_CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")
_SECRET_REFERENCES: Final = ("cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")
_CSI_REFERENCES: Final = ("nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef")
"""Those that a kubelet must see; the controller's are none of its business."""


def secrets_of(pod: Object) -> Iterator[str]:
    """Names of secrets in the pod's namespace."""
    spec = pod.get("spec") or {}
    for reference in spec.get("imagePullSecrets") or ():
        yield reference.get("name", "")
    yield from _from_environment(spec, "secretRef", "secretKeyRef")
    for volume in spec.get("volumes") or ():
        for name in _SECRET_REFERENCES:
            yield (_member(volume, name).get("secretRef") or {}).get("name", "")
        yield _member(volume, "azureFile").get("secretName", "")
        yield _member(volume, "secret").get("secretName", "")
        yield (_member(volume, "csi").get("nodePublishSecretRef") or {}).get("name", "")
        for source in _member(volume, "projected").get("sources") or ():
            yield _member(source, "secret").get("name", "")


def config_maps_of(pod: Object) -> Iterator[str]:
    """Names of ConfigMaps in the pod's namespace."""
    spec = pod.get("spec") or {}
    yield from _from_environment(spec, "configMapRef", "configMapKeyRef")
    for volume in spec.get("volumes") or ():
        yield _member(volume, "configMap").get("name", "")
        for source in _member(volume, "projected").get("sources") or ():
            yield _member(source, "configMap").get("name", "")


def claims_of(pod: Object) -> Iterator[str]:
    """Names of PersistentVolumeClaims in the pod's namespace, those made for ephemeral volumes included."""
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield volume["persistentVolumeClaim"].get("claimName", "")
        elif volume.get("ephemeral"):
            yield f"{pod['metadata']['name']}-{volume['name']}"


def resource_claims_of(pod: Object) -> Iterator[str]:
    """Names of ResourceClaims in the pod's namespace."""
    status = pod.get("status") or {}
    made = {each.get("name"): each.get("resourceClaimName", "") for each in status.get("resourceClaimStatuses") or ()}
    for claim in (pod.get("spec") or {}).get("resourceClaims") or ():
        yield claim.get("resourceClaimName") or made.get(claim.get("name")) or ""
    yield _member(status, "extendedResourceClaimStatus").get("resourceClaimName", "")


def secrets_of_volume(volume: Object) -> Iterator[tuple[str, str]]:
    """Namespaces and names of the secrets a kubelet needs for a PersistentVolume."""
    spec = volume.get("spec") or {}
    claimed_in = _member(spec, "claimRef").get("namespace", "")
    azure = _member(spec, "azureFile")
    if azure.get("secretName"):
        yield azure.get("secretNamespace") or claimed_in, azure["secretName"]
    references = [_member(spec, name).get("secretRef") for name in _SECRET_REFERENCES]
    references += [_member(spec, "csi").get(name) for name in _CSI_REFERENCES]
    for reference in references:
        if reference and reference.get("name"):
            yield reference.get("namespace") or claimed_in, reference["name"]


def _from_environment(spec: Object, whole: str, key: str) -> Iterator[str]:
    for group in _CONTAINERS:
        for container in spec.get(group) or ():
            for source in container.get("envFrom") or ():
                yield _member(source, whole).get("name", "")
            for variable in container.get("env") or ():
                yield _member(_member(variable, "valueFrom"), key).get("name", "")


def _member(holder: Object, name: str) -> Object:
    member: Object = holder.get(name) or {}
    return member
