"""Who may do what: authorizers, each of which allows, denies or has no opinion, and their union."""

from apiserver.authz.fixed import AlwaysAllow, AlwaysDeny, PrivilegedGroups
from apiserver.authz.interface import (
    Attributes,
    Authorizer,
    Decision,
    EvaluationError,
    NonResourceRule,
    ResourceRule,
    RuleResolver,
    forbidden_error,
    forbidden_message,
)
from apiserver.authz.union import UnionAuthorizer

__all__ = [
    "AlwaysAllow",
    "AlwaysDeny",
    "Attributes",
    "Authorizer",
    "Decision",
    "EvaluationError",
    "NonResourceRule",
    "PrivilegedGroups",
    "ResourceRule",
    "RuleResolver",
    "UnionAuthorizer",
    "forbidden_error",
    "forbidden_message",
]
