"""TLS between members: who is let in, and certificates that are renewed."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from raft.environment import RealFileSystem
from raft.errors import PeerRefusedError, PeerUnavailableError
from raft.runtime.certificate_names import matches_host
from raft.runtime.peer_channel import PING_METHOD
from raft.runtime.peer_tls import CredentialFiles, PeerTLS
from raft.runtime.transport_grpc import GrpcTransport
from tests.unit.raft.authority import Authority, Pair
from tests.unit.raft.peers import Inbox, eventually, heartbeat, make, running

HTTPS = ("https://127.0.0.1:0",)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls_of(authority: Authority, pair: Pair, **options: object) -> PeerTLS:
    return PeerTLS(pair.cert, pair.key, authority.path, client_cert_auth=True, **options)  # type: ignore[arg-type]


async def may_call(caller: GrpcTransport, url: str) -> None:
    assert await caller.call(url, PING_METHOD, b"", 10) == b""


async def test_members_of_one_authority_are_joined_and_others_are_not(authority: Authority, tmp_path: Path) -> None:
    first, second = (make(number, HTTPS, tls=tls_of(authority, authority.issue(f"{number}"))) for number in (1, 2))
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "others").issue("stranger")
    third = make(3, HTTPS, tls=tls_of(authority, stranger))
    async with running(first, second, third) as (_, inbox2, inbox3):
        first.send([heartbeat(1, 2)])
        await inbox2.until(lambda: inbox2.messages == [heartbeat(1, 2)])
        await third.add_peer(2, second.urls)
        third.send([heartbeat(3, 2)])
        await inbox3.until(lambda: inbox3.unreachable == [2])
        assert inbox2.messages == [heartbeat(1, 2)]
        plain = second.urls[0].replace("https", "http")
        with pytest.raises(PeerUnavailableError):
            await first.call(plain, PING_METHOD, b"", 5)


async def test_a_certificate_for_another_name_is_not_connected_to(authority: Authority) -> None:
    first = make(1, HTTPS, tls=tls_of(authority, authority.issue("1")))
    second = make(2, HTTPS, tls=tls_of(authority, authority.issue("2", names=("10.9.8.7",))))
    async with running(first, second):
        with pytest.raises(PeerUnavailableError):
            await first.call(second.urls[0], PING_METHOD, b"", 5)


async def test_http_https_and_socket_files_are_mixed(authority: Authority, tmp_path: Path) -> None:
    urls = ("http://127.0.0.1:0", *HTTPS, f"unixs://{tmp_path}/peer", f"unix://{tmp_path}/plain")
    first = make(1, HTTPS, tls=tls_of(authority, authority.issue("1")))
    second = make(2, urls, tls=tls_of(authority, authority.issue("2")))
    async with running(first, second):
        for url in second.urls:
            await may_call(first, url)


async def test_without_an_authority_no_certificate_is_asked_for(authority: Authority) -> None:
    pair = authority.issue("1")
    second = make(2, HTTPS, tls=PeerTLS(pair.cert, pair.key))
    first = make(1, HTTPS, tls=tls_of(authority, authority.issue("2")))
    async with running(first, second):
        await may_call(first, second.urls[0])


async def test_the_client_certificate_is_shown_when_there_is_one(authority: Authority) -> None:
    client = authority.issue("client", "client")
    tls = tls_of(authority, authority.issue("1"), client_cert=client.cert, client_key=client.key)
    first = make(1, HTTPS, tls=tls)
    second = make(2, HTTPS, tls=tls_of(authority, authority.issue("2"), allowed_cns=("client", "other")))
    async with running(first, second):
        await may_call(first, second.urls[0])
        with pytest.raises(PeerRefusedError, match="PERMISSION_DENIED: client certificate authentication failed"):
            await second.call(second.urls[0], PING_METHOD, b"", 5)
        assert second.stats.rejected == 1


async def test_only_allowed_host_names_are_let_in(authority: Authority) -> None:
    good = authority.issue("good", names=("127.0.0.1", "*.peers.example"))
    bad = authority.issue("bad", names=("127.0.0.1", "a.b.peers.example"))
    server = authority.issue("server")
    second = make(2, HTTPS, tls=tls_of(authority, server, allowed_hostnames=("x.peers.example", "y.peers.example")))
    first, third = (make(number, HTTPS, tls=tls_of(authority, pair)) for number, pair in ((1, good), (3, bad)))
    async with running(first, second, third):
        await may_call(first, second.urls[0])
        with pytest.raises(PeerRefusedError, match="not good for an allowed host name"):
            await third.call(second.urls[0], PING_METHOD, b"", 5)


@pytest.mark.parametrize("encoding", [Encoding.DER, Encoding.PEM])
async def test_revoked_certificates_are_refused(authority: Authority, encoding: Encoding) -> None:
    pair, another = authority.issue("1"), authority.issue("another")
    crl = authority.revoke(another.serial, encoding=encoding)
    second = make(2, HTTPS, tls=tls_of(authority, authority.issue("2"), crl=crl))
    first = make(1, HTTPS, tls=tls_of(authority, pair))
    async with running(first, second):
        await may_call(first, second.urls[0])
        authority.revoke(another.serial, pair.serial, encoding=encoding)
        with pytest.raises(PeerRefusedError, match=f"certificate serial {pair.serial:x} revoked"):
            await first.call(second.urls[0], PING_METHOD, b"", 5)
        Path(crl).write_bytes(b"no list")
        with pytest.raises(PeerRefusedError, match="revocation list cannot be read"):
            await first.call(second.urls[0], PING_METHOD, b"", 5)


async def test_a_client_must_come_from_where_its_certificate_says(authority: Authority) -> None:
    elsewhere = tls_of(authority, authority.issue("1", names=("10.9.8.7",)))
    nameless = tls_of(authority, authority.issue("3", names=()))
    named = tls_of(authority, authority.issue("4", names=("localhost",)))
    first, third, fourth = make(1, (), tls=elsewhere), make(3, (), tls=nameless), make(4, (), tls=named)
    pair = authority.issue("2")
    strict = make(2, HTTPS, tls=tls_of(authority, pair))
    lax = make(5, HTTPS, tls=tls_of(authority, pair, skip_client_san_verification=True))
    for transport in (first, third, fourth, strict, lax):
        await transport.start(Inbox())
    with pytest.raises(PeerRefusedError, match=r"not good for 127\.0\.0\.1"):
        await first.call(strict.urls[0], PING_METHOD, b"", 5)
    await may_call(third, strict.urls[0])
    await may_call(fourth, strict.urls[0])
    await may_call(first, lax.urls[0])
    for transport in (first, third, fourth, strict, lax):
        await transport.stop()


async def test_renewed_certificates_are_used_without_a_restart(authority: Authority) -> None:
    allowed = ("old", "new")
    first = make(1, HTTPS, tls=tls_of(authority, authority.issue("1", "old"), allowed_cns=allowed))
    second = make(2, HTTPS, tls=tls_of(authority, authority.issue("2", "old"), allowed_cns=allowed))
    third = make(3, HTTPS, tls=tls_of(authority, authority.issue("3", "old"), allowed_cns=("new",)))
    async with running(first, second, third) as (inbox1, inbox2, _):
        await eventually(lambda: first.connected_since(2) is not None)
        with pytest.raises(PeerRefusedError, match="common name is not allowed"):
            await first.call(third.urls[0], PING_METHOD, b"", 5)
        authority.issue("1", "new")
        await may_call(first, third.urls[0])
        # What we serve: a certificate that cannot be used changes nothing, one that is not good is noticed at once.
        path = Path(authority.issue("2", "new", names=("10.9.8.7",)).cert)
        with pytest.raises(PeerUnavailableError):
            await first.call(second.urls[0], PING_METHOD, b"", 5)
        authority.issue("2", "new")
        await may_call(first, second.urls[0])
        path.write_bytes(b"half a certific")
        await may_call(first, second.urls[0])
        first.send([heartbeat(1, 2)])  # over the connection that was there all the time
        await inbox2.until(lambda: inbox2.messages == [heartbeat(1, 2)])
        assert inbox1.unreachable == []


async def test_members_that_sign_for_themselves_are_joined(tmp_path: Path) -> None:
    for number in "12":
        (tmp_path / number).mkdir()
    own = [Authority(tmp_path / number, "etcd").self_signed("127.0.0.1") for number in "12"]
    first, second = (
        make(number, (*HTTPS, f"unixs://{tmp_path}/{number}/peer"), tls=PeerTLS(pair.cert, pair.key, self_signed=True))
        for number, pair in enumerate(own, start=1)
    )
    async with running(first, second) as (_, inbox2):
        first.send([heartbeat(1, 2)])
        await inbox2.until(lambda: inbox2.messages == [heartbeat(1, 2)])
        for url in second.urls:
            await may_call(first, url)
        with pytest.raises(PeerUnavailableError):
            await first.call("https://127.0.0.1:1", PING_METHOD, b"", 5)


def test_settings_that_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="both be present or both absent"):
        PeerTLS("cert", "key", client_cert="cert")
    with pytest.raises(ValueError, match="mutually exclusive"):
        PeerTLS("cert", "key", allowed_cns=("a",), allowed_hostnames=("b",))
    with pytest.raises(ValueError, match="without a trusted CA"):
        PeerTLS("cert", "key", client_cert_auth=True)


async def test_files_that_cannot_be_used_are_errors_at_the_start(authority: Authority, tmp_path: Path) -> None:
    pair, another = authority.issue("1"), authority.issue("another")
    with pytest.raises(FileNotFoundError):
        await make(1, HTTPS, tls=PeerTLS(str(tmp_path / "none"), pair.key)).start(Inbox())
    with pytest.raises(ValueError, match="does not belong to the certificate"):
        await make(1, HTTPS, tls=PeerTLS(pair.cert, another.key)).start(Inbox())
    with pytest.raises(ValueError, match=r"1\.key"):
        CredentialFiles(RealFileSystem(), PeerTLS(pair.key, pair.key)).channel()


def test_host_names_match_as_in_rfc_6125(authority: Authority) -> None:
    names = ("a.example", "*.b.example", "10.0.0.1", "::1")
    certificate = x509.load_pem_x509_certificate(Path(authority.issue("1", names=names).cert).read_bytes())
    for host in ("a.example", "A.Example.", "x.b.example", "10.0.0.1", "[::1]"):
        assert matches_host(certificate, host), host
    for host in ("b.example", "x.y.b.example", "x.a.example", "10.0.0.2", "member", ""):
        assert not matches_host(certificate, host), host
