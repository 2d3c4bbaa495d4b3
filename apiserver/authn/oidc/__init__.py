"""Tokens of OpenID Connect issuers: what is configured, fetching an issuer's keys, claims to users."""

from apiserver.authn.oidc.authenticator import JWTAuthenticators
from apiserver.authn.oidc.configuration import (
    AuthenticationConfiguration,
    ConfigurationError,
    IssuerSettings,
    parse_configuration,
)

__all__ = [
    "AuthenticationConfiguration",
    "ConfigurationError",
    "IssuerSettings",
    "JWTAuthenticators",
    "parse_configuration",
]
