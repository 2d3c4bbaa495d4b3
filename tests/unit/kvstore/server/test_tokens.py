"""Tokens of both kinds: who has which, for how long, and what is none."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from kvstore.auth import AuthFailedError, UncataloguedAuthError
from kvstore.environment import Environment, real_environment
from kvstore.server.tokens import SimpleTokens, TokenBearer, TokenOptionsError, TokenProvider, parse_token_options
from raft.environment import SeededRandomness
from tests.conformance.storage.fake_clock import FakeClock, settle

WAIT_SECONDS = 7.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def environment(clock: FakeClock) -> Environment:
    return dataclasses.replace(real_environment(), clock=clock, randomness=SeededRandomness(1))


def provider(text: str, environment: Environment, ttl: int = 300, applied_index: Callable[[], int] = int) -> Any:
    return parse_token_options(text, ttl, environment, WAIT_SECONDS)(applied_index)


class Index:
    """An applied index that moves when told to."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __call__(self) -> int:
        return self.value


# --- which kind


@pytest.mark.parametrize(
    "text",
    [
        "bogus",
        "Simple",
        "simple,ttl",
        "simple,a=b=c",
        "simple,a=1,a=2",
        "jwt",
        "jwt,sign-method=",
        "jwt,sign-method=RS999",
        "jwt,sign-method=RS256,ttl=soon,priv-key=/dev/null",
        "jwt,sign-method=RS256,priv-key=/no/such/file",
    ],
)
def test_options_that_are_none(text: str, environment: Environment) -> None:
    with pytest.raises(TokenOptionsError) as refused:
        parse_token_options(text, 300, environment, WAIT_SECONDS)
    assert str(refused.value) == "auth: invalid auth options"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA", "HS256"])
def test_a_sign_method_needs_a_key(algorithm: str, environment: Environment) -> None:
    with pytest.raises(TokenOptionsError) as refused:
        parse_token_options(f"jwt,sign-method={algorithm}", 300, environment, WAIT_SECONDS)
    assert str(refused.value) == "auth: missing key data"


def test_none_is_no_sign_method(environment: Environment) -> None:
    with pytest.raises(TokenOptionsError) as refused:
        parse_token_options("jwt,sign-method=none", 300, environment, WAIT_SECONDS)
    assert "unsupported signing method" in str(refused.value)


async def test_no_tokens_at_all(environment: Environment) -> None:
    tokens = provider("", environment)
    tokens.enable()
    with pytest.raises(AuthFailedError):
        tokens.assign(tokens.new_prefix(), "alice", 1)
    assert await tokens.find("anything.1") is None


# --- simple tokens


@pytest.fixture
def index() -> Index:
    return Index(5)


@pytest.fixture
def simple(environment: Environment, index: Index) -> SimpleTokens:
    tokens = provider("simple", environment, applied_index=index)
    assert isinstance(tokens, SimpleTokens)
    tokens.enable()
    return tokens


async def test_a_token_is_letters_and_an_index(simple: SimpleTokens) -> None:
    prefixes = {simple.new_prefix() for _ in range(100)}
    assert len(prefixes) == 100
    assert all(len(prefix) == 16 and prefix.isascii() and prefix.isalpha() for prefix in prefixes)
    assert {letter for prefix in prefixes for letter in prefix} == set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    )
    token = simple.assign("prefix", "alice", 9)
    assert token == "prefix.5"
    assert await simple.find(token) == TokenBearer("alice", None)


async def test_a_token_lives_while_it_is_used(simple: SimpleTokens, clock: FakeClock) -> None:
    used, unused = simple.assign("used", "alice", 9), simple.assign("unused", "alice", 9)
    for _ in range(3):
        await clock.advance(200)
        assert await simple.find(used) is not None
    assert await simple.find(unused) is None
    await clock.advance(301)
    assert await simple.find(used) is None


async def test_expired_tokens_take_no_room(simple: SimpleTokens, clock: FakeClock) -> None:
    kept = simple.assign("kept", "alice", 9)
    for number in range(100):
        simple.assign(f"p{number}", "alice", 9)
    await clock.advance(299)
    assert await simple.find(kept) is not None
    await clock.advance(2)
    simple.assign("new", "alice", 9)
    assert len(simple) == 2


