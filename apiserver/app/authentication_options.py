"""The flags that say who gets in; names, meanings and defaults are kube-apiserver's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from apiserver.app.flag_values import OptionsError, Pairs, Repeated, boolean, duration, words

__all__ = ["AuthenticationOptions", "add_authentication_flags"]

DEFAULT_ISSUER = "https://kubernetes.default.svc.cluster.local"
OIDC_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
TOKEN_SECONDS_MIN, TOKEN_SECONDS_MAX = 3600.0, float(1 << 32)


@dataclass(slots=True)
class AuthenticationOptions:
    """What authenticators are told. Durations in seconds; the names are the flags'."""

    client_ca_file: str = ""
    anonymous_auth: bool = True
    token_auth_file: str = ""
    enable_bootstrap_token_auth: bool = False
    api_audiences: tuple[str, ...] = ()
    service_account_issuer: tuple[str, ...] = (DEFAULT_ISSUER,)
    service_account_jwks_uri: str = ""
    service_account_key_file: tuple[str, ...] = ()
    service_account_signing_key_file: str = ""
    service_account_lookup: bool = True
    service_account_max_token_expiration: float = 0.0
    service_account_extend_token_expiration: bool = True
    requestheader_client_ca_file: str = ""
    requestheader_allowed_names: tuple[str, ...] = ()
    requestheader_username_headers: tuple[str, ...] = ()
    requestheader_uid_headers: tuple[str, ...] = ()
    requestheader_group_headers: tuple[str, ...] = ()
    requestheader_extra_headers_prefix: tuple[str, ...] = ()
    authentication_config: str = ""
    oidc_issuer_url: str = ""
    oidc_client_id: str = ""
    oidc_ca_file: str = ""
    oidc_username_claim: str = "sub"
    oidc_username_prefix: str = ""
    oidc_groups_claim: str = ""
    oidc_groups_prefix: str = ""
    oidc_signing_algs: tuple[str, ...] = ("RS256",)
    oidc_required_claim: dict[str, str] = field(default_factory=dict)
    authentication_token_webhook_config_file: str = ""
    authentication_token_webhook_version: str = "v1beta1"  # noqa: S105
    authentication_token_webhook_cache_ttl: float = 120.0

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom tokens must be for: `--api-audiences`, or else the issuers of service-account tokens."""
        return self.api_audiences or self.service_account_issuer

    def check_authentication(self) -> None:
        """Raise `OptionsError` for values that cannot be right together."""
        self._check_service_accounts()
        self._check_oidc()
        if self.authentication_token_webhook_version not in ("v1", "v1beta1"):
            version = self.authentication_token_webhook_version
            raise OptionsError(f"--authentication-token-webhook-version {version} must be v1 or v1beta1")
        if self.requestheader_client_ca_file and not self.requestheader_username_headers:
            raise OptionsError("--requestheader-client-ca-file needs --requestheader-username-headers")

    def _check_service_accounts(self) -> None:
        issuers = self.service_account_issuer
        if not all(issuers) or len(set(issuers)) != len(issuers):
            raise OptionsError("--service-account-issuer: each must be given once and not be empty")
        for issuer in issuers:
            if ":" in issuer and not urlsplit(issuer).scheme:
                raise OptionsError(f"--service-account-issuer {issuer} contains a ':' but is not a valid URL")
        if self.service_account_jwks_uri and urlsplit(self.service_account_jwks_uri).scheme != "https":
            raise OptionsError("--service-account-jwks-uri must be an https URL")
        longest = self.service_account_max_token_expiration
        if longest and not TOKEN_SECONDS_MIN <= longest <= TOKEN_SECONDS_MAX:
            raise OptionsError("--service-account-max-token-expiration must be between 1 hour and 2^32 seconds")

    def _check_oidc(self) -> None:
        if bool(self.oidc_issuer_url) != bool(self.oidc_client_id):
            raise OptionsError("--oidc-issuer-url and --oidc-client-id must be given together")
        if self.authentication_config and self.oidc_issuer_url:
            raise OptionsError("--authentication-config and the --oidc-* flags cannot be given together")
        for algorithm in self.oidc_signing_algs:
            if algorithm not in OIDC_ALGORITHMS:
                raise OptionsError(f"--oidc-signing-algs: unknown {algorithm}; of {', '.join(OIDC_ALGORITHMS)}")


def _one_pair(text: str) -> dict[str, str]:
    name, _, value = text.partition("=")
    return {name: value}


def add_authentication_flags(flag: Callable[..., None]) -> None:
    """Declare them, in the order in which the authenticators are asked."""
    flag("client-ca-file", str, "CA bundle for client certificates, beside our own CA; read anew on change", "FILE")
    flag("requestheader-client-ca-file", str, "CA bundle of proxies that name users in headers", "FILE")
    flag("requestheader-allowed-names", words, "common names of their certificates; any when not given", "NAME[,NAME]")
    flag("requestheader-username-headers", words, "where they name the user, e.g. X-Remote-User", "NAME[,NAME]")
    flag("requestheader-uid-headers", words, "the user's uid, e.g. X-Remote-Uid", "NAME[,NAME]")
    flag("requestheader-group-headers", words, "the groups, e.g. X-Remote-Group", "NAME[,NAME]")
    flag("requestheader-extra-headers-prefix", words, "extra values, e.g. X-Remote-Extra-", "PREFIX[,PREFIX]")
    flag("anonymous-auth", boolean, "let requests without credentials be system:anonymous")
    flag("token-auth-file", str, 'static tokens, a line each: TOKEN,USER,UID,"GROUP,GROUP"', "FILE")
    flag(
        "service-account-issuer",
        str,
        "issuer of service-account tokens; may be given again for more that are taken, the first one signs",
        "URL",
        action=Repeated,
    )
    flag("service-account-signing-key-file", str, "key that signs tokens, instead of the data directory's", "FILE")
    flag(
        "service-account-key-file",
        str,
        "keys that check tokens, beside the signing key; may be given again",
        "FILE",
        action=Repeated,
    )
    flag("service-account-jwks-uri", str, "where the key set can be fetched, for the discovery document", "URL")
    flag("service-account-lookup", boolean, "look for the Secret of a token that should be in one")
    flag("service-account-max-token-expiration", duration, "longest life of a requested token; 0 no limit", "DURATION")
    flag("service-account-extend-token-expiration", boolean, "let tokens of pods live a year, and note late use")
    flag("api-audiences", words, "whom tokens must be for; the issuers when not given", "NAME[,NAME]")
    flag("enable-bootstrap-token-auth", boolean, "take tokens of Secrets of type bootstrap.kubernetes.io/token")
    flag("authentication-config", str, "AuthenticationConfiguration: issuers of tokens, anonymous requests", "FILE")
    flag("oidc-issuer-url", str, "issuer of OpenID Connect tokens that are taken", "URL")
    flag("oidc-client-id", str, "whom its tokens must be for", "NAME")
    flag("oidc-ca-file", str, "CA bundle of the issuer; the host's own when not given", "FILE")
    flag("oidc-username-claim", str, "claim that is the user name", "NAME")
    flag("oidc-username-prefix", str, "put before it; - for none, otherwise the issuer unless it is an email", "TEXT")
    flag("oidc-groups-claim", str, "claim that holds the groups", "NAME")
    flag("oidc-groups-prefix", str, "put before each group", "TEXT")
    flag("oidc-signing-algs", words, f"algorithms that are taken, of {', '.join(OIDC_ALGORITHMS)}", "NAME[,NAME]")
    flag(
        "oidc-required-claim",
        _one_pair,
        "a claim that must have this value; may be given again",
        "NAME=VALUE",
        action=Pairs,
    )
    flag("authentication-token-webhook-config-file", str, "kubeconfig of a service that answers TokenReviews", "FILE")
    flag("authentication-token-webhook-version", str, "version of its TokenReviews: v1 or v1beta1", "VERSION")
    flag("authentication-token-webhook-cache-ttl", duration, "how long its answers are kept", "DURATION")
