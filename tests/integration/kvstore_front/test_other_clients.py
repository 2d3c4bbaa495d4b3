"""What flags promise on the wire, and clients of HTTP that know nothing of etcd: curl and h2load."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hpack import Decoder
from hyperframe import frame as hyper

from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front.frames import MAX_STREAM_ID, ErrorCode, FrameType, Setting, frame
from tests.integration.etcd_process import MINI_ETCD, EtcdProcess
from tests.integration.kvstore_front.wire import Canary, RawConnection, data, grpc_fields, headers, message
from tests.unit.raft.authority import Authority

pytestmark = pytest.mark.e2e

WATCH = grpc_fields("/etcdserverpb.Watch/Watch")
CREATE = message(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")).SerializeToString())
CALLS = 2000


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    directory = tmp_path_factory.mktemp("secure")
    pair = Authority(directory).issue("server")
    flags = [f"--cert-file={pair.cert}", f"--key-file={pair.key}"]
    with EtcdProcess.start(directory, scheme="https", program=MINI_ETCD, flags=flags) as process:
        yield process


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")


@needs("curl")
@pytest.mark.parametrize(("flag", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_curl_over_tls(secure: EtcdProcess, flag: str, version: str) -> None:
    """The version is agreed on by ALPN."""
    url = f"{secure.endpoint}/v3/kv/range"
    command = ["curl", "-sSk", "-m", "20", flag, "-w", "\n%{http_version}", "-d", '{"key":"YQ=="}', url]
    body, _, spoken = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rpartition("\n")
    assert spoken == version
    assert int(json.loads(body)["header"]["revision"]) >= 1
    health = ["curl", "-sSk", "-m", "20", flag, f"{secure.endpoint}/health"]
    assert json.loads(subprocess.run(health, capture_output=True, check=True).stdout)["health"] == "true"


@needs("h2load")
@pytest.mark.parametrize("streams", [1, 32])
def test_h2load(mini_etcd: EtcdProcess, secure: EtcdProcess, tmp_path: Path, streams: int) -> None:
    """Every request of many at once is answered, and every put is in the store once."""
    body = tmp_path / "put"
    body.write_bytes(message(pb.PutRequest(key=b"h2load", value=bytes(256)).SerializeToString()))
    for server in (mini_etcd, secure):
        versions = []
        for calls in (1, CALLS):
            command = ["h2load", f"-n{calls}", f"-c{min(8, calls)}", f"-m{streams}", f"-d{body}", "-Hte: trailers"]
            command += ["-Hcontent-type: application/grpc", f"{server.endpoint}/etcdserverpb.KV/Put"]
            out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
            assert re.search(rf"{calls} succeeded, 0 failed, 0 errored, 0 timeout", out), out
            versions.append(version_of(server, b"h2load"))
        assert versions[1] - versions[0] == CALLS


def version_of(server: EtcdProcess, key: bytes) -> int:
    from base64 import b64encode

    query = json.dumps({"key": b64encode(key).decode()})
    command = ["curl", "-sSk", "-m", "20", "-d", query, f"{server.endpoint}/v3/kv/range"]
    found = subprocess.run(command, capture_output=True, check=True).stdout
    return int(json.loads(found)["kvs"][0]["version"])


def test_the_number_of_streams_is_announced_and_kept(tmp_path: Path) -> None:
    with (
        EtcdProcess.start(tmp_path, program=MINI_ETCD, flags=["--max-concurrent-streams=5"]) as server,
        RawConnection(server.endpoint) as connection,
    ):
        received = connection.flood(headers(stream_id, WATCH) for stream_id in range(1, 15, 2))
        announced = next(one for one in received if isinstance(one, hyper.SettingsFrame) and one.settings)
        assert announced.settings[Setting.MAX_CONCURRENT_STREAMS] == 5
        refused = [one for one in received if isinstance(one, hyper.RstStreamFrame)]
        assert [(one.stream_id, one.error_code) for one in refused] == [
            (11, ErrorCode.REFUSED_STREAM),
            (13, ErrorCode.REFUSED_STREAM),
        ]
        Canary(server.endpoint).close()


def test_silent_clients_are_asked_and_given_up(tmp_path: Path) -> None:
    flags = ["--grpc-keepalive-interval=1s", "--grpc-keepalive-timeout=1s"]
    with (
        EtcdProcess.start(tmp_path, program=MINI_ETCD, flags=flags) as server,
        RawConnection(server.endpoint) as silent,
        RawConnection(server.endpoint) as answering,
    ):
        pings = []
        while not silent.closed:
            pings += [one for one in silent._receive() if isinstance(one, hyper.PingFrame)]
            for ping in [one for one in answering.flood([]) if isinstance(one, hyper.PingFrame)]:
                if "ACK" not in ping.flags:
                    answering._send(frame(FrameType.PING, 1, 0, ping.opaque_data))
        assert len(pings) == 1
        assert not answering.closed


def test_a_server_that_stops_says_so_and_finishes_what_it_began(tmp_path: Path) -> None:
    """Streams are told to go elsewhere; requests that cross the first GOAWAY are still answered."""
    with EtcdProcess.start(tmp_path, program=MINI_ETCD) as server, RawConnection(server.endpoint) as connection:
        connection.flood([headers(1, WATCH), data(1, CREATE, end_stream=False)])
        server.process.send_signal(signal.SIGTERM)
        received = connection.read_until(lambda one: isinstance(one, hyper.GoAwayFrame))
        first = next(one for one in received if isinstance(one, hyper.GoAwayFrame))
        assert (first.last_stream_id, first.error_code) == (MAX_STREAM_ID, ErrorCode.NO_ERROR)
        read = message(pb.RangeRequest(key=b"a", serializable=True).SerializeToString())
        received += connection._send(headers(3, grpc_fields("/etcdserverpb.KV/Range")) + data(3, read))
        ping = next(
            (one for one in received if isinstance(one, hyper.PingFrame) and "ACK" not in one.flags), None
        ) or next(
            one for one in connection.read_until(lambda one: isinstance(one, hyper.PingFrame)) if "ACK" not in one.flags
        )
        received += connection._send(frame(FrameType.PING, 1, 0, ping.opaque_data))
        received += connection.read_until(lambda _: False)
        last = [one for one in received if isinstance(one, hyper.GoAwayFrame)][-1]
        assert (last.last_stream_id, last.error_code) == (3, ErrorCode.NO_ERROR)
        decoder = Decoder()
        ends = {}
        for one in received:
            if isinstance(one, hyper.HeadersFrame):
                fields = dict(decoder.decode(one.data))
                if "END_STREAM" in one.flags:
                    ends[one.stream_id] = (fields["grpc-status"], fields.get("grpc-message"))
        assert ends == {1: ("14", "etcdserver: server stopped"), 3: ("0", None)}
        assert server.process.wait(20) == 0