@pytest.mark.parametrize(("ttl", "lives"), [(10, 10), (0, 300)])
async def test_time_to_live(environment: Environment, clock: FakeClock, ttl: int, lives: int) -> None:
    tokens = provider("simple", environment, ttl)
    tokens.enable()
    token = tokens.assign("p", "alice", 1)
    await clock.advance(lives)
    assert await tokens.find(token) is not None
    await clock.advance(lives + 1)
    assert await tokens.find(token) is None


async def test_tokens_go_with_their_user_and_with_authentication(simple: SimpleTokens) -> None:
    of_alice, of_bob = simple.assign("a", "alice", 9), simple.assign("b", "bob", 9)
    simple.invalidate_user("alice")
    assert await simple.find(of_alice) is None
    assert await simple.find(of_bob) is not None
    simple.disable()
    simple.enable()
    assert await simple.find(of_bob) is None


async def test_nothing_is_kept_while_authentication_is_off(environment: Environment) -> None:
    tokens = provider("simple", environment)
    token = tokens.assign("p", "alice", 1)
    tokens.enable()
    assert await tokens.find(token) is None


async def test_a_token_from_the_future_is_waited_for(simple: SimpleTokens, index: Index) -> None:
    first, second = (asyncio.ensure_future(simple.find("p.7")) for _ in range(2))
    await settle()
    assert not first.done()
    index.value = 7
    simple.assign("p", "alice", 9)
    assert await first == await second == TokenBearer("alice", None)


async def test_waiting_ends(simple: SimpleTokens, index: Index, clock: FakeClock) -> None:
    waiting = asyncio.ensure_future(simple.find("p.7"))
    cancelled = asyncio.ensure_future(simple.find("q.18446744073709551615"))
    await settle()
    cancelled.cancel()
    await clock.advance(WAIT_SECONDS)
    assert await waiting is None
    assert cancelled.cancelled()
    assert not simple._waiting
    assert simple._waiting_count == 0


@pytest.mark.parametrize(
    "token",
    ["", ".", ".6", "p", "p.", "p.5", "p.x", "p.-6", "p.6.7", "p.٦", "p.1e9", "p." + "9" * 30, "p" * 100_000 + ".9"],
)
async def test_what_is_no_token_is_refused_at_once(simple: SimpleTokens, token: str) -> None:
    finding = asyncio.ensure_future(simple.find(token))
    await settle()
    assert finding.done()
    assert finding.result() is None


# --- signed tokens


KEYS: dict[str, Any] = {
    "RS": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
SECRET = b"a secret of more than enough bytes for every one of the three hashes it is used with"


def key_of(algorithm: str) -> Any:
    return KEYS["RS"] if algorithm[:2] in ("RS", "PS") else KEYS[algorithm]


def private_pem(key: Any) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))


def public_pem(key: Any) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_key().public_bytes(encoding, form))


class Signed:
    """Makes providers of signed tokens from key files."""

    def __init__(self, directory: Path, environment: Environment) -> None:
        self._directory = directory
        self._environment = environment

    def __call__(
        self, algorithm: str, private: bytes | None = None, public: bytes | None = None, rest: str = ""
    ) -> TokenProvider:
        text = f"jwt,sign-method={algorithm}"
        for option, content in (("priv-key", private), ("pub-key", public)):
            if content is not None:
                path = self._directory / option
                path.write_bytes(content)
                text += f",{option}={path}"
        made: TokenProvider = provider(text + rest, self._environment)
        return made


@pytest.fixture
def signed(tmp_path: Path, environment: Environment) -> Signed:
    return Signed(tmp_path, environment)


