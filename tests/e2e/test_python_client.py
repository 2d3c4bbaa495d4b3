"""The `kubernetes` Python client, generated from Kubernetes' own OpenAPI: typed, dynamic, watches and its utilities."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server_process import ServerProcess

kubernetes = pytest.importorskip("kubernetes")
from kubernetes import client, config, utils, watch  # noqa: E402
from kubernetes.client.exceptions import ApiException  # noqa: E402
from kubernetes.dynamic import DynamicClient  # noqa: E402
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError, ResourceNotFoundError  # noqa: E402

pytestmark = pytest.mark.e2e

SHOP = Path(__file__).parents[2] / "manifests" / "examples" / "shop.yaml"


@pytest.fixture
def api(server: ServerProcess) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(server.kubeconfig)) as api_client:
        yield api_client
        api_client.rest_client.pool_manager.clear()


@pytest.fixture
def core(api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels), data=data or None)


def pod_template(labels: dict[str, str]) -> client.V1PodTemplateSpec:
    container = client.V1Container(name="main", image="nginx:1.27")
    return client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
    )


@contextlib.contextmanager
def refused(status: int, reason: str) -> Iterator[dict[str, Any]]:
    """The block must fail with that code and reason; what is yielded gets the Status' fields."""
    answer: dict[str, Any] = {}
    with pytest.raises(ApiException) as caught:
        yield answer
    assert caught.value.status == status, caught.value.body
    answer.update(json.loads(caught.value.body))
    assert (answer["kind"], answer["status"], answer["code"]) == ("Status", "Failure", status)
    assert answer["reason"] == reason


def test_version_and_discovery(api: client.ApiClient) -> None:
    version = client.VersionApi(api).get_code()
    assert (version.major, version.minor) == ("1", "37")
    assert version.git_version.startswith("v1.37.")
    groups = {group.name for group in client.ApisApi(api).get_api_versions().groups}
    assert {"apps", "batch", "rbac.authorization.k8s.io", "storage.k8s.io"} <= groups
    resources = client.AppsV1Api(api).get_api_resources()
    assert resources.group_version == "apps/v1"
    assert "deployments/scale" in {resource.name for resource in resources.resources}
    assert client.CoreApi(api).get_api_versions().versions == ["v1"]


def test_typed_objects_in_every_verb(core: client.CoreV1Api, namespace: str) -> None:
    created = core.create_namespaced_config_map(namespace, config_map("a", color="blue"))
    assert created.metadata.uid
    assert created.metadata.creation_timestamp.tzinfo is not None
    read = core.read_namespaced_config_map("a", namespace)
    assert read.data == {"color": "blue"}
    read.data["size"] = "3"
    replaced = core.replace_namespaced_config_map("a", namespace, read)
    assert int(replaced.metadata.resource_version) > int(created.metadata.resource_version)
    assert [one.metadata.name for one in core.list_namespaced_config_map(namespace).items] == ["a"]
    everywhere = core.list_config_map_for_all_namespaces(field_selector="metadata.name=a")
    assert namespace in {one.metadata.namespace for one in everywhere.items}
    deleted = core.delete_namespaced_config_map("a", namespace)
    answer = core.api_client.sanitize_for_serialization(deleted)
    assert (answer["status"], answer["details"]["name"], answer["details"]["kind"]) == ("Success", "a", "configmaps")
    with refused(404, "NotFound"):
        core.read_namespaced_config_map("a", namespace)


