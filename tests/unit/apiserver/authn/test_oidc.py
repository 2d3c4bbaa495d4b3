"""Tokens of OpenID Connect issuers: settings, keys over HTTPS, claims to users, and tokens that do not hold."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from apiserver.app.authentication_options import OIDC_ALGORITHMS
from apiserver.authn import InvalidCredentialError
from apiserver.authn.oidc import ConfigurationError, IssuerSettings, JWTAuthenticators, parse_configuration
from apiserver.authn.oidc.provider import Provider, https_fetch
from apiserver.request import UserInfo
from tests.unit.apiserver.authn.authn_world import NOW, FixedClock
from tests.unit.apiserver.authn.oidc_issuer import OIDCIssuer

PREFIXED = {"username": {"claim": "sub", "prefix": "oidc:"}, "groups": {"claim": "groups", "prefix": "oidc:"}}
CLAIMS = {"sub": "jane", "aud": "cluster", "exp": NOW + 60, "iat": NOW, "jti": "t-1", "groups": ["dev"]}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OIDCIssuer]:
    made = OIDCIssuer(tmp_path_factory.mktemp("issuer"))
    yield made
    made.stop()


def document(url: str, **jwt_fields: Any) -> dict[str, Any]:
    entry = {"issuer": {"url": url, "audiences": ["cluster"]}, "claimMappings": PREFIXED, **jwt_fields}
    return {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [entry]}


def settings_of(issuer: OIDCIssuer, **jwt_fields: Any) -> IssuerSettings:
    found = parse_configuration(document(issuer.url, **jwt_fields), OIDC_ALGORITHMS).issuers[0]
    return replace(found, certificate_authority=issuer.certificate)


class Checker:
    """One issuer, whose keys are known."""

    def __init__(self, settings: IssuerSettings) -> None:
        self.clock = FixedClock()
        fetch = https_fetch(settings.certificate_authority)
        self.provider = Provider(settings.url, settings.discovery_url, settings.algorithms, fetch, self.clock)
        self.tokens = JWTAuthenticators(self.clock)
        self.tokens.replace([(settings, self.provider)])

    async def ready(self) -> Checker:
        assert await self.provider.discover(), self.provider.problem
        return self

    async def user(self, token: str) -> UserInfo:
        identity = await self.tokens.authenticate_token(token, ["any"])
        assert identity is not None
        return identity.user


async def test_claims_become_a_user(issuer: OIDCIssuer) -> None:
    checker = await Checker(settings_of(issuer)).ready()
    user = await checker.user(issuer.token(CLAIMS))
    assert user == UserInfo(
        "oidc:jane", groups=("oidc:dev",), extra=(("authentication.kubernetes.io/credential-id", ("JTI=t-1",)),)
    )
    assert (await checker.user(issuer.token({**CLAIMS, "groups": "ops"}))).groups == ("oidc:ops",)


async def test_keys_are_rotated_while_we_run(tmp_path: Path) -> None:
    own = OIDCIssuer(tmp_path)
    try:
        checker = await Checker(settings_of(own)).ready()
        old = own.token(CLAIMS)
        await checker.user(old)
        own.rotate()
        new = own.token(CLAIMS)
        with pytest.raises(InvalidCredentialError, match="failed to verify signature"):
            await checker.user(new)  # the issuer was asked a moment ago
        checker.clock.seconds += 6
        assert (await checker.user(new)).name == "oidc:jane"
        with pytest.raises(InvalidCredentialError):
            await checker.user(old)  # its key is gone
        asked = len(own.requests)
        for number in range(20):
            with pytest.raises(InvalidCredentialError):
                await checker.user(own.token(CLAIMS, kid=f"unknown-{number}")[:-4] + "AAAA")
        assert len(own.requests) - asked <= 1, "strangers must not make us ask the issuer again and again"
    finally:
        own.stop()


async def test_an_issuer_that_does_not_answer_yet(tmp_path: Path) -> None:
    own = OIDCIssuer(tmp_path)
    try:
        checker = Checker(settings_of(own))
        with pytest.raises(InvalidCredentialError, match="oidc: authenticator not initialized"):
            await checker.user(own.token(CLAIMS))
        for path, body, problem in (
            ("/.well-known/openid-configuration", b"no JSON", "is not JSON"),
            ("/.well-known/openid-configuration", b'{"issuer": "https://other"}', "issuer did not match"),
            ("/keys", b"[]", "no JSON object"),
            ("/keys", b" " * ((1 << 20) + 1), "larger than"),
        ):
            own.publish()
            own.documents[path] = body
            assert not await checker.provider.discover()
            assert problem in checker.provider.problem
        own.publish()
        await checker.provider.run()
        assert (await checker.user(own.token(CLAIMS))).name == "oidc:jane"
    finally:
        own.stop()


async def test_an_issuer_whose_certificate_is_not_trusted(issuer: OIDCIssuer) -> None:
    checker = Checker(replace(settings_of(issuer), certificate_authority=""))
    assert not await checker.provider.discover()
    assert "CERTIFICATE_VERIFY_FAILED" in checker.provider.problem


async def test_discovery_elsewhere(issuer: OIDCIssuer) -> None:
    issuer.documents["/elsewhere"] = issuer.documents["/.well-known/openid-configuration"]
    settings = replace(settings_of(issuer), discovery_url=f"{issuer.url}/elsewhere")
    checker = await Checker(settings).ready()
    assert (await checker.user(issuer.token(CLAIMS))).name == "oidc:jane"


async def test_expressions(issuer: OIDCIssuer) -> None:
    fields = {
        "claimMappings": {
            "username": {"expression": "'x:' + claims.email"},
            "groups": {"expression": "claims.roles.split(',').map(r, 'role:' + r)"},
            "uid": {"expression": "string(claims.number)"},
            "extra": [
                {"key": "example.com/tenant", "valueExpression": "claims.?tenant.orValue('none')"},
                {"key": "example.com/nothing", "valueExpression": "''"},
            ],
        },
        "claimValidationRules": [
            {"expression": "claims.email_verified == true", "message": "the address must be verified"},
            {"expression": "claims.exp - claims.iat <= 86400"},
        ],
        "userValidationRules": [{"expression": "!user.username.startsWith('system:')", "message": "reserved"}],
    }
    checker = await Checker(settings_of(issuer, **fields)).ready()
    claims = {**CLAIMS, "email": "j@x", "email_verified": True, "roles": "a,b", "number": 7}
    user = await checker.user(issuer.token(claims))
    assert (user.name, user.groups, user.uid) == ("x:j@x", ("role:a", "role:b"), "7")
    assert dict(user.extra)["example.com/tenant"] == ("none",)
    assert "example.com/nothing" not in dict(user.extra)
    for change, text in (
        ({"email_verified": False}, "failed: the address must be verified"),
        ({"email_verified": "true"}, "failed: the address must be verified"),
        ({"exp": NOW + 90_000}, "validation expression 'claims.exp - claims.iat <= 86400' failed"),
        ({"roles": 5}, "group claim expression"),
        ({"email": 5}, "username claim expression"),
        ({"number": {}}, "uid claim expression"),
    ):
        with pytest.raises(InvalidCredentialError) as refused:
            await checker.user(issuer.token({**claims, **change}))
        assert text in str(refused.value)


async def test_users_that_rules_forbid(issuer: OIDCIssuer) -> None:
    fields = {
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
        "userValidationRules": [{"expression": "!user.username.startsWith('system:')", "message": "reserved"}],
    }
    checker = await Checker(settings_of(issuer, **fields)).ready()
    with pytest.raises(InvalidCredentialError, match="failed: reserved"):
        await checker.user(issuer.token({**CLAIMS, "sub": "system:admin"}))


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


Attempt = Callable[[OIDCIssuer], str]


def spoiled(**changes: Any) -> Attempt:
    return lambda issuer: issuer.token({k: v for k, v in {**CLAIMS, **changes}.items() if v is not None})


def signed_by(key: Any, algorithm: str) -> Attempt:
    return lambda issuer: jwt.encode({"iss": issuer.url, **CLAIMS}, key, algorithm, headers={"kid": "k1"})


ATTEMPTS: dict[str, tuple[Attempt, str]] = {
    "expired": (spoiled(exp=NOW - 1), "token is expired"),
    "without expiry": (spoiled(exp=None), "token is expired"),
    "expiry as text": (spoiled(exp="later"), "exp is not a time"),
    "not valid yet": (spoiled(nbf=NOW + 301), "before the nbf"),
    "another audience": (spoiled(aud="other"), "expected audience"),
    "no audience": (spoiled(aud=None), "expected audience"),
    "no name": (spoiled(sub=None), "claim not present"),
    "name of another type": (spoiled(sub=None, **{"sub ": "x"}), "claim not present"),
    "groups of another type": (spoiled(groups=[1]), "not a list of strings"),
    "alg none": (
        lambda issuer: f"{part({'alg': 'none'})}.{part({'iss': issuer.url, **CLAIMS})}.",
        "unsupported algorithm",
    ),
    "HMAC": (signed_by("a secret that is long enough for HMAC-256", "HS256"), "unsupported algorithm"),
    "another RSA key": (signed_by(rsa.generate_private_key(65537, 2048), "RS256"), "failed to verify signature"),
    "another kind of key": (signed_by(ec.generate_private_key(ec.SECP256R1()), "ES256"), "failed to verify"),
    "claims changed": (
        lambda issuer: ".".join(
            [
                issuer.token(CLAIMS).split(".")[0],
                part({"iss": issuer.url, **CLAIMS, "sub": "admin"}),
                issuer.token(CLAIMS).split(".")[2],
            ]
        ),
        "failed to verify signature",
    ),
}


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_tokens_that_do_not_hold(issuer: OIDCIssuer, name: str) -> None:
    attempt, text = ATTEMPTS[name]
    issuer.publish()
    checker = await Checker(settings_of(issuer)).ready()
    with pytest.raises(InvalidCredentialError) as refused:
        await checker.user(attempt(issuer))
    assert text in str(refused.value)


async def test_tokens_of_others_are_not_ours(issuer: OIDCIssuer) -> None:
    checker = await Checker(settings_of(issuer)).ready()
    other = jwt.encode({"iss": "https://other", **CLAIMS}, issuer.keys["k1"], "RS256")
    for token in (other, "a.b.c", "static", "..", f"{part([1])}.{part([1])}.x"):
        assert await checker.tokens.authenticate_token(token, ["any"]) is None


async def test_required_claims_and_verified_addresses(issuer: OIDCIssuer) -> None:
    fields = {
        "claimMappings": {"username": {"claim": "email", "prefix": ""}},
        "claimValidationRules": [{"claim": "hd", "requiredValue": "example.com"}],
    }
    checker = await Checker(settings_of(issuer, **fields)).ready()
    good = {**CLAIMS, "email": "j@x", "email_verified": True, "hd": "example.com"}
    assert (await checker.user(issuer.token(good))).name == "j@x"
    for change, text in (
        ({"email_verified": False}, "oidc: email not verified"),
        ({"email_verified": "yes"}, "parse 'email_verified' claim"),
        ({"hd": "evil.com"}, "oidc: required claim hd value does not match"),
        ({"hd": 1}, "the claim is not a string"),
    ):
        with pytest.raises(InvalidCredentialError, match=text):
            await checker.user(issuer.token({**good, **change}))
    del good["hd"]
    with pytest.raises(InvalidCredentialError, match="required claim hd not present"):
        await checker.user(issuer.token(good))


def changed(**fields: Any) -> dict[str, Any]:
    return document("https://i", **fields)


def with_issuer(**fields: Any) -> dict[str, Any]:
    return changed(issuer={"url": "https://i", "audiences": ["a"], **fields})


def with_mappings(**fields: Any) -> dict[str, Any]:
    return changed(claimMappings={**PREFIXED, **fields})


TWICE = {**document("https://i"), "jwt": document("https://i")["jwt"] * 2}
BAD_CONFIGURATIONS: list[tuple[Any, str]] = [
    ([], "the document is no object"),
    ({"apiVersion": "v1", "kind": "Pod"}, 'no kind "Pod" is registered for version "v1"'),
    ({**document("https://i"), "more": 1}, 'strict decoding error: unknown field "more"'),
    (with_issuer(ulr="x"), 'unknown field "jwt[0].issuer.ulr"'),
    (TWICE, 'jwt[1].issuer.url: Duplicate value: "https://i"'),
    (with_issuer(url=""), "jwt[0].issuer.url: Required value"),
    (with_issuer(url="http://i"), "URL scheme must be https"),
    (with_issuer(url="https://u:p@i"), "URL must not contain a username or password"),
    (with_issuer(url="https://i?x=1"), "URL must not contain a query"),
    (with_issuer(url="https://i#x"), "URL must not contain a fragment"),
    (with_issuer(url="https://ours"), "URL must not overlap with disallowed issuers: [https://ours]"),
    (with_issuer(discoveryURL="https://i/"), "discoveryURL must be different from URL"),
    (with_issuer(audiences=[]), "jwt[0].issuer.audiences: Required value"),
    (with_issuer(audiences=["a", "b"]), "audienceMatchPolicy must be MatchAny for multiple audiences"),
    (with_issuer(audiences=["a", "a"], audienceMatchPolicy="MatchAny"), 'audiences[1]: Duplicate value: "a"'),
    (with_issuer(certificateAuthority="nonsense"), 'certificateAuthority: Invalid value: "<omitted>"'),
    (with_issuer(egressSelectorType="cluster"), "egress selector is not supported"),
    (with_mappings(username={}), "claimMappings.username: Required value: claim or expression is required"),
    (with_mappings(username={"claim": "sub"}), "claimMappings.username.prefix: Required value"),
    (with_mappings(username={"claim": "a", "prefix": "", "expression": "b"}), "claim and expression can't both"),
    (with_mappings(username={"expression": "claims.("}), "compilation failed: ERROR: <input>:1:8"),
    (with_mappings(username={"expression": "other.sub"}), "undeclared reference to 'other"),
    (with_mappings(username={"expression": "claims.email"}), "claims.email_verified must be used in"),
    (with_mappings(uid={"claim": "a", "expression": "claims.b"}), "claim and expression can't both be set"),
    (with_mappings(extra=[{"key": "a", "valueExpression": "'x'"}]), "must be a domain-prefixed path"),
    (with_mappings(extra=[{"key": "k8s.io/a", "valueExpression": "'x'"}]), "are reserved for Kubernetes use"),
    (with_mappings(extra=[{"key": "x.k8s.io/a", "valueExpression": "'x'"}]), "are reserved for Kubernetes use"),
    (with_mappings(extra=[{"key": "a.b/C", "valueExpression": "'x'"}]), "must be lowercase"),
    (with_mappings(extra=[{"key": "a.b/c"}]), "valueExpression: Required value"),
    (changed(claimValidationRules=[{}]), "claim or expression is required"),
    (changed(claimValidationRules=[{"expression": "claims.sub"}]), "must evaluate to bool"),
    (changed(claimValidationRules=[{"expression": "'a'"}]), "must evaluate to bool"),
    (changed(claimValidationRules=[{"claim": "a"}, {"claim": "a"}]), 'claim: Duplicate value: "a"'),
    (changed(claimValidationRules=[{"claim": "a", "message": "m"}]), "may not be specified when claim is set"),
    (changed(userValidationRules=[{}]), "userValidationRules[0].expression: Required value"),
    (changed(userValidationRules=[{"expression": "user.username"}]), "must evaluate to bool"),
    (
        {**document("https://i"), "anonymous": {"enabled": False, "conditions": [{"path": "/livez"}]}},
        "enabled should be set to true when conditions are defined",
    ),
    (changed(claimMappings=["a"]), "wrong type"),
]


@pytest.mark.parametrize(("bad", "text"), BAD_CONFIGURATIONS)
def test_configurations_that_cannot_be_used(bad: Any, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_configuration(bad, OIDC_ALGORITHMS, ["https://ours"])
    assert text in str(refused.value)


def test_anonymous_requests_are_configured_too() -> None:
    conditions = [{"path": "/livez"}, {"path": "/readyz"}]
    found = parse_configuration(
        {**document("https://i"), "anonymous": {"enabled": True, "conditions": conditions}}, OIDC_ALGORITHMS
    )
    assert (found.anonymous, found.anonymous_paths) == (True, ("/livez", "/readyz"))
    assert parse_configuration(document("https://i"), OIDC_ALGORITHMS).anonymous is None
    text = "'claims.email' + claims.sub"  # a mention in a string is no use of the claim
    assert parse_configuration(with_mappings(username={"expression": text}), OIDC_ALGORITHMS).issuers
