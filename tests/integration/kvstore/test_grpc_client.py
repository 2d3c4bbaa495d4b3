"""`GrpcClient` against a real etcd."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kvstore.client.grpc import ClientTLS, GrpcClient
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.etcd_process import EtcdProcess, free_ports

pytestmark = pytest.mark.e2e


@pytest.fixture
async def client(etcd: EtcdProcess) -> AsyncIterator[GrpcClient]:
    client = GrpcClient([etcd.endpoint])
    yield client
    await client.close()


async def test_put_range_delete(client: GrpcClient) -> None:
    put = await client.put(pb.PutRequest(key=b"client/a", value=b"1"))
    got = await client.range(pb.RangeRequest(key=b"client/a"))
    assert (got.kvs[0].value, got.kvs[0].mod_revision) == (b"1", put.header.revision)
    deleted = await client.delete_range(pb.DeleteRangeRequest(key=b"client/a", prev_kv=True))
    assert deleted.prev_kvs[0].value == b"1"


async def test_txn_creates_once(client: GrpcClient) -> None:
    request = pb.TxnRequest(
        compare=[pb.Compare(key=b"client/txn", target=pb.Compare.MOD, result=pb.Compare.EQUAL, mod_revision=0)],
        success=[pb.RequestOp(request_put=pb.PutRequest(key=b"client/txn", value=b"1"))],
        failure=[pb.RequestOp(request_range=pb.RangeRequest(key=b"client/txn"))],
    )
    assert (await client.txn(request)).succeeded
    again = await client.txn(request)
    assert not again.succeeded
    assert again.responses[0].response_range.kvs[0].value == b"1"


async def test_current_revision_is_that_of_the_last_write(client: GrpcClient) -> None:
    put = await client.put(pb.PutRequest(key=b"client/revision", value=b"1"))
    assert await client.current_revision() >= put.header.revision


async def test_errors_carry_etcds_code_and_text(client: GrpcClient) -> None:
    with pytest.raises(EtcdError) as caught:
        await client.range(pb.RangeRequest(key=b"client/a", revision=1 << 40))
    assert caught.value.code is StatusCode.OUT_OF_RANGE
    assert caught.value.message == "etcdserver: mvcc: required revision is a future revision"
    with pytest.raises(EtcdError) as caught:
        await client.put(pb.PutRequest(key=b"client/big", value=bytes(1_600_000)))
    assert (caught.value.code, caught.value.message) == (
        StatusCode.INVALID_ARGUMENT,
        "etcdserver: request is too large",
    )


async def test_compaction(client: GrpcClient) -> None:
    revision = (await client.put(pb.PutRequest(key=b"client/compact", value=b"1"))).header.revision
    await client.put(pb.PutRequest(key=b"client/compact", value=b"2"))
    await client.compact(pb.CompactionRequest(revision=revision + 1, physical=True))
    with pytest.raises(EtcdError, match="required revision has been compacted"):
        await client.range(pb.RangeRequest(key=b"client/compact", revision=revision))


async def test_messages_of_several_mebibytes_come_back(client: GrpcClient) -> None:
    for index in range(6):
        await client.put(pb.PutRequest(key=b"client/large/%d" % index, value=bytes(1_400_000)))
    got = await client.range(pb.RangeRequest(key=b"client/large/", range_end=b"client/large0"))
    assert sum(len(kv.value) for kv in got.kvs) == 6 * 1_400_000
    await client.delete_range(pb.DeleteRangeRequest(key=b"client/large/", range_end=b"client/large0"))


async def test_leases(client: GrpcClient) -> None:
    lease = await client.lease_grant(pb.LeaseGrantRequest(TTL=60))
    await client.put(pb.PutRequest(key=b"client/leased", value=b"1", lease=lease.ID))
    assert (await client.lease_keep_alive(lease.ID)).TTL == 60
    ttl = await client.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=lease.ID, keys=True))
    assert list(ttl.keys) == [b"client/leased"]
    await client.lease_revoke(pb.LeaseRevokeRequest(ID=lease.ID))
    assert (await client.range(pb.RangeRequest(key=b"client/leased"))).count == 0
    assert (await client.lease_keep_alive(lease.ID)).TTL == 0


async def test_status(client: GrpcClient) -> None:
    status = await client.status()
    assert status.version.startswith("3.")
    assert status.leader == status.header.member_id


async def test_watch_gives_history_then_changes(client: GrpcClient) -> None:
    first = await client.put(pb.PutRequest(key=b"client/watched", value=b"1"))
    stream = client.watch()
    responses = aiter(stream)
    create = pb.WatchCreateRequest(key=b"client/watched", start_revision=first.header.revision, prev_kv=True)
    await stream.send(pb.WatchRequest(create_request=create))
    assert (await anext(responses)).created
    assert (await anext(responses)).events[0].kv.value == b"1"
    await client.delete_range(pb.DeleteRangeRequest(key=b"client/watched"))
    event = (await anext(responses)).events[0]
    assert (event.type, event.prev_kv.value) == (kv_pb2.Event.DELETE, b"1")
    await stream.close()
    with pytest.raises(StopAsyncIteration):
        await anext(responses)
    with pytest.raises(EtcdError, match="watch canceled"):
        await stream.send(pb.WatchRequest(create_request=create))


async def test_closing_a_watch_ends_its_waiting_reader(client: GrpcClient) -> None:
    stream = client.watch()
    await stream.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"client/none")))
    created = asyncio.Event()

    async def read() -> int:
        count = 0
        async for _ in stream:
            count += 1
            created.set()
        return count

    reader = asyncio.create_task(read())
    await created.wait()
    await stream.close()
    assert await reader == 1


async def test_cancelling_the_reader_is_not_swallowed(client: GrpcClient) -> None:
    stream = client.watch()
    await stream.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"client/none")))
    responses = aiter(stream)
    await anext(responses)
    reader = asyncio.create_task(anext(responses))  # type: ignore[arg-type]  # anext of an async generator is a coroutine
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await stream.close()


async def test_calls_after_close_are_refused(etcd: EtcdProcess) -> None:
    client = GrpcClient([etcd.endpoint])
    await client.status()
    await client.close()
    with pytest.raises(EtcdError, match="client is closed"):
        await client.status()


async def test_failover_to_an_endpoint_that_is_up(etcd: EtcdProcess) -> None:
    dead = f"http://127.0.0.1:{free_ports(1)[0]}"
    client = GrpcClient([dead, etcd.endpoint, dead])
    for index in range(6):
        await client.put(pb.PutRequest(key=b"client/failover", value=b"%d" % index))
    assert (await client.range(pb.RangeRequest(key=b"client/failover"))).kvs[0].value == b"5"
    await client.close()


async def test_nobody_there() -> None:
    client = GrpcClient([f"127.0.0.1:{free_ports(1)[0]}"], patience_seconds=0.1)
    with pytest.raises(EtcdError) as caught:
        await client.status()
    assert caught.value.code is StatusCode.UNAVAILABLE
    stream = client.watch()

    async def first_response() -> None:
        await stream.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")))
        await anext(aiter(stream))

    with pytest.raises(EtcdError) as caught:
        await first_response()
    assert caught.value.code is StatusCode.UNAVAILABLE
    await client.close()


async def test_a_store_that_stops_ends_the_watch_and_comes_back(tmp_path: Path) -> None:
    with EtcdProcess.start(tmp_path) as first:
        client = GrpcClient([first.endpoint], patience_seconds=20)
        stream = client.watch()
        await stream.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")))
        responses = aiter(stream)
        await anext(responses)
        first.process.terminate()
        with pytest.raises(EtcdError) as caught:
            await anext(responses)
        assert caught.value.code is StatusCode.UNAVAILABLE
        await asyncio.to_thread(first.stop)
    # Both are repeated until the store is there again: a read, and a write that could not be sent.
    waiting = asyncio.gather(client.status(), client.put(pb.PutRequest(key=b"a", value=b"1")))
    port = int(first.endpoint.rpartition(":")[2])
    second = await asyncio.to_thread(EtcdProcess.start, tmp_path, port=port)
    with second:
        status, put = await waiting
        assert status.header.member_id == put.header.member_id != 0
        await client.close()


def _certificates(directory: Path) -> tuple[str, str, str]:
    """A CA that signs one certificate for both sides; paths of CA, certificate and key."""

    def build(name: str, issuer: x509.Name | None, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = build("test-ca", None, ca_key).add_extension(x509.BasicConstraints(True, None), True)
    ca_certificate = ca.sign(ca_key, hashes.SHA256())
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")])
    certificate = (
        build("both-sides", ca_certificate.subject, key).add_extension(names, False).sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    contents = {
        "ca.crt": ca_certificate.public_bytes(pem),
        "tls.crt": certificate.public_bytes(pem),
        "tls.key": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    ca_path, certificate_path, key_path = (str(directory / name) for name in contents)
    return ca_path, certificate_path, key_path


async def test_mutual_tls(tmp_path: Path) -> None:
    ca, cert, key = _certificates(tmp_path)
    flags = [f"--cert-file={cert}", f"--key-file={key}", f"--trusted-ca-file={ca}", "--client-cert-auth"]
    with EtcdProcess.start(tmp_path, scheme="https", flags=flags) as etcd:
        client = GrpcClient([etcd.endpoint], tls=ClientTLS(ca=ca, cert=cert, key=key))
        assert (await client.status()).leader
        await client.close()
        without_certificate = GrpcClient([etcd.endpoint], tls=ClientTLS(ca=ca))
        with pytest.raises(EtcdError) as caught:
            await without_certificate.status()
        assert caught.value.code is StatusCode.UNAVAILABLE
        await without_certificate.close()


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(ValueError, match="go together"):
        ClientTLS(cert="a")
    with pytest.raises(ValueError, match="scheme must be"):
        GrpcClient(["ftp://a:1"])


def test_grpc_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys; from kvstore.client.grpc import GrpcClient; GrpcClient(['a:1']); sys.exit('grpc' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
