"""Objects from create to delete, through the whole chain."""

from __future__ import annotations

import json
from typing import Any

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"k": "v"}}


async def test_create_fills_in_the_system_fields(api: Any) -> None:
    answer = await api("POST", CONFIG_MAPS, config_map(), expect=201)
    created = answer.json
    assert list(created) == ["kind", "apiVersion", "metadata", "data"]
    metadata = created["metadata"]
    assert metadata["name"] == "a"
    assert metadata["namespace"] == "default"
    assert metadata["creationTimestamp"] == "2027-01-15T08:00:00Z"
    assert len(metadata["uid"]) == 36
    assert metadata["resourceVersion"] == str(api.storage.revision)
    assert answer.body.endswith(b"\n")
    assert answer.header("cache-control") == "no-cache, private"
    assert len(answer.header("audit-id")) == 36


async def test_get_returns_what_was_stored(api: Any) -> None:
    created = await api("POST", CONFIG_MAPS, config_map(), expect=201)
    got = await api("GET", CONFIG_MAPS + "/a", expect=200)
    assert got.body == created.body


async def test_get_of_nothing_is_404(api: Any) -> None:
    answer = await api("GET", CONFIG_MAPS + "/nope", expect=404)
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "nope" not found',
        "reason": "NotFound",
        "details": {"name": "nope", "kind": "configmaps"},
        "code": 404,
    }


async def test_second_create_is_409(api: Any) -> None:
    await api("POST", CONFIG_MAPS, config_map(), expect=201)
    answer = await api("POST", CONFIG_MAPS, config_map(), expect=409)
    assert answer.json["message"] == 'configmaps "a" already exists'
    assert answer.json["reason"] == "AlreadyExists"


async def test_name_is_required(api: Any) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}
    answer = await api("POST", CONFIG_MAPS, body, expect=422)
    assert answer.json["message"] == (
        'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'
    )
    assert answer.json["details"]["causes"] == [
        {
            "reason": "FieldValueRequired",
            "message": "Required value: name or generateName is required",
            "field": "metadata.name",
        }
    ]


async def test_create_with_a_resource_version_is_refused(api: Any) -> None:
    body = config_map()
    body["metadata"]["resourceVersion"] = "7"
    answer = await api("POST", CONFIG_MAPS, body, expect=500)
    assert answer.json["message"] == "resourceVersion should not be set on objects to be created"


async def test_generate_name(api: Any) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}
    names = {(await api("POST", CONFIG_MAPS, body, expect=201)).json["metadata"]["name"] for _ in range(50)}
    assert len(names) == 50
    for name in names:
        assert name.startswith("x-")
        assert len(name) == 7
        assert set(name[2:]) <= set("bcdfghjklmnpqrstvwxz2456789")


async def test_generate_name_cuts_long_prefixes(api: Any) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x" * 62}}
    created = await api("POST", CONFIG_MAPS, body, expect=201)
    assert len(created.json["metadata"]["name"]) == 63


async def test_generate_name_gives_up_after_eight_conflicts(api: Any, monkeypatch: Any) -> None:
    tries = []
    real = api.storage.create

    async def always_taken(resource: Any, key: str, obj: Any, **kwargs: Any) -> Any:
        tries.append(key)
        api.storage.put(key, {**obj, "kind": "ConfigMap", "apiVersion": "v1"})
        return await real(resource, key, obj, **kwargs)

    monkeypatch.setattr(api.storage, "create", always_taken)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}
    answer = await api("POST", CONFIG_MAPS, body, expect=409)
    assert len(tries) == 8
    assert "the server was not able to generate a unique name for the object" in answer.json["message"]
    assert answer.json["details"]["retryAfterSeconds"] == 1
    assert answer.header("retry-after") == "1"


async def test_namespace_of_object_and_url_must_agree(api: Any) -> None:
    body = config_map()
    body["metadata"]["namespace"] = "other"
    answer = await api("POST", CONFIG_MAPS, body, expect=400)
    assert answer.json["message"] == (
        "the namespace of the provided object does not match the namespace sent on the request"
    )