def test_a_deployment_its_scale_and_its_status(api: client.ApiClient, namespace: str) -> None:
    apps = client.AppsV1Api(api)
    labels = {"app": "web"}
    spec = client.V1DeploymentSpec(
        replicas=2, selector=client.V1LabelSelector(match_labels=labels), template=pod_template(labels)
    )
    body = client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec)
    created = apps.create_namespaced_deployment(namespace, body)
    assert created.spec.strategy.rolling_update.max_surge == "25%"
    assert created.metadata.generation == 1
    assert apps.read_namespaced_deployment_scale("web", namespace).spec.replicas == 2
    scaled = apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 5}})
    assert (scaled.kind, scaled.spec.replicas, scaled.status.selector) == ("Scale", 5, "app=web")
    current = apps.read_namespaced_deployment("web", namespace)
    assert (current.spec.replicas, current.metadata.generation) == (5, 2)
    current.status = client.V1DeploymentStatus(observed_generation=2, replicas=5, ready_replicas=4)
    current.spec.replicas = 9
    written = apps.replace_namespaced_deployment_status("web", namespace, current)
    assert (written.status.ready_replicas, written.spec.replicas) == (4, 5)


def test_a_job_and_a_cron_job(api: client.ApiClient, namespace: str) -> None:
    batch = client.BatchV1Api(api)
    template = pod_template({})
    template.spec.restart_policy = "Never"
    job = client.V1Job(metadata=client.V1ObjectMeta(generate_name="work-"), spec=client.V1JobSpec(template=template))
    created = batch.create_namespaced_job(namespace, job)
    assert created.metadata.name.startswith("work-")
    assert created.spec.selector.match_labels["batch.kubernetes.io/controller-uid"] == created.metadata.uid
    template.spec.restart_policy = "Always"
    with refused(422, "Invalid") as status:
        batch.create_namespaced_job(namespace, job)
    assert [cause["field"] for cause in status["details"]["causes"]] == ["spec.template.spec.restartPolicy"]
    template.spec.restart_policy = "OnFailure"
    cron_spec = client.V1CronJobSpec(
        schedule="0 3 * * *", job_template=client.V1JobTemplateSpec(spec=client.V1JobSpec(template=template))
    )
    cron = batch.create_namespaced_cron_job(
        namespace, client.V1CronJob(metadata=client.V1ObjectMeta(name="nightly"), spec=cron_spec)
    )
    assert (cron.spec.concurrency_policy, cron.spec.successful_jobs_history_limit) == ("Allow", 3)


def test_errors_carry_kubernetes_statuses(core: client.CoreV1Api, namespace: str) -> None:
    core.create_namespaced_config_map(namespace, config_map("a"))
    with refused(409, "AlreadyExists") as status:
        core.create_namespaced_config_map(namespace, config_map("a"))
    assert status["message"] == 'configmaps "a" already exists'
    assert status["details"] == {"name": "a", "kind": "configmaps"}
    with refused(404, "NotFound") as status:
        core.read_namespaced_secret("none", namespace)
    assert status["message"] == 'secrets "none" not found'
    with refused(404, "NotFound") as status:
        core.create_namespaced_config_map("nowhere", config_map("a"))
    assert status["message"] == 'namespaces "nowhere" not found'
    with refused(422, "Invalid") as status:
        core.create_namespaced_config_map(namespace, config_map("Not_A_Name"))
    assert [(cause["reason"], cause["field"]) for cause in status["details"]["causes"]] == [
        ("FieldValueInvalid", "metadata.name")
    ]
    with refused(400, "BadRequest"):
        core.list_namespaced_config_map(namespace, label_selector="a in (")


def test_a_stale_replace_is_a_conflict(core: client.CoreV1Api, namespace: str) -> None:
    first = core.create_namespaced_config_map(namespace, config_map("a"))
    first.data = {"a": "1"}
    core.replace_namespaced_config_map("a", namespace, first)
    with refused(409, "Conflict") as status:
        core.replace_namespaced_config_map("a", namespace, first)
    assert status["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    preconditions = client.V1DeleteOptions(
        preconditions=client.V1Preconditions(resource_version=first.metadata.resource_version)
    )
    with refused(409, "Conflict"):
        core.delete_namespaced_config_map("a", namespace, body=preconditions)
    first.metadata.resource_version = None
    assert core.replace_namespaced_config_map("a", namespace, first).data == {"a": "1"}


