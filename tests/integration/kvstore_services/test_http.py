"""Health, versions and metrics over HTTP, beside those of a real etcd."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.etcd_process import EtcdProcess
from tests.integration.kvstore_services.conftest import SECONDS_MAX, Calls, MiniEtcd

pytestmark = pytest.mark.e2e

FAMILIES = Path(__file__).parent / "metrics.txt"
"""Every family that mini-etcd exports, as `name type`."""

ALERTS = {
    "etcd_server_has_leader",
    "etcd_server_leader_changes_seen_total",
    "grpc_server_handled_total",
    "etcd_server_proposals_failed_total",
    "etcd_disk_wal_fsync_duration_seconds",
    "etcd_disk_backend_commit_duration_seconds",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_server_quota_backend_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_resident_memory_bytes",
}
"""What the alerts and dashboards of etcd's mixin read of a member that is alone."""

NOT_HERE = re.compile(
    r"(go|promhttp|etcd_snap|etcd_debugging_(store|snap|disk)|etcd_grpc_proxy|etcd_network_snapshot)_.*"
    r"|etcd_server_go_version|etcd_disk_wal_write_bytes_total"
    r"|etcd_debugging_mvcc_(index_compaction_pause_duration_milliseconds|range_total)"
    r"|etcd_network_(peer|active|disconnected).*"
)
"""What etcd has and mini-etcd has not; see `kvstore.app.metrics`. `etcd_debugging_mvcc_range_total` went with 3.6."""


class Answer:
    """Status, the header fields that say something, and the body."""

    def __init__(self, url: str, method: str = "GET") -> None:
        request = urllib.request.Request(url, method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS_MAX) as response:
                self.status, headers, self.body = response.status, response.headers, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                self.status, headers, self.body = error.code, error.headers, error.read().decode()
        told = ("content-type", "allow", "x-content-type-options", "access-control-allow-origin")
        self.headers = {name: headers[name] for name in told if name in headers}


def families(text: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def samples(text: str, name: str) -> dict[str, float]:
    """Values by label text."""
    return {labels: float(value) for labels, value in re.findall(rf"^{name}(\{{.*\}})? (\S+)$", text, re.MULTILINE)}


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/health", "GET"),
        ("/health?serializable=true", "GET"),
        ("/health?exclude=NOSPACE&exclude=CORRUPT", "GET"),
        ("/health", "POST"),
        ("/health", "PUT"),
        ("/health", "HEAD"),
        ("/version", "POST"),
        ("/nothing", "GET"),
    ],
)
def test_answers_are_those_of_etcd(mini: MiniEtcd, etcd: EtcdProcess, path: str, method: str) -> None:
    ours, theirs = (Answer(server.endpoint + path, method) for server in (mini, etcd))
    assert (ours.status, ours.headers, ours.body) == (theirs.status, theirs.headers, theirs.body)


def test_version(mini: MiniEtcd, etcd: EtcdProcess) -> None:
    ours, theirs = (Answer(server.endpoint + "/version") for server in (mini, etcd))
    assert (ours.status, ours.headers) == (theirs.status, theirs.headers)
    assert set(json.loads(ours.body)) == {*json.loads(theirs.body), "storage"}


def test_debug_vars(mini: MiniEtcd, etcd: EtcdProcess) -> None:
    ours, theirs = (Answer(server.endpoint + "/debug/vars") for server in (mini, etcd))
    assert ours.headers == theirs.headers
    assert ours.body.splitlines()[0] == theirs.body.splitlines()[0] == "{"
    known, real = json.loads(ours.body), json.loads(theirs.body)
    assert set(real) - set(known) == {"memstats"}
    assert set(known["raft.status"]) <= set(real["raft.status"])
    assert known["raft.status"]["raftState"] == real["raft.status"]["raftState"] == "StateLeader"


