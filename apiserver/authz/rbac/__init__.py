"""Role-based access control: roles list rules, bindings give roles to users, groups and service accounts."""

from apiserver.authz.rbac.authorizer import RBACAuthorizer
from apiserver.authz.rbac.escalation import EscalationGuard
from apiserver.authz.rbac.index import GROUP, RoleIndex
from apiserver.authz.rbac.rules import covers, rules_allow

__all__ = ["GROUP", "EscalationGuard", "RBACAuthorizer", "RoleIndex", "covers", "rules_allow"]
