"""From flags to authenticators: their order, files that cannot be used, a service over HTTPS."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from apiserver.app.authentication import Authentication
from apiserver.app.certificates import PKI, ensure_pki
from apiserver.app.client_certificates import ClientCertificates
from apiserver.app.options import Options
from apiserver.authn import InvalidCredentialError
from apiserver.request import UserInfo
from kvstore.environment import Environment, real_environment
from tests.unit.apiserver.authn.authn_world import private_pem, request_of
from tests.unit.apiserver.authz.https_service import HTTPSService


class Objects:
    """A reader that knows one account."""

    def __init__(self) -> None:
        self.account = {"metadata": {"name": "a", "namespace": "n", "uid": "u"}}
        self.cached = True

    async def get(self, group: str, resource: str, namespace: str, name: str) -> dict[str, Any] | None:
        return await self.get_live(group, resource, namespace, name) if self.cached else None

    async def get_live(self, group: str, resource: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self.account if (resource, namespace, name) == ("serviceaccounts", "n", "a") else None


class Made:
    """What the flags ask for."""

    def __init__(self, environment: Environment, pki: PKI, *, closed: bool = True, **options: Any) -> None:
        chosen = Options(**options)
        certificates = ClientCertificates(chosen, pki, environment.files, environment.clock)
        self.objects = Objects()
        self.authentication = Authentication(
            chosen,
            environment,
            certificates,
            pki.service_account_key,
            self.objects,  # type: ignore[arg-type]  # only two of a reader's methods are needed
            everybody_may_everything=not closed,
        )

    async def who(self, token: str = "", path: str = "/api") -> UserInfo | None:
        request = request_of([("authorization", f"Bearer {token}")] if token else [], path=path)
        request.received_seconds = time.time()
        return await self.authentication.authenticator.authenticate(request)


@pytest.fixture
async def pki(tmp_path: Path) -> PKI:
    return await ensure_pki(str(tmp_path / "pki"), ["127.0.0.1"], real_environment())


async def test_a_service_is_asked_last_and_only_for_a_while_at_most_once(pki: PKI, tmp_path: Path) -> None:
    def answer(review: dict[str, Any]) -> tuple[int, Any]:
        known = review["spec"]["token"] == "known"
        status = {"authenticated": known, "user": {"username": "jane"} if known else {}}
        return 200, {"apiVersion": "authentication.k8s.io/v1beta1", "kind": "TokenReview", "status": status}

    (tmp_path / "tokens.csv").write_text("static,alice,1\n")
    async with HTTPSService(tmp_path, answer) as service:
        made = Made(
            real_environment(),
            pki,
            token_auth_file=str(tmp_path / "tokens.csv"),
            authentication_token_webhook_config_file=str(service.kubeconfig(token="of-ours")),
        )
        for _ in range(2):
            user = await made.who("known")
            assert user is not None
            assert (user.name, user.groups) == ("jane", ("system:authenticated",))
            with pytest.raises(InvalidCredentialError, match="invalid bearer token"):
                await made.who("unknown")
        assert len(service.received) == 2
        assert service.received[0]["apiVersion"] == "authentication.k8s.io/v1beta1"
        assert "Bearer of-ours" in service.heads[0]
        alice = await made.who("static")
        assert alice is not None
        assert len(service.received) == 2, "what a file knows is nobody else's business"
        for close in made.authentication.closing:
            await close()


async def test_the_key_of_the_data_directory_signs_unless_told_otherwise(pki: PKI, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    made = Made(real_environment(), pki)
    token, _ = made.authentication.issuer.issue(
        made.objects.account, ["https://kubernetes.default.svc.cluster.local"], 60
    )
    user = await made.who(token)
    assert user is not None
    assert user.name == "system:serviceaccount:n:a"
    made.objects.cached = False  # an account that the cache does not know yet
    assert await made.who(token) is not None

    key = rsa.generate_private_key(65537, 2048)
    (tmp_path / "own.key").write_bytes(private_pem(key))
    other = Made(real_environment(), pki, service_account_signing_key_file=str(tmp_path / "own.key"))
    assert [found["alg"] for found in other.authentication.key_set()["keys"]] == ["RS256"]
    with pytest.raises(InvalidCredentialError, match="no keys found"):
        await other.who(token)
    both = Made(
        real_environment(),
        pki,
        service_account_signing_key_file=str(tmp_path / "own.key"),
        service_account_key_file=(pki.service_account_pub,),
    )
    assert [found["alg"] for found in both.authentication.key_set()["keys"]] == ["RS256", "ES256"]
    assert await both.who(token) is not None


async def test_several_issuers_and_audiences(pki: PKI) -> None:
    old = Made(real_environment(), pki, service_account_issuer=("https://old",))
    token, _ = old.authentication.issuer.issue(old.objects.account, ["https://old"], 60)
    new = Made(real_environment(), pki, service_account_issuer=("https://new", "https://old"))
    assert await new.who(token) is not None
    with pytest.raises(InvalidCredentialError, match="invalid bearer token"):
        await Made(real_environment(), pki, service_account_issuer=("https://new",)).who(token)
    with pytest.raises(InvalidCredentialError, match="is invalid for the target audiences"):
        await Made(real_environment(), pki, service_account_issuer=("https://old",), api_audiences=("other",)).who(
            token
        )


async def test_anonymous_requests(pki: PKI, tmp_path: Path) -> None:
    assert await Made(real_environment(), pki).who() is not None
    assert await Made(real_environment(), pki, anonymous_auth=False).who() is None
    assert await Made(real_environment(), pki, closed=False).who() is None, "nobody must not be who may everything"
    file = tmp_path / "authentication.yaml"
    head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
    file.write_text(head + "anonymous: {enabled: true, conditions: [{path: /livez}]}\n")
    by_path = Made(real_environment(), pki, authentication_config=str(file))
    assert await by_path.who(path="/livez") is not None
    for path in ("/livez/", "/api", "/livez/../api", "/LIVEZ"):
        assert await by_path.who(path=path) is None
    file.write_text(head + "anonymous: {enabled: false}\n")
    assert await Made(real_environment(), pki, authentication_config=str(file)).who(path="/livez") is None


@pytest.mark.parametrize(
    "option",
    [
        "token_auth_file",
        "service_account_signing_key_file",
        "authentication_config",
        "authentication_token_webhook_config_file",
        "client_ca_file",
    ],
)
async def test_files_that_cannot_be_used_are_named(pki: PKI, tmp_path: Path, option: str) -> None:
    bad = tmp_path / "bad"
    bad.write_text("nothing, really")
    with pytest.raises(ValueError, match=str(bad)):
        Made(real_environment(), pki, **{option: str(bad)})
    with pytest.raises((OSError, ValueError), match="missing"):
        Made(real_environment(), pki, **{option: str(tmp_path / "missing")})


async def test_the_flags_of_one_issuer(pki: PKI) -> None:
    made = Made(
        real_environment(),
        pki,
        oidc_issuer_url="https://issuer.example.com",
        oidc_client_id="cluster",
        oidc_groups_claim="groups",
        oidc_required_claim={"hd": "example.com"},
    )
    assert made.authentication.issuers is not None
    (settings,) = made.authentication.issuers.configuration.issuers
    assert settings.username.prefix == "https://issuer.example.com#"
    assert (settings.audiences, settings.algorithms) == (("cluster",), ("RS256",))
    for claim, prefix, wanted in (("email", "", ""), ("sub", "-", ""), ("sub", "p:", "p:")):
        other = Made(
            real_environment(),
            pki,
            oidc_issuer_url="https://issuer.example.com",
            oidc_client_id="cluster",
            oidc_username_claim=claim,
            oidc_username_prefix=prefix,
        )
        assert other.authentication.issuers is not None
        assert other.authentication.issuers.configuration.issuers[0].username.prefix == wanted
    with pytest.raises(ValueError, match="URL must not overlap with disallowed issuers"):
        Made(
            real_environment(),
            pki,
            oidc_issuer_url="https://kubernetes.default.svc.cluster.local",
            oidc_client_id="cluster",
        )