async def test_alarms_make_a_member_unhealthy(start_mini: Callable[..., MiniEtcd]) -> None:
    mini = start_mini()
    calls = Calls(mini.endpoint)
    alarm = "etcdserverpb.Maintenance/Alarm"
    status = await calls("etcdserverpb.Maintenance/Status")
    await calls(alarm, action="ACTIVATE", memberID=status.header.member_id, alarm="NOSPACE")
    sick = Answer(mini.endpoint + "/health")
    assert (sick.status, sick.body) == (503, '{"health":"false","reason":"ALARM NOSPACE"}\n')
    assert sick.headers["x-content-type-options"] == "nosniff"
    assert Answer(mini.endpoint + "/health?exclude=NOSPACE").status == 200
    assert Answer(mini.endpoint + "/readyz").body == "ok\n", "it may still be read"
    await calls(alarm, action="ACTIVATE", alarm="CORRUPT")
    assert Answer(mini.endpoint + "/health?exclude=NOSPACE").body == '{"health":"false","reason":"ALARM CORRUPT"}\n'
    unready = Answer(mini.endpoint + "/readyz")
    assert (unready.status, unready.body) == (
        503,
        "[-]data_corruption failed: alarm activated: CORRUPT\n"
        "[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\n\n",
    )
    assert Answer(mini.endpoint + "/readyz/data_corruption").status == 503
    assert Answer(mini.endpoint + "/readyz?exclude=data_corruption").status == 200
    assert Answer(mini.endpoint + "/readyz?exclude=data_corruption&exclude=moon&verbose").body == (
        "[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n"
    )
    assert mini.logged("some health checks cannot be excluded")
    assert Answer(mini.endpoint + "/livez?verbose").body == "[+]serializable_read ok\nok\n"
    text = Answer(mini.endpoint + "/metrics").body
    assert samples(text, "etcd_server_health_failures") == {"": 2}
    assert samples(text, "etcd_server_health_success") == {"": 1}
    assert samples(text, "etcd_server_healthcheck")['{type="readyz",name="data_corruption"}'] == 0
    counts = samples(text, "etcd_server_healthchecks_total")
    assert counts['{type="readyz",name="data_corruption",status="error"}'] == 2
    assert len(samples(text, "etcd_debugging_server_alarms")) == 2
    await calls.close()


def test_checks_can_be_asked_alone(mini: MiniEtcd) -> None:
    for path in ("/livez/serializable_read", "/readyz/linearizable_read", "/readyz/non_learner"):
        answer = Answer(f"{mini.endpoint}{path}?verbose")
        assert (answer.status, answer.body) == (200, f"[+]{path.rpartition('/')[2]} ok\nok\n")
    assert Answer(mini.endpoint + "/livez/linearizable_read").status == 404
    assert Answer(mini.endpoint + "/livez", "POST").headers["allow"] == "GET"


async def test_metrics_are_those_that_are_listed(mini: MiniEtcd, etcd: EtcdProcess) -> None:
    ours = families(Answer(mini.endpoint + "/metrics").body)
    listed = dict(line.split() for line in FAMILIES.read_text().splitlines())
    assert ours == listed
    assert set(ours) >= ALERTS
    theirs = families(Answer(etcd.endpoint + "/metrics").body)
    missing = {name for name in theirs if name not in ours and not NOT_HERE.fullmatch(name)}
    assert missing == set()
    assert {name: kind for name, kind in ours.items() if theirs.get(name, kind) != kind} == {}