async def test_update_replaces(api: Any) -> None:
    created = (await api("POST", CONFIG_MAPS, config_map(), expect=201)).json
    created["data"] = {"x": "y"}
    updated = (await api("PUT", CONFIG_MAPS + "/a", created, expect=200)).json
    assert updated["data"] == {"x": "y"}
    assert updated["metadata"]["uid"] == created["metadata"]["uid"]
    assert int(updated["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])


async def test_update_that_changes_nothing_writes_nothing(api: Any) -> None:
    created = (await api("POST", CONFIG_MAPS, config_map(), expect=201)).json
    again = (await api("PUT", CONFIG_MAPS + "/a", created, expect=200)).json
    assert again == created


async def test_update_with_an_old_resource_version_conflicts(api: Any) -> None:
    created = (await api("POST", CONFIG_MAPS, config_map(), expect=201)).json
    await api("PUT", CONFIG_MAPS + "/a", {**created, "data": {"x": "1"}}, expect=200)
    answer = await api("PUT", CONFIG_MAPS + "/a", {**created, "data": {"x": "2"}}, expect=409)
    assert answer.json["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert answer.json["reason"] == "Conflict"


async def test_update_without_resource_version_is_unconditional(api: Any) -> None:
    await api("POST", CONFIG_MAPS, config_map(), expect=201)
    await api("PUT", CONFIG_MAPS + "/a", config_map(x="1"), expect=200)


async def test_some_kinds_must_be_updated_at_a_resource_version(api: Any) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}}
    created = await api("POST", leases, lease, expect=201)
    assert created.json["metadata"]["name"] == "l"
    answer = await api("PUT", leases + "/l", lease, expect=422)
    assert answer.json["message"] == (
        'leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: '
        "must be specified for an update"
    )


async def test_update_with_another_uid_conflicts(api: Any) -> None:
    created = (await api("POST", CONFIG_MAPS, config_map(), expect=201)).json
    created["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000"
    del created["metadata"]["resourceVersion"]
    answer = await api("PUT", CONFIG_MAPS + "/a", created, expect=409)
    assert answer.json["message"].startswith(
        'Operation cannot be fulfilled on configmaps "a": StorageError: invalid object, Code: 4, Key: '
        "/registry/configmaps/default/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in "
        "precondition: 00000000-0000-4000-8000-000000000000, UID in object meta: "
    )


async def test_update_of_nothing_is_404_where_updates_do_not_create(api: Any) -> None:
    answer = await api("PUT", CONFIG_MAPS + "/nope", config_map("nope"), expect=404)
    assert answer.json["message"] == 'configmaps "nope" not found'


async def test_name_in_body_and_url_must_agree(api: Any) -> None:
    answer = await api("PUT", CONFIG_MAPS + "/b", config_map("a"), expect=400)
    assert answer.json["message"] == "the name of the object (a) does not match the name on the URL (b)"


async def test_update_is_prepared_again_after_a_lost_race(api: Any) -> None:
    await api("POST", CONFIG_MAPS, config_map(), expect=201)
    key = "/registry/configmaps/default/a"

    def other_writer() -> None:
        obj = api.storage.objects[key].object_copy(None)
        obj["metadata"]["labels"] = {"by": "other"}
        api.storage.put(key, obj)

    api.storage.races.append(other_writer)
    patch = {"data": {"mine": "1"}}
    merged = await api("PATCH", CONFIG_MAPS + "/a", patch, expect=200, content_type="application/merge-patch+json")
    assert merged.json["metadata"]["labels"] == {"by": "other"}
    assert merged.json["data"] == {"k": "v", "mine": "1"}


async def test_refusal_on_stale_state_is_checked_against_the_present(api: Any) -> None:
    created = (await api("POST", CONFIG_MAPS, config_map(), expect=201)).json
    key = "/registry/configmaps/default/a"
    api.storage.stale[key] = api.storage.objects[key]
    newer = (await api("PUT", CONFIG_MAPS + "/a", {**created, "data": {"n": "1"}}, expect=200)).json
    # The cache still shows the first state, to which the resourceVersion below would be from the future.
    await api("PUT", CONFIG_MAPS + "/a", {**newer, "data": {"n": "2"}}, expect=200)


async def test_delete_answers_with_a_status(api: Any) -> None:
    created = (await api("POST", CONFIG_MAPS, config_map(), expect=201)).json
    answer = await api("DELETE", CONFIG_MAPS + "/a", {"propagationPolicy": "Background"}, expect=200)
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "a", "kind": "configmaps", "uid": created["metadata"]["uid"]},
    }
    await api("GET", CONFIG_MAPS + "/a", expect=404)


async def test_some_kinds_answer_a_delete_with_the_object(api: Any) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts"
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "s"}}
    await api("POST", path, body, expect=201)
    assert (await api("DELETE", path + "/s", expect=200)).json["kind"] == "ServiceAccount"


