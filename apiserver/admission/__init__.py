"""What may be written, beyond who may write it: plugins that change or refuse objects on their way to the storage."""

from apiserver.admission.chain import AdmissionChain
from apiserver.admission.interface import AdmissionPlugin, Attributes, Operation, admission_forbidden
from apiserver.admission.namespace_lifecycle import NamespaceLifecycle

__all__ = [
    "AdmissionChain",
    "AdmissionPlugin",
    "Attributes",
    "NamespaceLifecycle",
    "Operation",
    "admission_forbidden",
]
