"""Authorities of client certificates: kept apart, replaced while the server runs; and proxies that name users."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from apiserver.app.certificates import PKI
from apiserver.app.client_certificates import ClientCertificates
from apiserver.app.options import Options
from apiserver.authn import InvalidCredentialError, UnionAuthenticator
from apiserver.request import UserInfo
from kvstore.environment import real_environment
from tests.unit.apiserver.authn.authn_world import request_of
from tests.unit.apiserver.authn.authorities import Authority


class Setup:
    """Our own authority, one of the users', one of proxies."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.own, self.users, self.proxies = Authority("own"), Authority("users"), Authority("proxies")
        _, server = self.own.issue("server", server=True)
        (directory / "server.pem").write_bytes(server)
        pair = str(directory / "server.pem")
        self.pki = PKI(self.own.write(directory / "own.crt"), pair, pair, "", "", "", "")
        self.users_file = self.users.write(directory / "users.crt")
        proxies_file = self.proxies.write(directory / "proxies.crt")
        with_proxy = {
            "requestheader_client_ca_file": proxies_file,
            "requestheader_username_headers": ("X-Remote-User", "X-Other-User"),
            "requestheader_uid_headers": ("X-Remote-Uid",),
            "requestheader_group_headers": ("X-Remote-Group",),
            "requestheader_extra_headers_prefix": ("X-Remote-Extra-",),
            "requestheader_allowed_names": ("front",),
        }
        chosen = {**with_proxy, **options} if options.pop("proxy", True) else options
        chosen.pop("proxy", None)
        self.certificates = self.make(Options(client_ca_file=self.users_file, **chosen))
        self.listening = self.certificates.context()  # the server's socket keeps this one

    def make(self, options: Options) -> ClientCertificates:
        environment = real_environment()
        return ClientCertificates(options, self.pki, environment.files, environment.clock)

    async def who(self, certificate: bytes | None, *headers: tuple[str, str]) -> UserInfo | None:
        found = [] if self.certificates.proxy is None else [self.certificates.proxy]
        request = request_of(list(headers), certificate)
        request.received_seconds = time.time()
        return await UnionAuthenticator([*found, self.certificates.x509]).authenticate(request)

    def handshake(self, pair: bytes) -> bytes | None:
        """The client certificate that the server has accepted; raises ssl.SSLError when it has not."""
        path = self.directory / "client.pem"
        path.write_bytes(pair)
        client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client_context.check_hostname = False
        client_context.load_verify_locations(self.pki.ca_cert)
        client_context.load_cert_chain(path)
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = self.listening.wrap_bio(to_server, to_client, server_side=True)
        client = client_context.wrap_bio(to_client, to_server)
        for _ in range(4):
            for side in (client, server):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        return server.getpeercert(binary_form=True)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


FRONT = [
    ("x-remote-user", "jane"),
    ("x-remote-group", "dev"),
    ("x-remote-group", "ops"),
    ("x-remote-uid", "7"),
    ("x-remote-extra-example.com%2fkey", "a"),
]


async def test_a_proxy_names_the_user(setup: Setup) -> None:
    der, _ = setup.proxies.issue("front")
    assert await setup.who(der, *FRONT) == UserInfo(
        "jane", "7", ("dev", "ops", "system:authenticated"), (("example.com/key", ("a",)),)
    )
    user = await setup.who(der, ("x-other-user", "joe"))
    assert user is not None
    assert user.name == "joe"


async def test_headers_from_others_are_not_looked_at(setup: Setup) -> None:
    der, _ = setup.users.issue("alice", "dev")
    user = await setup.who(der, *FRONT)
    assert user is not None
    assert (user.name, user.groups) == ("alice", ("dev", "system:authenticated"))
    own, _ = setup.own.issue("kubernetes-admin", "system:masters")
    admin = await setup.who(own, *FRONT)
    assert admin is not None
    assert admin.name == "kubernetes-admin"
    assert await setup.who(None, *FRONT) is None


async def test_attempts_by_certificate(setup: Setup, tmp_path: Path) -> None:
    """Each is refused, or is nobody."""
    stranger = Authority("proxies")  # the same name, another key
    twin = Authority("users")
    for der, headers, text in (
        (setup.proxies.issue("front")[0], [], "unknown authority"),  # a proxy is no user
        (setup.proxies.issue("kubernetes-admin", "system:masters")[0], [], "not in the allowed list"),
        (setup.proxies.issue("other")[0], FRONT, "cn=other is not in the allowed list"),
        (stranger.issue("front")[0], FRONT, "unknown authority"),
        (twin.issue("alice")[0], [], "unknown authority"),
        (setup.proxies.issue("front", server=True)[0], FRONT, "incompatible key usage"),
        (setup.users.issue("front")[0][:-8] + b"\0" * 8, FRONT, "unknown authority"),
    ):
        with pytest.raises(InvalidCredentialError, match=text):
            await setup.who(der, *headers)


def test_the_handshake_takes_all_three(setup: Setup) -> None:
    for authority in (setup.own, setup.users, setup.proxies):
        der, pair = authority.issue("x")
        assert setup.handshake(pair) == der
    with pytest.raises(ssl.SSLError):
        setup.handshake(Authority("strange").issue("x")[1])


async def test_a_bundle_is_replaced_while_we_run(tmp_path: Path) -> None:
    setup = Setup(tmp_path, proxy=False)
    old_der, old_pair = setup.users.issue("old")
    assert setup.handshake(old_pair) == old_der
    assert (await setup.who(old_der)) is not None
    newer = Authority("newer")
    newer.write(tmp_path / "users.crt")
    await setup.certificates._reload()
    new_der, new_pair = newer.issue("new")
    assert setup.handshake(new_pair) == new_der
    user = await setup.who(new_der)
    assert user is not None
    assert user.name == "new"
    with pytest.raises(ssl.SSLError):
        setup.handshake(old_pair)
    with pytest.raises(InvalidCredentialError, match="unknown authority"):
        await setup.who(old_der)  # on a connection that was open before


async def test_a_bundle_that_cannot_be_used_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    setup = Setup(tmp_path)
    der, pair = setup.users.issue("alice")
    (tmp_path / "users.crt").write_bytes(b"half a fi")
    await setup.certificates._reload()
    assert "cannot be used" in caplog.text
    assert setup.handshake(pair) == der
    assert await setup.who(der) is not None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"client_ca_file": "FILE"}, "cannot use the CA bundle"),
        ({"requestheader_client_ca_file": "FILE", "requestheader_username_headers": ("x",)}, "cannot use the CA bun"),
        ({"tls_cert_file": "FILE", "tls_private_key_file": "FILE"}, "cannot use"),
    ],
)
def test_files_that_cannot_be_used_are_named(setup: Setup, options: dict[str, Any], text: str) -> None:
    bad = setup.directory / "bad.pem"
    bad.write_text("nothing")
    chosen = {name: str(bad) if value == "FILE" else value for name, value in options.items()}
    with pytest.raises(ValueError, match=text):
        setup.make(Options(**chosen))


def test_header_names_must_not_be_empty(setup: Setup) -> None:
    with pytest.raises(ValueError, match="empty header name"):
        setup.make(
            Options(
                requestheader_client_ca_file=setup.users_file, requestheader_username_headers=("x-remote-user", " ")
            )
        )