async def test_finalizers_keep_an_object_until_they_are_gone(api: Any) -> None:
    body = config_map()
    body["metadata"]["finalizers"] = ["example.com/f"]
    await api("POST", CONFIG_MAPS, body, expect=201)
    deleting = (await api("DELETE", CONFIG_MAPS + "/a", expect=200)).json
    assert deleting["metadata"]["deletionTimestamp"] == "2027-01-15T08:00:00Z"
    assert deleting["metadata"]["deletionGracePeriodSeconds"] == 0
    again = await api("POST", CONFIG_MAPS, config_map(), expect=409)
    assert again.json["message"] == 'object is being deleted: configmaps "a" already exists'
    refused = await api(
        "PATCH",
        CONFIG_MAPS + "/a",
        {"metadata": {"finalizers": ["example.com/f", "example.com/g"]}},
        expect=422,
        content_type="application/merge-patch+json",
    )
    assert "no new finalizers can be added if the object is being deleted" in refused.json["message"]
    await api("GET", CONFIG_MAPS + "/a", expect=200)
    done = await api(
        "PATCH",
        CONFIG_MAPS + "/a",
        {"metadata": {"finalizers": None}},
        expect=200,
        content_type="application/merge-patch+json",
    )
    assert "finalizers" not in done.json["metadata"]
    await api("GET", CONFIG_MAPS + "/a", expect=404)


async def test_foreground_deletion_sets_its_finalizer(api: Any) -> None:
    await api("POST", CONFIG_MAPS, config_map(), expect=201)
    answer = await api("DELETE", CONFIG_MAPS + "/a", {"propagationPolicy": "Foreground"}, expect=200)
    assert answer.json["metadata"]["finalizers"] == ["foregroundDeletion"]
    other = await api("DELETE", CONFIG_MAPS + "/a", {"propagationPolicy": "Orphan"}, expect=200)
    assert other.json["metadata"]["finalizers"] == ["orphan"]


async def test_delete_preconditions(api: Any) -> None:
    created = (await api("POST", CONFIG_MAPS, config_map(), expect=201)).json
    uid, version = created["metadata"]["uid"], created["metadata"]["resourceVersion"]
    wrong = await api("DELETE", CONFIG_MAPS + "/a", {"preconditions": {"uid": "no"}}, expect=409)
    assert wrong.json["message"] == (
        f'Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (no) does not match the UID in '
        f"record ({uid}). The object might have been deleted and then recreated"
    )
    wrong = await api("DELETE", CONFIG_MAPS + "/a", {"preconditions": {"resourceVersion": "1"}}, expect=409)
    assert f"in record ({version}). The object might have been modified" in wrong.json["message"]
    await api("DELETE", CONFIG_MAPS + "/a", {"preconditions": {"uid": uid, "resourceVersion": version}}, expect=200)


async def test_delete_options_are_checked(api: Any) -> None:
    await api("POST", CONFIG_MAPS, config_map(), expect=201)
    answer = await api("DELETE", CONFIG_MAPS + "/a", {"propagationPolicy": "Sideways"}, expect=422)
    assert answer.json["message"] == (
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Sideways": '
        'supported values: "Foreground", "Background", "Orphan", "nil"'
    )
    await api("DELETE", CONFIG_MAPS + "/a?gracePeriodSeconds=x", expect=400)
    both = {"propagationPolicy": "Orphan", "orphanDependents": True}
    answer = await api("DELETE", CONFIG_MAPS + "/a", both, expect=422)
    assert "orphanDependents and deletionPropagation cannot be both set" in answer.json["message"]


async def test_delete_collection_answers_with_the_list(api: Any) -> None:
    for name in "abc":
        body = config_map(name)
        body["metadata"]["labels"] = {"odd": str(name != "b")}
        await api("POST", CONFIG_MAPS, body, expect=201)
    answer = await api("DELETE", CONFIG_MAPS + "?labelSelector=odd=True", expect=200)
    assert answer.json["kind"] == "ConfigMapList"
    assert [item["metadata"]["name"] for item in answer.json["items"]] == ["a", "c"]
    left = await api("GET", CONFIG_MAPS, expect=200)
    assert [item["metadata"]["name"] for item in left.json["items"]] == ["b"]


