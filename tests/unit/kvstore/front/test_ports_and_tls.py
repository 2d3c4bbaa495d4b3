"""Addresses, schemes, and TLS with client certificates."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front import CallContext, Front, ServerTLS, build_front, server_context
from raft.runtime.certificate_names import matches_host


class KV:
    """Answers with the client's name."""

    async def range(self, request: pb.RangeRequest, context: CallContext) -> pb.RangeResponse:
        subject = (context.peer_certificate or {}).get("subject", ())
        names = [value for part in subject for key, value in part if key == "commonName"]
        response = pb.RangeResponse(count=len(names))
        for name in names:
            response.kvs.add(key=name.encode())
        return response


class Certificates:
    """A CA, and one certificate for both sides."""

    def __init__(self, folder: Path) -> None:
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca = self._certificate("ca", None, ca_key.public_key(), ca_key, x509.BasicConstraints(True, None))
        self.ca = self._write(folder / "ca.crt", ca.public_bytes(serialization.Encoding.PEM))
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        leaf = self._certificate("alice", ca.subject, key.public_key(), ca_key, names)
        self.cert = self._write(folder / "tls.crt", leaf.public_bytes(serialization.Encoding.PEM))
        encoded = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.key = self._write(folder / "tls.key", encoded)

    @staticmethod
    def _write(path: Path, content: bytes) -> str:
        path.write_bytes(content)
        return str(path)

    @staticmethod
    def _certificate(name: str, issuer: Any, public: Any, signer: Any, extension: Any) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(extension, critical=False)
        )
        return builder.sign(signer, hashes.SHA256())

    def client_context(self, *protocols: str, certificate: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if certificate:
            context.load_cert_chain(self.cert, self.key)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def channel(self, target: str, certificate: bool = True) -> grpc.aio.Channel:
        parts = [Path(path).read_bytes() for path in (self.ca, self.key, self.cert)]
        credentials = grpc.ssl_channel_credentials(*(parts if certificate else parts[:1]))
        return grpc.aio.secure_channel(target, credentials, options=[("grpc.enable_retries", 0)])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def front():
    front = build_front({"etcdserverpb.KV": KV()})
    yield front
    await front.close(1.0)


async def call(channel: grpc.aio.Channel) -> pb.RangeResponse:
    """One Range on a channel, which is closed after it."""
    method = channel.unary_unary(
        "/etcdserverpb.KV/Range", pb.RangeRequest.SerializeToString, pb.RangeResponse.FromString
    )
    try:
        return await method(pb.RangeRequest(key=b"a"))
    finally:
        await channel.close()


async def http1(url: str, context: ssl.SSLContext | None = None) -> bytes:
    """What a plain HTTP/1.1 request is told."""
    host, _, port = url.partition("//")[2].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.write(b"POST /v3/kv/range HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
    try:
        return (await reader.read()).partition(b"\r\n\r\n")[2]
    finally:
        writer.close()


def target(url: str) -> str:
    return url.partition("//")[2]


async def test_mutual_tls(front: Front, certificates: Certificates) -> None:
    tls = server_context(ServerTLS(certificates.cert, certificates.key, ca=certificates.ca, client_cert_auth=True))
    (url,) = await front.listen(["https://127.0.0.1:0"], tls)
    assert [kv.key for kv in (await call(certificates.channel(target(url)))).kvs] == [b"alice"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(certificates.channel(target(url), certificate=False))
    assert front.connection_count == 0
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    # The gateway speaks for whoever comes: it has no name.
    assert await http1(url, certificates.client_context()) == b"{}"
    assert await http1(url, certificates.client_context("http/1.1")) == b"{}"


async def test_tls_without_client_certificates(front: Front, certificates: Certificates) -> None:
    (url,) = await front.listen(["https://127.0.0.1:0"], server_context(ServerTLS(certificates.cert, certificates.key)))
    assert (await call(certificates.channel(target(url), certificate=False))).count == 0


async def test_both_schemes_on_one_port(front: Front, certificates: Certificates) -> None:
    tls = server_context(ServerTLS(certificates.cert, certificates.key, ca=certificates.ca))
    plain, secure = await front.listen(["http://127.0.0.1:0", "https://127.0.0.1:0"], tls)
    assert target(plain) == target(secure)
    assert (await call(grpc.aio.insecure_channel(target(plain)))).count == 0
    assert (await call(certificates.channel(target(secure)))).count == 1
    assert await http1(plain) == b"{}"
    assert await http1(secure, certificates.client_context()) == b"{}"
    # One that says nothing does not hold up the end.
    _, writer = await asyncio.open_connection("127.0.0.1", int(plain.rpartition(":")[2]))
    await front.close(1.0)
    writer.close()


async def test_unix_sockets(front: Front, tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert await front.listen([f"unix://{path}"]) == [f"unix://{path}"]
    assert (await call(grpc.aio.insecure_channel(f"unix:{path}"))).count == 0
    assert front.router is not None


async def test_unix_sockets_with_and_without_tls(front: Front, certificates: Certificates, tmp_path: Path) -> None:
    path = tmp_path / "s"
    tls = server_context(ServerTLS(certificates.cert, certificates.key))
    assert await front.listen([f"unix://{path}", f"unixs://{path}"], tls) == [f"unix://{path}", f"unixs://{path}"]
    context = certificates.client_context()
    context.check_hostname = False
    for chosen in (None, context):
        reader, writer = await asyncio.open_unix_connection(
            str(path), ssl=chosen, server_hostname="" if chosen else None
        )
        writer.write(b"POST /v3/kv/range HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
        assert (await reader.read()).endswith(b"{}")
        writer.close()
    await front.close(1.0)
    assert not path.exists()


async def test_http_alone(certificates: Certificates) -> None:
    """`--listen-client-http-urls`: the gateway answers, and gRPC calls are for another port."""
    front = build_front({"etcdserverpb.KV": KV()}, grpc=False)
    (url,) = await front.listen(["http://127.0.0.1:0"])
    assert await http1(url) == b"{}"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(grpc.aio.insecure_channel(target(url)))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    await front.close(1.0)


def revocation_list(certificates: Certificates, path: Path, encoding: serialization.Encoding, *serials: int) -> str:
    """A list that has run out long ago and is signed by somebody else: neither matters to etcd."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other")])
    then = datetime.datetime(2020, 1, 1)
    builder = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(then)
    builder = builder.next_update(then + datetime.timedelta(days=1))
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(then).build()
        builder = builder.add_revoked_certificate(revoked)
    path.write_bytes(builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(encoding))
    return str(path)


@pytest.mark.parametrize("encoding", [serialization.Encoding.PEM, serialization.Encoding.DER])
async def test_revoked_certificates(
    front: Front,
    certificates: Certificates,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    encoding: serialization.Encoding,
) -> None:
    crl = tmp_path / "crl"
    settings = ServerTLS(
        certificates.cert, certificates.key, ca=certificates.ca, crl=revocation_list(certificates, crl, encoding, 1)
    )
    (url,) = await front.listen(["https://127.0.0.1:0"], server_context(settings))
    assert await http1(url, certificates.client_context()) == b"{}"
    serial = x509.load_pem_x509_certificate(Path(certificates.cert).read_bytes()).serial_number
    revocation_list(certificates, crl, encoding, 1, serial)  # and it is looked at anew
    with contextlib.suppress(ConnectionError):  # or the end of the stream, whichever comes first
        assert await http1(url, certificates.client_context()) == b""
    assert front.connection_count == 0
    (line,) = [record for record in caplog.records if record.message == "rejected connection on client endpoint"]
    assert line.fields["error"] == f"transport: certificate serial {serial:x} revoked"
    assert line.fields["remote-addr"].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("names", "allowed"), [(("127.0.0.1",), True), (("a", "127.0.0.1"), True), (("alice",), False)]
)
async def test_allowed_host_names(
    front: Front, certificates: Certificates, names: tuple[str, ...], allowed: bool
) -> None:
    settings = ServerTLS(certificates.cert, certificates.key, ca=certificates.ca, allowed_hostnames=names)
    (url,) = await front.listen(["https://127.0.0.1:0"], server_context(settings))
    if allowed:
        assert (await call(certificates.channel(target(url)))).count == 1
    else:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(certificates.channel(target(url)))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a.example", True),
        ("A.Example.", True),
        ("b.wild.example", True),
        ("c.b.wild.example", False),
        ("wild.example", False),
        ("10.0.0.1", True),
        ("10.0.0.2", False),
        ("common", False),
    ],
)
def test_names_of_a_certificate(name: str, good: bool) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName("a.example"), x509.DNSName("*.wild.example")]
    extension = x509.SubjectAlternativeName([*names, x509.IPAddress(ipaddress.ip_address("10.0.0.1"))])
    assert matches_host(Certificates._certificate("common", None, key.public_key(), key, extension), name) is good
    bare = Certificates._certificate("common", None, key.public_key(), key, x509.BasicConstraints(False, None))
    assert not matches_host(bare, name)


async def test_several_addresses(front: Front) -> None:
    urls = await front.listen(["http://127.0.0.1:0", "http://localhost:0"])
    assert len(urls) >= 2
    for url in urls:
        assert (await call(grpc.aio.insecure_channel(target(url)))).count == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://127.0.0.1:1", "URL scheme must be"),
        ("http://127.0.0.1", "scheme://host:port"),
        ("http://127.0.0.1:1/path", "without a path"),
        ("unix://", "needs a path"),
        ("https://127.0.0.1:1", "TLS key and certificate must be provided"),
    ],
)
async def test_bad_urls(front: Front, url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        await front.listen([url])


async def test_an_address_in_use(front: Front) -> None:
    (url,) = await front.listen(["http://127.0.0.1:0"])
    with pytest.raises(OSError, match="in use"):
        await front.listen([url])


def test_tls_settings(certificates: Certificates) -> None:
    def context(**more: Any) -> ssl.SSLContext:
        return server_context(ServerTLS(certificates.cert, certificates.key, **more))

    assert context().minimum_version is ssl.TLSVersion.TLSv1_2
    assert context(max_version="TLS1.2").maximum_version is ssl.TLSVersion.TLSv1_2
    assert context(min_version="TLS1.3").minimum_version is ssl.TLSVersion.TLSv1_3
    suites = (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    )
    chosen = {cipher["name"] for cipher in context(cipher_suites=suites).get_ciphers()}
    assert chosen >= {
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-SHA",
        "AES128-SHA",
        "ECDHE-RSA-CHACHA20-POLY1305",
    }
    for bad in ({"min_version": "TLS9"}, {"cipher_suites": ("nonsense",)}, {"client_cert_auth": True}):
        with pytest.raises(ValueError, match=r"unexpected|without a trusted CA"):
            context(**bad)


async def test_renewed_certificates_are_followed(front: Front, tmp_path: Path) -> None:
    """A new CA and new certificates under the same paths; a half-written one changes nothing."""
    old = Certificates(tmp_path)
    (url,) = await front.listen(["https://127.0.0.1:0"], server_context(ServerTLS(old.cert, old.key, ca=old.ca)))
    before = old.client_context()
    assert await http1(url, before) == b"{}"
    Path(old.cert).write_bytes(b"-----BEGIN")
    assert await http1(url, before) == b"{}"
    after = Certificates(tmp_path).client_context()
    assert await http1(url, after) == b"{}"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await http1(url, before)


def test_under_uvloop(certificates: Certificates) -> None:
    """The same code on the loop production runs on."""

    async def run() -> list[bytes]:
        front = build_front({"etcdserverpb.KV": KV()})
        tls = server_context(ServerTLS(certificates.cert, certificates.key, ca=certificates.ca))
        urls = await front.listen(["http://127.0.0.1:0", "https://127.0.0.1:0"], tls)
        urls += await front.listen(["https://127.0.0.1:0"], tls)
        context = certificates.client_context()
        answers = [await http1(url, context if url.startswith("https") else None) for url in urls]
        await front.close(1.0)
        return answers

    assert uvloop.run(run()) == [b"{}"] * 3
