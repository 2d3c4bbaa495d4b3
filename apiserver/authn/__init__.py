"""Who is asking: authenticators, each of which knows one kind of credential, and their union."""

from apiserver.authn.anonymous import AnonymousAuthenticator
from apiserver.authn.bearer import AudienceAgnostic, BearerAuthenticator, TokenUnion
from apiserver.authn.interface import (
    Authenticator,
    InvalidCredentialError,
    ObjectGetter,
    TokenAuthenticator,
    TokenIdentity,
)
from apiserver.authn.union import ALL_AUTHENTICATED, ALL_UNAUTHENTICATED, UnionAuthenticator
from apiserver.authn.x509 import X509Authenticator

__all__ = [
    "ALL_AUTHENTICATED",
    "ALL_UNAUTHENTICATED",
    "AnonymousAuthenticator",
    "AudienceAgnostic",
    "Authenticator",
    "BearerAuthenticator",
    "InvalidCredentialError",
    "ObjectGetter",
    "TokenAuthenticator",
    "TokenIdentity",
    "TokenUnion",
    "UnionAuthenticator",
    "X509Authenticator",
]