def test_pages_are_one_consistent_list(core: client.CoreV1Api, namespace: str) -> None:
    for number in range(7):
        core.create_namespaced_config_map(namespace, config_map(f"c{number}"))
    page = core.list_namespaced_config_map(namespace, limit=3)
    assert page.metadata.remaining_item_count == 4
    revision = page.metadata.resource_version
    names = [one.metadata.name for one in page.items]
    core.create_namespaced_config_map(namespace, config_map("c99"))
    while page.metadata._continue:
        page = core.list_namespaced_config_map(namespace, limit=3, _continue=page.metadata._continue)
        assert page.metadata.resource_version == revision
        names += [one.metadata.name for one in page.items]
    assert names == [f"c{number}" for number in range(7)]


def test_selectors_and_delete_collection(core: client.CoreV1Api, namespace: str) -> None:
    for name, color in (("a", "red"), ("b", "tan"), ("c", "red"), ("d", "")):
        core.create_namespaced_config_map(namespace, config_map(name, {"color": color} if color else None))

    def names(**selection: str) -> list[str]:
        return [one.metadata.name for one in core.list_namespaced_config_map(namespace, **selection).items]

    assert names(label_selector="color=red") == ["a", "c"]
    assert names(label_selector="color notin (red)") == ["b", "d"]
    assert names(label_selector="!color") == ["d"]
    assert names(label_selector="color,color!=tan") == ["a", "c"]
    assert names(field_selector="metadata.name!=a", label_selector="color=red") == ["c"]
    core.delete_collection_namespaced_config_map(namespace, label_selector="color=red", dry_run="All")
    assert names() == ["a", "b", "c", "d"]
    core.delete_collection_namespaced_config_map(namespace, label_selector="color=red")
    assert names() == ["b", "d"]
    core.delete_collection_namespaced_config_map(namespace)
    assert names() == []


@pytest.mark.parametrize(
    ("content_type", "patch", "images"),
    [
        (
            "application/strategic-merge-patch+json",
            {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "envoy:1"}]}}}},
            {"main": "nginx:1.27", "side": "envoy:1"},
        ),
        (
            "application/merge-patch+json",
            {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "nginx:2"}]}}}},
            {"main": "nginx:2"},
        ),
        (
            "application/json-patch+json",
            [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "nginx:3"}],
            {"main": "nginx:3"},
        ),
    ],
)
def test_patch_types(
    api: client.ApiClient, namespace: str, content_type: str, patch: Any, images: dict[str, str]
) -> None:
    apps = client.AppsV1Api(api)
    labels = {"app": "x"}
    spec = client.V1ReplicaSetSpec(
        replicas=1, selector=client.V1LabelSelector(match_labels=labels), template=pod_template(labels)
    )
    apps.create_namespaced_replica_set(
        namespace, client.V1ReplicaSet(metadata=client.V1ObjectMeta(name="x"), spec=spec)
    )
    patched = apps.patch_namespaced_replica_set("x", namespace, patch, _content_type=content_type)
    containers = patched.spec.template.spec.containers
    assert {one.name: one.image for one in containers} == images


def test_watch_from_a_list_until_its_timeout(core: client.CoreV1Api, namespace: str) -> None:
    core.create_namespaced_config_map(namespace, config_map("old"))
    listed = core.list_namespaced_config_map(namespace)
    core.create_namespaced_config_map(namespace, config_map("new", a="1"))
    core.patch_namespaced_config_map("new", namespace, {"data": {"a": "2"}})
    core.delete_namespaced_config_map("new", namespace)
    seen = [
        (event["type"], event["object"].metadata.name, event["object"].data)
        for event in watch.Watch().stream(
            core.list_namespaced_config_map,
            namespace,
            resource_version=listed.metadata.resource_version,
            timeout_seconds=1,
        )
    ]
    assert seen == [
        ("ADDED", "new", {"a": "1"}),
        ("MODIFIED", "new", {"a": "2"}),
        ("DELETED", "new", {"a": "2"}),
    ]


