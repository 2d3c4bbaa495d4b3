"""The authenticators that the flags ask for, in kube-apiserver's order (`kubeapiserver/authenticator/config.go`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from apiserver.app.client_certificates import ClientCertificates
from apiserver.app.options import Options
from apiserver.app.reloading import read_file
from apiserver.authn import (
    AnonymousAuthenticator,
    AudienceAgnostic,
    Authenticator,
    BearerAuthenticator,
    TokenAuthenticator,
    TokenUnion,
    UnionAuthenticator,
)
from apiserver.authn.service_accounts.tokens import KeyRing, ServiceAccountTokens, TokenIssuer
from apiserver.registry.stores import StoreReader
from kvstore.environment import Environment, FileSystem

if TYPE_CHECKING:
    from apiserver.app.issuers import Issuers
    from apiserver.authn.keys import SigningKey, VerifyingKey

__all__ = ["Authentication"]


class Authentication:
    """Everybody who can say who somebody is.

    Attributes:
        keys: of service-account tokens.
        issuer: makes them.
        tokens: all that know bearer tokens, for TokenReview.
        authenticator: of requests.
        closing: to be called when the server stops.
        issuers: of OpenID Connect tokens, to be run beside the requests; None when there are none.

    Args:
        certificates: users by certificate.
        signing_key_file: for service-account tokens, where the flags name none.

        everybody_may_everything: whether AlwaysAllow is among the authorizers.

    Raises:
        OSError: a file cannot be read.
        ValueError: what it holds cannot be used; the text says which file.
    """

    def __init__(
        self,
        options: Options,
        environment: Environment,
        certificates: ClientCertificates,
        signing_key_file: str,
        reader: StoreReader,
        *,
        everybody_may_everything: bool = False,
    ) -> None:
        self._everybody_may_everything = everybody_may_everything
        self._certificates = certificates
        self.closing: list[Callable[[], Awaitable[None]]] = []
        self._options = options
        self._environment = environment
        self._get = partial(_get, reader)
        self.keys = self._key_ring(signing_key_file)
        self.issuer = TokenIssuer(
            self.keys, options.service_account_issuer[0], environment.clock, environment.randomness
        )
        self.issuers = self._issuers()
        self.tokens = TokenUnion(self._token_authenticators())
        self.authenticator = UnionAuthenticator(self._authenticators(), self._anonymous())

    def _authenticators(self) -> list[Authenticator]:
        found: list[Authenticator] = [] if self._certificates.proxy is None else [self._certificates.proxy]
        return [*found, self._certificates.x509, BearerAuthenticator(self.tokens, self._options.audiences)]

    def _anonymous(self) -> Authenticator | None:
        """As kube-apiserver: who may do everything must not be nobody; what a file says comes before the flag."""
        allowed, paths = self._options.anonymous_auth, None
        if self.issuers is not None and self.issuers.configuration.anonymous is not None:
            allowed, paths = self.issuers.configuration.anonymous, self.issuers.configuration.anonymous_paths
        if not allowed or self._everybody_may_everything:
            return None
        return AnonymousAuthenticator(paths)

    def _token_authenticators(self) -> list[TokenAuthenticator]:
        options, clock = self._options, self._environment.clock
        found: list[TokenAuthenticator] = []
        if options.token_auth_file:
            from apiserver.authn.token_file import TokenFileAuthenticator, parse_token_file

            text = read_file(self._environment.files, options.token_auth_file).decode()
            users = parse_token_file(text, options.token_auth_file)
            found.append(AudienceAgnostic(TokenFileAuthenticator(users), options.audiences))
        found.append(
            ServiceAccountTokens(
                self.keys,
                options.service_account_issuer,
                options.audiences,
                self._get,
                clock,
                lookup=options.service_account_lookup,
            )
        )
        if options.enable_bootstrap_token_auth:
            from apiserver.authn.bootstrap_tokens import BootstrapTokenAuthenticator

            found.append(AudienceAgnostic(BootstrapTokenAuthenticator(self._get, clock), options.audiences))
        if self.issuers is not None:
            found.append(AudienceAgnostic(self.issuers.tokens, options.audiences))
        if options.authentication_token_webhook_config_file:
            found.append(self._webhook(options.authentication_token_webhook_config_file))
        return found

    def _webhook(self, kubeconfig: str) -> TokenAuthenticator:
        from apiserver.authn.webhook import WebhookTokenAuthenticator
        from apiserver.webhooks import ConnectionConfigError, WebhookClient, load_connection

        options = self._options
        try:
            connection = load_connection(kubeconfig, self._environment.files)
        except ConnectionConfigError as error:
            raise ValueError(f"--authentication-token-webhook-config-file: {error}") from error
        client = WebhookClient(connection)
        self.closing.append(client.close)
        return WebhookTokenAuthenticator(
            client,
            self._environment,
            options.authentication_token_webhook_version,
            options.audiences,
            options.authentication_token_webhook_cache_ttl,
        )

    def _issuers(self) -> Issuers | None:
        if not self._options.oidc_issuer_url and not self._options.authentication_config:
            return None
        from apiserver.app.issuers import Issuers

        return Issuers(self._options, self._environment)

    def _key_ring(self, signing_key_file: str) -> KeyRing:
        options = self._options
        signing = options.service_account_signing_key_file or signing_key_file
        ring = KeyRing(partial(_load_keys, self._environment.files, signing, options.service_account_key_file))
        if options.service_account_signing_key_file or options.service_account_key_file:
            ring.signing_key  # noqa: B018  what the user has named is looked at before anything starts
        return ring

    def key_set(self) -> dict[str, Any]:
        """The public keys of service-account tokens as a JSON Web Key Set."""
        from apiserver.authn.keys import key_set

        return key_set(self.keys.verifying_keys)


async def _get(reader: StoreReader, group: str, resource: str, namespace: str, name: str) -> dict[str, Any] | None:
    """An object from the cache, or from the store when the cache does not know it yet."""
    found = await reader.get(group, resource, namespace, name)
    return found if found is not None else await reader.get_live(group, resource, namespace, name)


def _load_keys(files: FileSystem, signing: str, verifying: tuple[str, ...]) -> tuple[SigningKey, list[VerifyingKey]]:
    """The signing key, and all keys that check tokens, each once."""
    from apiserver.authn.keys import load_public_keys, load_signing_key

    try:
        signing_key = load_signing_key(read_file(files, signing))
    except ValueError as error:
        raise ValueError(f"cannot use the key {signing}: {error}") from None
    keys = {signing_key.public.key_id: signing_key.public}
    for path in verifying:
        try:
            keys.update({key.key_id: key for key in load_public_keys(read_file(files, path))})
        except ValueError as error:
            raise ValueError(f"cannot use the keys {path}: {error}") from None
    return signing_key, list(keys.values())
