"""Issuers of OpenID Connect tokens: from `--oidc-*` or `--authentication-config`, kept up to date with the latter."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from apiserver.app.authentication_options import OIDC_ALGORITHMS
from apiserver.app.options import Options
from apiserver.app.reloading import follow_files, read_file
from apiserver.authn.oidc import (
    AuthenticationConfiguration,
    ConfigurationError,
    IssuerSettings,
    JWTAuthenticators,
    parse_configuration,
)
from kvstore.environment import Environment

if TYPE_CHECKING:
    from apiserver.authn.oidc.provider import Provider

__all__ = ["Issuers"]

_LOG = logging.getLogger("apiserver.authentication.oidc")
REPLACE_SECONDS_MAX = 60.0
"""How long new issuers may take to answer before they take the place of the old ones all the same."""


class Issuers:
    """Reads the settings, and keeps a provider of keys for each issuer.

    Attributes:
        tokens: checks their tokens.
        configuration: as first read; whom anonymous requests are does not change later.

    Raises:
        OSError: a file cannot be read.
        ValueError: what it holds cannot be used.
    """

    def __init__(self, options: Options, environment: Environment) -> None:
        self._options = options
        self._environment = environment
        self.tokens = JWTAuthenticators(environment.clock)
        self.configuration = self._read()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Find the issuers, follow the file; until cancelled."""
        try:
            self._start(self.configuration)
            path = self._options.authentication_config
            if path:
                await follow_files([path], self._reload, self._environment.files, self._environment.clock)
            await asyncio.Event().wait()
        finally:
            for task in self._tasks:
                task.cancel()

    def _start(self, configuration: AuthenticationConfiguration) -> list[asyncio.Task[None]]:
        pairs = [(settings, self._provider(settings)) for settings in configuration.issuers]
        self.tokens.replace(pairs)
        return self._run([provider for _, provider in pairs])

    def _run(self, providers: list[Provider]) -> list[asyncio.Task[None]]:
        tasks = [asyncio.get_running_loop().create_task(provider.run()) for provider in providers]
        for task in tasks:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return tasks

    async def _reload(self) -> None:
        try:
            configuration = self._read()
        except (OSError, ValueError) as error:
            _LOG.error("the authentication configuration has changed and cannot be used: %s", error)
            return
        pairs = [(settings, self._provider(settings)) for settings in configuration.issuers]
        old = set(self._tasks)
        tasks = self._run([provider for _, provider in pairs])
        if tasks:
            await asyncio.wait(tasks, timeout=REPLACE_SECONDS_MAX)
        self.tokens.replace(pairs)
        for task in old:
            task.cancel()
        _LOG.warning("the authentication configuration has been read anew: %d issuers", len(pairs))

    def _provider(self, settings: IssuerSettings) -> Provider:
        from apiserver.authn.oidc.provider import Provider, https_fetch

        fetch = https_fetch(settings.certificate_authority)
        return Provider(settings.url, settings.discovery_url, settings.algorithms, fetch, self._environment.clock)

    def _read(self) -> AuthenticationConfiguration:
        options = self._options
        if options.oidc_issuer_url:
            return AuthenticationConfiguration((self._from_flags(),))
        if not options.authentication_config:
            return AuthenticationConfiguration(())
        import yaml

        try:
            document = yaml.safe_load(read_file(self._environment.files, options.authentication_config))
            return parse_configuration(document, OIDC_ALGORITHMS, options.service_account_issuer)
        except (ConfigurationError, yaml.YAMLError) as error:
            raise ValueError(f"{options.authentication_config}: {error}") from None

    def _from_flags(self) -> IssuerSettings:
        """The one issuer of the `--oidc-*` flags, by the rules that a file must follow."""
        options = self._options
        prefix = options.oidc_username_prefix
        if not prefix and options.oidc_username_claim != "email":
            prefix = f"{options.oidc_issuer_url}#"
        bundle = read_file(self._environment.files, options.oidc_ca_file).decode() if options.oidc_ca_file else ""
        groups = {"claim": options.oidc_groups_claim, "prefix": options.oidc_groups_prefix}
        document = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [
                {
                    "issuer": {
                        "url": options.oidc_issuer_url,
                        "audiences": [options.oidc_client_id],
                        "certificateAuthority": bundle,
                    },
                    "claimMappings": {
                        "username": {"claim": options.oidc_username_claim, "prefix": "" if prefix == "-" else prefix},
                        "groups": groups if options.oidc_groups_claim else {},
                    },
                    "claimValidationRules": [
                        {"claim": claim, "requiredValue": value} for claim, value in options.oidc_required_claim.items()
                    ],
                }
            ],
        }
        algorithms = options.oidc_signing_algs
        return parse_configuration(document, algorithms, options.service_account_issuer).issuers[0]
