"""Who is asking: authenticators, each of which knows one kind of credential, and their union."""

from apiserver.authn.anonymous import AnonymousAuthenticator
from apiserver.authn.interface import Authenticator, InvalidCredentialError
from apiserver.authn.union import UnionAuthenticator
from apiserver.authn.x509 import X509Authenticator

__all__ = [
    "AnonymousAuthenticator",
    "Authenticator",
    "InvalidCredentialError",
    "UnionAuthenticator",
    "X509Authenticator",
]