async def test_histograms_have_the_buckets_of_etcd(mini: MiniEtcd, etcd: EtcdProcess) -> None:
    """And labels have the same names, wherever both have samples."""
    shape = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$", re.MULTILINE)

    def shapes(text: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, labels in shape.findall(text):
            bounds = re.findall(r'le="([^"]*)"', labels)
            names = ",".join(sorted(re.findall(r'(\w+)="', labels)))
            found.setdefault(name, set()).add(f"{names} {float(bounds[0]):.6g}" if bounds else names)
        return found

    ours, theirs = (shapes(Answer(server.endpoint + "/metrics").body) for server in (mini, etcd))
    common = [name for name in ours if name in theirs and not name.startswith("grpc_server_handling")]
    assert len(common) > 60
    for name in common:
        assert ours[name] == theirs[name], name


async def test_metrics_count_what_happens(start_mini: Callable[..., MiniEtcd]) -> None:
    mini = start_mini("--metrics=extensive", "--feature-gates=CompactHashCheck=true")
    calls = Calls(mini.endpoint)
    for number in range(5):
        await calls("etcdserverpb.KV/Put", key=b"a", value=b"%d" % number)
    await calls("etcdserverpb.KV/Range", key=b"a")
    await calls("etcdserverpb.KV/DeleteRange", key=b"a")
    await calls.refusal("etcdserverpb.KV/Put", key=b"a", lease=5)
    await calls.refusal("etcdserverpb.KV/Put", key=b"")
    await calls("etcdserverpb.KV/Compact", revision=6, physical=True)
    lease = await calls("etcdserverpb.Lease/LeaseGrant", TTL=100)
    await calls("etcdserverpb.Lease/LeaseRevoke", ID=lease.ID)
    await calls("etcdserverpb.Maintenance/HashKV")
    await calls("etcdserverpb.Maintenance/Defragment")
    text = Answer(mini.endpoint + "/metrics").body

    def value(name: str, /, **labels: str) -> float:
        wanted = {f'{key}="{text}"' for key, text in labels.items()}
        found = [
            number
            for label_text, number in samples(text, name).items()
            if wanted == set(filter(None, label_text.strip("{}").split(",")))
        ]
        assert len(found) == 1, (name, labels, found)
        return found[0]

    assert value("etcd_mvcc_put_total") == 5
    assert value("etcd_mvcc_range_total") == 1
    assert value("etcd_mvcc_delete_total") == 1
    assert value("etcd_debugging_mvcc_total_put_size_in_bytes") == 10
    assert value("etcd_debugging_mvcc_db_compaction_keys_total") == 4
    assert value("etcd_debugging_lease_granted_total") == value("etcd_debugging_lease_revoked_total") == 1
    assert value("etcd_debugging_lease_ttl_total_sum") == 100
    assert value("etcd_mvcc_hash_rev_duration_seconds_count") >= 1
    assert value("etcd_disk_backend_defrag_duration_seconds_count") == 1
    assert value("etcd_server_apply_duration_seconds_count", version="v3", op="Put", success="true") == 5
    assert value("etcd_server_apply_duration_seconds_count", version="v3", op="Put", success="false") == 1
    assert value("etcd_server_request_duration_seconds_count", type="Put", success="true") == 6
    assert value("etcd_server_request_duration_seconds_count", type="Range", success="true") == 1
    assert value("etcd_server_range_duration_seconds_count", success="true") == 1
    assert value("etcd_server_feature_enabled", name="CompactHashCheck", stage="ALPHA") == 1
    assert value("etcd_server_feature_enabled", name="StopGRPCServiceOnDefrag", stage="ALPHA") == 0
    assert value("etcd_server_client_requests_total", type="unary", client_api_version="unknown") == 14
    kv = {"grpc_service": "etcdserverpb.KV", "grpc_type": "unary"}
    assert value("grpc_server_handled_total", grpc_code="OK", grpc_method="Put", **kv) == 5
    assert value("grpc_server_handled_total", grpc_code="NotFound", grpc_method="Put", **kv) == 1
    assert value("grpc_server_handled_total", grpc_code="InvalidArgument", grpc_method="Put", **kv) == 1
    assert value("grpc_server_started_total", grpc_method="Txn", **kv) == 0, "never called, and there all the same"
    assert value("grpc_server_handling_seconds_count", grpc_method="Put", **kv) == 7
    assert "hash" in mini.logged("finished scheduled compaction")[0]
    await calls.close()
