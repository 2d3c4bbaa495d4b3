"""Good credentials of each kind, and whom they stand for."""

from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from jwt import PyJWK

from apiserver.authn import InvalidCredentialError
from apiserver.authn.keys import key_set, load_public_keys, load_signing_key
from apiserver.authn.service_accounts.names import split_username
from apiserver.authn.service_accounts.tokens import Bound
from apiserver.authn.token_file import parse_token_file
from apiserver.authn.web_tokens import read_unverified
from tests.unit.apiserver.authn.authn_world import (
    AUDIENCES,
    ISSUER,
    NOW,
    World,
    certificate,
    encoded,
    private_pem,
    public_pem,
    request_of,
    request_with,
)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_static_token(world: World) -> None:
    user = await world.bearer("static-token")
    assert user is not None
    assert (user.name, user.uid, user.groups) == ("alice", "1001", ("dev", "ops", "system:authenticated"))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(world: World, scheme: str) -> None:
    user = await world.who(request_with(authorization=f"  {scheme} static-token and more"))
    assert user is not None
    assert user.name == "alice"


async def test_a_space_too_many_is_warned_of_and_nobody_gets_in_by_it(world: World) -> None:
    request = request_with(authorization="Bearer  static-token")
    user = await world.who(request)
    assert user is not None
    assert user.name == "system:anonymous"
    assert request.warnings == [
        "the provided Authorization header contains extra space before the bearer token, and is ignored"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("token,user\n", "token file 'f' must have at least 3 columns (token, user name, user uid), found 2"),
        ('t,u,1,"open\n', "token file 'f', line 1: unexpected end of data"),
    ],
)
def test_token_files_that_cannot_be_used(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_token_file(text, "f")
    assert str(refused.value) == problem


def test_token_files_may_have_empty_lines_and_few_columns() -> None:
    users = parse_token_file('a,one,1\n\n,nobody,2\nb,two,2,"x,y"\n', "f")
    assert sorted((user.name, user.groups) for user in users.values()) == [("one", ()), ("two", ("x", "y"))]


async def test_a_bootstrap_token(world: World) -> None:
    user = await world.bearer("abcdef.0123456789abcdef")
    assert user is not None
    assert user.name == "system:bootstrap:abcdef"
    assert user.groups == (
        "system:bootstrappers",
        "system:bootstrappers:kubeadm:default-node-token",
        "system:authenticated",
    )


async def test_a_certificate(world: World) -> None:
    uid = x509.ObjectIdentifier("1.3.6.1.4.1.57683.2")
    der = certificate([(NameOID.COMMON_NAME, "jane"), (NameOID.ORGANIZATION_NAME, "dev"), (uid, "u-1")])
    user = await world.who(request_of([], der))
    assert user is not None
    assert (user.name, user.uid, user.groups) == ("jane", "u-1", ("dev", "system:authenticated"))
    fingerprint = hashlib.sha256(der).hexdigest()
    assert user.extra == (("authentication.kubernetes.io/credential-id", (f"X509SHA256={fingerprint}",)),)


async def test_a_certificate_comes_before_a_token(world: World) -> None:
    der = certificate([(NameOID.COMMON_NAME, "jane")])
    user = await world.who(request_of([("authorization", "Bearer static-token")], der))
    assert user is not None
    assert user.name == "jane"


async def test_no_credential_is_anonymous(world: World) -> None:
    user = await world.who(request_of([]))
    assert user is not None
    assert (user.name, user.groups) == ("system:anonymous", ("system:unauthenticated",))


async def test_a_token_of_a_service_account(world: World) -> None:
    user = await world.bearer(world.token())
    assert user is not None
    assert (user.name, user.uid) == ("system:serviceaccount:apps:builder", "sa-uid")
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:apps", "system:authenticated")
    assert [key for key, _ in user.extra] == ["authentication.kubernetes.io/credential-id"]
    assert user.extra[0][1][0].startswith("JTI=")


def test_claims_are_those_of_kubernetes(world: World) -> None:
    token, token_id = world.issuer.issue(world.account, ["a", "b"], 600, Bound("pod", "web", "pod-uid", ("n1", "")), 60)
    read = read_unverified(token)
    assert read is not None
    assert read.header == {"alg": "ES256", "kid": world.keys.signing_key.public.key_id}
    assert read.claims == {
        "aud": ["a", "b"],
        "exp": NOW + 600,
        "iat": NOW,
        "iss": ISSUER,
        "jti": token_id,
        "kubernetes.io": {
            "namespace": "apps",
            "node": {"name": "n1"},
            "pod": {"name": "web", "uid": "pod-uid"},
            "serviceaccount": {"name": "builder", "uid": "sa-uid"},
            "warnafter": NOW + 60,
        },
        "nbf": NOW,
        "sub": "system:serviceaccount:apps:builder",
    }


@pytest.mark.parametrize(
    ("bound", "extra"),
    [
        (Bound("pod", "web", "pod-uid"), {"pod-name": "web", "pod-uid": "pod-uid"}),
        (
            Bound("pod", "web", "pod-uid", ("n1", "node-uid")),
            {"pod-name": "web", "pod-uid": "pod-uid", "node-name": "n1", "node-uid": "node-uid"},
        ),
        (Bound("pod", "web", "pod-uid", ("gone", "")), {"pod-name": "web", "pod-uid": "pod-uid", "node-name": "gone"}),
        (Bound("node", "n1", "node-uid"), {"node-name": "n1", "node-uid": "node-uid"}),
        (Bound("secret", "bound", "secret-uid"), {}),
    ],
)
async def test_what_a_token_is_bound_to_is_told(world: World, bound: Bound, extra: dict[str, str]) -> None:
    user = await world.bearer(world.token(bound=bound))
    assert user is not None
    prefix = "authentication.kubernetes.io/"
    told = {key.removeprefix(prefix): values[0] for key, values in user.extra if not key.endswith("credential-id")}
    assert told == extra


@pytest.mark.parametrize("seconds", [-59.0, 3600.0 + 59.0])
async def test_clocks_may_be_a_minute_apart(world: World, seconds: float) -> None:
    token = world.token()
    world.clock.seconds += seconds
    user = await world.bearer(token)
    assert user is not None
    assert user.name == "system:serviceaccount:apps:builder"


async def test_a_token_that_lies_in_a_secret(world: World) -> None:
    token = world.issuer.issue_legacy(world.account, "old")
    world.put("secrets", "apps", "old", "s", data=encoded(token=token))
    user = await world.bearer(token)
    assert user is not None
    assert (user.name, user.uid, user.extra) == ("system:serviceaccount:apps:builder", "sa-uid", ())


async def test_audiences_are_those_that_were_asked_for(world: World) -> None:
    token = world.token(audiences=["vault", *AUDIENCES])
    identity = await world.tokens.authenticate_token(token, ["vault", "other"])
    assert identity is not None
    assert identity.audiences == ("vault",)
    static = await world.tokens.authenticate_token("static-token", AUDIENCES)
    assert static is not None
    assert static.audiences == AUDIENCES
    assert await world.tokens.authenticate_token("static-token", ["vault"]) is None


async def test_a_token_without_audiences_is_for_the_server(world: World) -> None:
    claims = world.claims()
    del claims["aud"]
    identity = await world.tokens.authenticate_token(world.signed(claims), AUDIENCES)
    assert identity is not None
    with pytest.raises(InvalidCredentialError, match="is invalid for the target audiences"):
        await world.tokens.authenticate_token(world.signed(claims), ["vault"])


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
        (rsa.generate_private_key(65537, 2048), "RS256"),
    ],
)
def test_key_sets_are_read_by_others(key: object, algorithm: str) -> None:
    keys = load_public_keys(public_pem(key) + private_pem(key))
    assert [found.algorithm for found in keys] == [algorithm, algorithm]
    assert len({found.key_id for found in keys}) == 1
    web_key = key_set(keys)["keys"][0]
    read = PyJWK.from_dict(web_key).key
    der = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    assert read.public_bytes(*der) == keys[0].key.public_bytes(*der)


@pytest.mark.parametrize("pem", [b"", b"nonsense", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_key_files_that_hold_no_key(pem: bytes) -> None:
    with pytest.raises(ValueError):
        load_public_keys(pem)
    with pytest.raises(ValueError):
        load_signing_key(pem)


@pytest.mark.parametrize(
    ("user", "found"),
    [
        ("system:serviceaccount:apps:builder", ("apps", "builder")),
        ("system:serviceaccount:apps:a.b", ("apps", "a.b")),
        ("system:serviceaccount:apps", None),
        ("system:serviceaccount:apps:a:b", None),
        ("system:serviceaccount:Apps:a", None),
        ("system:serviceaccount:a.b:a", None),
        ("system:serviceaccount::a", None),
        ("system:serviceaccounts:a:b", None),
        (f"system:serviceaccount:{'a' * 64}:b", None),
    ],
)
def test_user_names_of_service_accounts(user: str, found: tuple[str, str] | None) -> None:
    assert split_username(user) == found