async def test_dry_run_stores_nothing(api: Any) -> None:
    answer = await api("POST", CONFIG_MAPS + "?dryRun=All", config_map(), expect=201)
    assert answer.json["metadata"]["uid"]
    assert "resourceVersion" not in answer.json["metadata"]
    await api("GET", CONFIG_MAPS + "/a", expect=404)
    await api("POST", CONFIG_MAPS, config_map(), expect=201)
    await api("POST", CONFIG_MAPS + "?dryRun=All", config_map(), expect=409)
    revision = api.storage.revision
    await api("PUT", CONFIG_MAPS + "/a?dryRun=All", config_map(x="1"), expect=200)
    await api("DELETE", CONFIG_MAPS + "/a", {"dryRun": ["All"]}, expect=200)
    assert api.storage.revision == revision
    refused = await api("POST", CONFIG_MAPS + "?dryRun=Some", config_map("b"), expect=422)
    assert refused.json["message"] == (
        'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"'
    )


async def test_namespace_deletion_takes_two_steps(api: Any) -> None:
    first = (await api("DELETE", "/api/v1/namespaces/default2", expect=404)).json
    assert first["message"] == 'namespaces "default2" not found'
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "two"}}
    created = (await api("POST", "/api/v1/namespaces", body, expect=201)).json
    assert created["spec"]["finalizers"] == ["kubernetes"]
    assert created["status"] == {"phase": "Active"}
    deleting = (await api("DELETE", "/api/v1/namespaces/two", expect=200)).json
    assert deleting["status"]["phase"] == "Terminating"
    assert deleting["metadata"]["deletionTimestamp"]
    refused = await api("POST", "/api/v1/namespaces/two/configmaps", config_map(), expect=403)
    assert refused.json["message"] == (
        'configmaps "a" is forbidden: unable to create new content in namespace two because it is being terminated'
    )
    assert refused.json["details"]["causes"] == [
        {
            "reason": "NamespaceTerminating",
            "message": "namespace two is being terminated",
            "field": "metadata.namespace",
        }
    ]
    again = (await api("DELETE", "/api/v1/namespaces/two", expect=200)).json
    assert again["status"]["phase"] == "Terminating"
    again["spec"]["finalizers"] = []
    await api("PUT", "/api/v1/namespaces/two/finalize", again, expect=200)
    await api("GET", "/api/v1/namespaces/two", expect=404)


async def test_namespace_lifecycle(api: Any) -> None:
    answer = await api("POST", "/api/v1/namespaces/nope/configmaps", config_map(), expect=404)
    assert answer.json["message"] == 'namespaces "nope" not found'
    answer = await api("DELETE", "/api/v1/namespaces/default", expect=403)
    assert answer.json["message"] == 'namespaces "default" is forbidden: this namespace may not be deleted'


async def test_graceful_deletion_of_pods(api: Any) -> None:
    path = "/api/v1/namespaces/default/pods"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
    }
    await api("POST", path, pod, expect=201)
    first = (await api("DELETE", path + "/p", expect=200)).json
    assert first["metadata"]["deletionGracePeriodSeconds"] == 30
    assert first["metadata"]["deletionTimestamp"] == "2027-01-15T08:00:30Z"
    shorter = (await api("DELETE", path + "/p?gracePeriodSeconds=10", expect=200)).json
    assert shorter["metadata"]["deletionTimestamp"] == "2027-01-15T08:00:10Z"
    longer = (await api("DELETE", path + "/p?gracePeriodSeconds=60", expect=200)).json
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 10
    await api("GET", path + "/p", expect=200)
    gone = (await api("DELETE", path + "/p", {"gracePeriodSeconds": 0}, expect=200)).json
    assert gone["kind"] == "Pod"
    await api("GET", path + "/p", expect=404)


async def test_duplicate_owner_references_are_dropped_with_a_warning(api: Any) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u-1"}
    body = config_map()
    body["metadata"]["ownerReferences"] = [owner, dict(owner)]
    answer = await api("POST", CONFIG_MAPS, body, expect=201)
    assert len(answer.json["metadata"]["ownerReferences"]) == 1
    assert "duplicate UID(s) observed: u-1" in answer.warnings[0]
    assert json.dumps(answer.json)


async def test_every_stage_can_be_followed(api: Any) -> None:
    stages: list[str] = []
    api.trace = stages.append
    await api("POST", CONFIG_MAPS, config_map(), expect=201)
    assert stages == [
        "authenticate",
        "authorize",
        "route",
        "decode",
        "default",
        "admit",
        "store",
        "validate admission",
        "respond",
    ]
    stages.clear()
    await api("GET", CONFIG_MAPS + "/a", expect=200)
    assert stages == ["authenticate", "authorize", "route", "store", "respond"]
