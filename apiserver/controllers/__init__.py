"""What runs inside the API server beside its requests, because a sandbox has no controller manager.

A controller watches and writes through the registry, as a client would; it keeps no state that could not be rebuilt
from the store.
"""

from apiserver.controllers.cluster_role_aggregation import ClusterRoleAggregation, aggregated_rules
from apiserver.controllers.namespace import NamespaceController
from apiserver.controllers.per_namespace import PerNamespace, default_service_account, root_ca_config_map
from apiserver.controllers.token_secrets import TokenSecrets

__all__ = [
    "ClusterRoleAggregation",
    "NamespaceController",
    "PerNamespace",
    "TokenSecrets",
    "aggregated_rules",
    "default_service_account",
    "root_ca_config_map",
]