def test_watch_without_a_revision_starts_with_what_is_there(core: client.CoreV1Api, namespace: str) -> None:
    core.create_namespaced_config_map(namespace, config_map("old"))
    watcher = watch.Watch()
    seen = []
    for event in watcher.stream(core.list_namespaced_config_map, namespace, timeout_seconds=30):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 1:
            core.create_namespaced_config_map(namespace, config_map("new"))
        else:
            watcher.stop()
    assert seen == [("ADDED", "old"), ("ADDED", "new")]


def test_watch_of_a_selection_sees_objects_come_and_go(core: client.CoreV1Api, namespace: str) -> None:
    core.create_namespaced_config_map(namespace, config_map("a", {"color": "red"}))
    listed = core.list_namespaced_config_map(namespace, label_selector="color=tan")
    for color in ("tan", "red"):
        core.patch_namespaced_config_map("a", namespace, {"metadata": {"labels": {"color": color}}})
    events = watch.Watch().stream(
        core.list_namespaced_config_map,
        namespace,
        label_selector="color=tan",
        resource_version=listed.metadata.resource_version,
        timeout_seconds=1,
    )
    seen = [(event["type"], event["object"].metadata.labels["color"]) for event in events]
    assert seen == [("ADDED", "tan"), ("DELETED", "tan")]


def test_watch_from_a_revision_that_is_too_new(core: client.CoreV1Api, namespace: str) -> None:
    listed = core.list_namespaced_config_map(namespace)
    future = str(int(listed.metadata.resource_version) + 1_000_000)
    with refused(504, "Timeout") as status:
        core.list_namespaced_config_map(namespace, resource_version=future)
    assert status["message"].startswith("Timeout: Too large resource version: ")
    assert [cause["reason"] for cause in status["details"]["causes"]] == ["ResourceVersionTooLarge"]


def test_create_from_yaml(api: client.ApiClient, namespace: str) -> None:
    created = [one for document in utils.create_from_yaml(api, str(SHOP), namespace=namespace) for one in document]
    assert {one.kind for one in created} == {"ConfigMap", "Secret", "Service", "Deployment", "CronJob"}
    secret = client.CoreV1Api(api).read_namespaced_secret("shop-secret", namespace)
    assert secret.data == {"password": "czNjcjN0"}
    with pytest.raises(utils.FailToCreateError) as caught:
        utils.create_from_yaml(api, str(SHOP), namespace=namespace)
    assert {error.reason for error in caught.value.api_exceptions} == {"Conflict"}