ALGORITHMS = [f"{kind}{bits}" for kind in ("RS", "PS", "ES", "HS") for bits in (256, 384, 512)] + ["EdDSA"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_sign_method(signed: Signed, clock: FakeClock, algorithm: str) -> None:
    private = SECRET if algorithm.startswith("HS") else private_pem(key_of(algorithm))
    tokens = signed(algorithm, private)
    assert tokens.new_prefix() == ""
    token = tokens.assign("", "alice", 7)
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims == {"username": "alice", "revision": 7, "exp": int(clock.now() + 300)}
    tokens.invalidate_user("alice")
    tokens.disable()
    tokens.enable()
    assert await tokens.find(token) == TokenBearer("alice", 7)
    assert await tokens.find(token[:-6] + "AAAAAA") is None
    if not algorithm.startswith("HS"):
        verifier = signed(algorithm, None, public_pem(key_of(algorithm)))
        assert await verifier.find(token) == TokenBearer("alice", 7)
        with pytest.raises(UncataloguedAuthError, match="verify-only key"):
            verifier.assign("", "alice", 7)


async def test_signed_tokens_expire_by_the_given_clock(signed: Signed, clock: FakeClock) -> None:
    tokens = signed("HS256", SECRET, rest=",ttl=5s,other=ignored")
    token = tokens.assign("", "alice", 7)
    await clock.advance(4)
    assert await tokens.find(token) is not None
    await clock.advance(1)
    assert await tokens.find(token) is None


def forged(algorithm: str, claims: dict[str, Any], secret: bytes = b"") -> str:
    """A token put together by hand."""

    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    body = part({"alg": algorithm, "typ": "JWT"}) + b"." + part(claims)
    if not secret:
        return (body + b".").decode()
    import hashlib
    import hmac

    mac = hmac.new(secret, body, hashlib.sha256).digest()
    return (body + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


async def test_only_the_configured_algorithm(signed: Signed) -> None:
    claims = {"username": "root", "revision": 7}
    tokens = signed("RS256", private_pem(KEYS["RS"]), public_pem(KEYS["RS"]))
    for algorithm in ("none", "None", "NONE", ""):
        assert await tokens.find(forged(algorithm, claims)) is None
    assert await tokens.find(forged("HS256", claims, public_pem(KEYS["RS"]))) is None  # the public key as a secret
    assert await tokens.find(jwt.encode(claims, KEYS["RS"], algorithm="RS512")) is None
    assert await tokens.find(jwt.encode(claims, KEYS["RS"], algorithm="PS256")) is None
    other = rsa.generate_private_key(65537, 2048)
    assert await tokens.find(jwt.encode(claims, other, algorithm="RS256")) is None
    assert await tokens.find(jwt.encode(claims, KEYS["RS"], algorithm="RS256")) == TokenBearer("root", 7)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"username": "alice"},
        {"revision": 7},
        {"username": 7, "revision": 7},
        {"username": "alice", "revision": "7"},
        {"username": "alice", "revision": True},
        {"username": "alice", "revision": None},
        {"username": "alice", "revision": -1},
        {"username": "alice", "revision": 1e40},
        {"username": "alice", "revision": 7, "exp": "tomorrow"},
        {"username": "alice", "revision": 7, "exp": 1},
        {"username": "alice", "revision": 7, "nbf": 1e11},
    ],
)
async def test_claims_that_make_no_sense(signed: Signed, claims: dict[str, Any]) -> None:
    tokens = signed("HS256", SECRET)
    assert await tokens.find(forged("HS256", claims, SECRET)) is None


async def test_claims_nobody_asked_for(signed: Signed) -> None:
    claims = {"username": "alice", "revision": 7.0, "iat": 1e11, "aud": "x", "iss": 5, "sub": 5, "jti": []}
    assert await signed("HS256", SECRET).find(forged("HS256", claims, SECRET)) == TokenBearer("alice", 7)


@pytest.mark.parametrize("token", ["", "..", "a.b.c", "x" * 100_000, "\udcff.\udcff.", "p.5"])
async def test_what_is_no_signed_token(signed: Signed, token: str) -> None:
    assert await signed("HS256", SECRET).find(token) is None


def test_keys_must_fit(signed: Signed) -> None:
    other = rsa.generate_private_key(65537, 2048)
    for arguments, message in (
        (("RS256", private_pem(KEYS["RS"]), public_pem(other)), "auth: public and private keys don't match"),
        (("RS256", private_pem(KEYS["ES256"])), "another type"),
        (("ES256", private_pem(KEYS["RS"])), "another type"),
        (("EdDSA", None, public_pem(KEYS["RS"])), "another type"),
        (("RS256", b"no key"), "PEM"),
        (("HS256", None, SECRET), "missing key data"),
    ):
        with pytest.raises(TokenOptionsError, match=message):
            signed(*arguments)


async def test_the_public_key_may_be_a_certificate(signed: Signed, clock: FakeClock) -> None:
    import datetime

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens")])
    began = datetime.datetime.fromtimestamp(clock.now(), datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(KEYS["RS"].public_key()).not_valid_before(began)
    certificate = builder.not_valid_after(began + datetime.timedelta(days=1)).sign(KEYS["RS"], hashes.SHA256())
    tokens = signed("RS256", private_pem(KEYS["RS"]), certificate.public_bytes(serialization.Encoding.PEM))
    assert await tokens.find(tokens.assign("", "alice", 7)) == TokenBearer("alice", 7)
