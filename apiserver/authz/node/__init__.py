"""What kubelets may do: their own node, the pods on it, and what those pods refer to."""

from apiserver.authz.node.authorizer import NodeAuthorizer, node_name_of
from apiserver.authz.node.graph import NODE_RESOURCES, NodeGraph

__all__ = ["NODE_RESOURCES", "NodeAuthorizer", "NodeGraph", "node_name_of"]