def test_the_dynamic_client(api: client.ApiClient, namespace: str, tmp_path: Path) -> None:
    dynamic = DynamicClient(api, cache_file=str(tmp_path / "discovery.json"))
    assert dynamic.version["kubernetes"]["gitVersion"].startswith("v1.37.")
    leases = dynamic.resources.get(api_version="coordination.k8s.io/v1", kind="Lease")
    body = {"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"holderIdentity": "me"}}
    created = leases.create(body=body, namespace=namespace)
    assert created.spec.holderIdentity == "me"
    patched = leases.patch(
        body={"metadata": {"name": "a"}, "spec": {"leaseDurationSeconds": 15}},
        namespace=namespace,
        content_type="application/merge-patch+json",
    )
    assert (patched.spec.holderIdentity, patched.spec.leaseDurationSeconds) == ("me", 15)
    assert [one.metadata.name for one in leases.get(namespace=namespace, label_selector="x=y").items] == ["a"]
    stale = created.to_dict()
    with pytest.raises(ConflictError):
        leases.replace(body=stale, namespace=namespace)
    leases.delete(name="a", namespace=namespace)
    with pytest.raises(NotFoundError):
        leases.get(name="a", namespace=namespace)
    with pytest.raises(ResourceNotFoundError):
        dynamic.resources.get(api_version="v1", kind="Flower")


def test_the_dynamic_client_watches(api: client.ApiClient, namespace: str, tmp_path: Path) -> None:
    dynamic = DynamicClient(api, cache_file=str(tmp_path / "discovery.json"))
    secrets = dynamic.resources.get(api_version="v1", kind="Secret")
    secrets.create(body={"metadata": {"name": "a"}, "stringData": {"b": "c"}}, namespace=namespace)
    events = [(event["type"], event["object"].data) for event in secrets.watch(namespace=namespace, timeout=1)]
    assert [(kind, dict(data)) for kind, data in events] == [("ADDED", {"b": "Yw=="})]


def test_leader_election_through_a_lease(api: client.ApiClient, namespace: str) -> None:
    leaselock = pytest.importorskip("kubernetes.leaderelection.resourcelock.leaselock")
    from kubernetes.leaderelection.electionconfig import Config
    from kubernetes.leaderelection.leaderelection import LeaderElection

    def candidate(name: str) -> Any:
        lock = leaselock.LeaseLock("leader", namespace, name)
        lock.api_instance = client.CoordinationV1Api(api)
        return LeaderElection(Config(lock, 600, 300, 5, lambda: None, None))

    one, two = candidate("one"), candidate("two")
    assert one.try_acquire_or_renew() is True
    assert two.try_acquire_or_renew() is False
    assert one.try_acquire_or_renew() is True
    lease = client.CoordinationV1Api(api).read_namespaced_lease("leader", namespace)
    assert (lease.spec.holder_identity, lease.spec.lease_duration_seconds) == ("one", 600)
    assert lease.spec.renew_time > lease.spec.acquire_time
    # Whoever read before the last renewal is too late, also when the lease looks free.
    two.election_config.lock.lease_reference.spec.holder_identity = ""
    assert two.update_lock(two.observed_record) is False


def test_of_two_writers_one_wins(api: client.ApiClient, namespace: str) -> None:
    leases = client.CoordinationV1Api(api)
    held = leases.create_namespaced_lease(namespace, client.V1Lease(metadata=client.V1ObjectMeta(name="a")))
    body = api.sanitize_for_serialization(held)
    ready = threading.Barrier(4)
    results: list[int] = []

    def take(identity: str) -> None:
        ready.wait()
        try:
            leases.replace_namespaced_lease("a", namespace, {**body, "spec": {"holderIdentity": identity}})
            results.append(200)
        except ApiException as error:
            results.append(error.status)

    threads = [threading.Thread(target=take, args=(f"writer-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [200, 409, 409, 409]


def test_an_informer_keeps_its_cache(core: client.CoreV1Api, namespace: str) -> None:
    informer_module = pytest.importorskip("kubernetes.informer")
    core.create_namespaced_config_map(namespace, config_map("old"))
    informer = informer_module.SharedInformer(core.list_namespaced_config_map, namespace=namespace)
    events: queue.Queue[tuple[str, str]] = queue.Queue()
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        informer.add_event_handler(kind, lambda obj, kind=kind: events.put((kind, obj.metadata.name)))
    informer.start()
    assert events.get(timeout=20) == ("ADDED", "old")
    core.create_namespaced_config_map(namespace, config_map("new"))
    assert events.get(timeout=20) == ("ADDED", "new")
    core.patch_namespaced_config_map("new", namespace, {"data": {"a": "1"}})
    assert events.get(timeout=20) == ("MODIFIED", "new")
    assert sorted(informer.cache.list_keys()) == [f"{namespace}/new", f"{namespace}/old"]
    assert informer.cache.get_by_key(f"{namespace}/new").data == {"a": "1"}
    core.delete_namespaced_config_map("new", namespace)
    assert events.get(timeout=20) == ("DELETED", "new")
    assert informer.cache.list_keys() == [f"{namespace}/old"]
    informer.stop()


def test_dry_run_stores_nothing(core: client.CoreV1Api, namespace: str) -> None:
    created = core.create_namespaced_config_map(namespace, config_map("ghost"), dry_run="All")
    assert created.metadata.uid
    with refused(404, "NotFound"):
        core.read_namespaced_config_map("ghost", namespace)
