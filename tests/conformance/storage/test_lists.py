"""Lists: selectors, pages, and the matrix of resource versions."""

from __future__ import annotations

import base64

import orjson
import pytest

from apiserver.api.selectors import parse_field_selector, parse_label_selector
from apiserver.api.status import StatusError
from apiserver.storage import ListOptions
from kvstore.etcdpb import rpc_pb2 as pb
from tests.conformance.storage.helpers import config_map, create, key_of, names, pod, set_data


@pytest.fixture
def resource(scheme):
    return scheme.resource("", "v1", "configmaps")


@pytest.fixture
def pods(scheme):
    return scheme.resource("", "v1", "pods")


async def fill(storage, resource, count: int, namespace: str = "default"):
    return [await create(storage, resource, config_map(f"m{n}", namespace)) for n in range(count)]


async def refused_list(storage, resource, **options) -> StatusError:
    with pytest.raises(StatusError) as refused:
        await storage.list(resource, ListOptions(**options))
    return refused.value


async def test_nothing(storage, resource):
    result = await storage.list(resource, ListOptions())
    assert list(result.items) == []
    assert result.revision > 0
    assert (result.continue_token, result.remaining) == ("", None)


async def test_all_and_by_namespace(storage, resource):
    await create(storage, resource, config_map("b", "two"))
    await create(storage, resource, config_map("a", "two"))
    last = await create(storage, resource, config_map("c", "one"))
    await create(storage, resource, config_map("d", "two-more"))
    result = await storage.list(resource, ListOptions())
    # In the order of the keys, where "-" sorts before "/".
    assert names(result) == ["c", "d", "a", "b"]
    assert result.revision >= last.revision
    assert names(await storage.list(resource, ListOptions(namespace="two"))) == ["a", "b"]
    assert names(await storage.list(resource, ListOptions(namespace="three"))) == []


async def test_label_selectors(storage, resource):
    await create(storage, resource, config_map("a", labels={"app": "x", "tier": "1"}))
    await create(storage, resource, config_map("b", labels={"app": "y"}))
    await create(storage, resource, config_map("c"))
    for text, wanted in {"app=x": ["a"], "app": ["a", "b"], "!app": ["c"], "app in (x,y),tier!=1": ["b"]}.items():
        assert names(await storage.list(resource, ListOptions(labels=parse_label_selector(text)))) == wanted


async def test_field_selectors(storage, pods):
    for name, namespace, node in (("a", "one", "n1"), ("b", "one", "n2"), ("a", "two", "n1"), ("c", "two", "")):
        await create(storage, pods, pod(name, namespace, node))

    async def listed(text, namespace=""):
        options = ListOptions(namespace=namespace, fields=parse_field_selector(text))
        result = await storage.list(pods, options)
        return [f"{item.namespace}/{item.name}" for item in result.items]

    assert await listed("metadata.name=a") == ["one/a", "two/a"]
    assert await listed("metadata.name=a", "two") == ["two/a"]
    assert await listed("metadata.name=zz", "two") == []
    assert await listed("metadata.namespace=one") == ["one/a", "one/b"]
    assert await listed("metadata.namespace=one", "two") == []
    assert await listed("spec.nodeName=n1") == ["one/a", "two/a"]
    assert await listed("spec.nodeName=n1", "two") == ["two/a"]
    assert await listed("spec.nodeName=n1,metadata.name!=a") == []
    assert await listed("spec.nodeName!=n1") == ["one/b", "two/c"]
    assert await listed("spec.nodeName=") == ["two/c"]

    def move(obj, revision):
        obj["spec"]["nodeName"] = "n3"
        return obj

    await storage.update(pods, "/registry/pods/one/a", move)
    await storage.delete(pods, "/registry/pods/one/b")
    assert await listed("spec.nodeName=n1") == ["two/a"]
    assert await listed("spec.nodeName=n3") == ["one/a"]
    assert await listed("spec.nodeName=n2") == []


async def test_pages_are_of_one_revision(storage, resource):
    await fill(storage, resource, 5)
    first = await storage.list(resource, ListOptions(limit=2))
    assert names(first) == ["m0", "m1"]
    assert first.remaining == 3
    token = orjson.loads(base64.urlsafe_b64decode(first.continue_token + "=="))
    assert token == {"v": "meta.k8s.io/v1", "rv": first.revision, "start": "default/m1\0"}
    await create(storage, resource, config_map("m1a"))
    await storage.delete(resource, "/registry/configmaps/default/m3")
    await storage.update(resource, "/registry/configmaps/default/m4", set_data(x="1"))
    second = await storage.list(resource, ListOptions(limit=2, continue_token=first.continue_token))
    assert names(second) == ["m2", "m3"]
    assert (second.revision, second.remaining) == (first.revision, 1)
    third = await storage.list(resource, ListOptions(limit=2, continue_token=second.continue_token))
    assert names(third) == ["m4"]
    assert third.items[0].view(resource).get("data") is None
    assert (third.revision, third.continue_token, third.remaining) == (first.revision, "", None)


async def test_page_in_a_namespace(storage, resource):
    await fill(storage, resource, 3)
    await fill(storage, resource, 1, "other")
    first = await storage.list(resource, ListOptions(namespace="default", limit=2))
    assert orjson.loads(base64.urlsafe_b64decode(first.continue_token + "=="))["start"] == "m1\0"
    rest = await storage.list(resource, ListOptions(namespace="default", limit=2, continue_token=first.continue_token))
    assert names(rest) == ["m2"]


async def test_pages_with_a_selector_do_not_count_the_rest(storage, resource):
    for n in range(6):
        await create(storage, resource, config_map(f"m{n}", labels={"odd": str(n % 2)}))
    options = ListOptions(labels=parse_label_selector("odd=1"), limit=2)
    first = await storage.list(resource, options)
    assert names(first) == ["m1", "m3"]
    assert first.remaining is None
    assert first.continue_token
    options = ListOptions(labels=parse_label_selector("odd=1"), limit=2, continue_token=first.continue_token)
    assert names(await storage.list(resource, options)) == ["m5"]


async def test_limit_that_fits_exactly(storage, resource):
    await fill(storage, resource, 3)
    result = await storage.list(resource, ListOptions(limit=3))
    assert (len(result.items), result.continue_token, result.remaining) == (3, "", None)


async def test_exact_revision(storage, resource):
    created = await fill(storage, resource, 3)
    await storage.delete(resource, created[0].key)
    await storage.update(resource, created[1].key, set_data(x="1"))
    await create(storage, resource, config_map("n"))
    then = created[1].revision
    result = await storage.list(resource, ListOptions(resource_version=str(then), match="Exact"))
    assert (names(result), result.revision) == (["m0", "m1"], then)
    assert result.items[1].revision == created[1].revision
    legacy = await storage.list(resource, ListOptions(resource_version=str(then), limit=1))
    assert (names(legacy), legacy.revision, legacy.remaining) == (["m0"], then, 1)


async def test_not_older_than(storage, resource):
    created = await fill(storage, resource, 2)
    for options in (
        ListOptions(resource_version=str(created[0].revision)),
        ListOptions(resource_version=str(created[0].revision), match="NotOlderThan"),
        ListOptions(resource_version=str(created[0].revision), match="NotOlderThan", limit=5),
        ListOptions(resource_version="0"),
        ListOptions(resource_version="0", match="NotOlderThan"),
        ListOptions(resource_version="0", limit=1),
    ):
        result = await storage.list(resource, options)
        assert names(result) == ["m0", "m1"]
        assert result.revision >= created[1].revision


async def test_bad_resource_version(storage, resource):
    assert (await refused_list(storage, resource, resource_version="x")).code == 400
    assert (await refused_list(storage, resource, resource_version="-1")).code == 400


async def test_bad_continue_tokens(storage, resource):
    def token(text: str) -> str:
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()

    for text, part in {
        '{"v":"meta.k8s.io/v2","rv":1,"start":"a"}': "does not recognize this encoded version meta.k8s.io/v2",
        '{"v":"meta.k8s.io/v1","rv":0,"start":"a"}': "incorrect encoded start resourceVersion",
        '{"v":"meta.k8s.io/v1","rv":1,"start":""}': "encoded start key empty",
        '{"v":"meta.k8s.io/v1","rv":1,"start":"../secrets/a"}': "continue key is not valid: ../secrets/a",
        "[]": "continue key is not valid",
        "{": "continue key is not valid",
    }.items():
        refusal = await refused_list(storage, resource, continue_token=token(text))
        assert refusal.code == 400
        assert refusal.message.startswith("invalid continue token: continue key is not valid")
        assert part in refusal.message
    assert (await refused_list(storage, resource, continue_token="!")).code == 400
    good = token('{"v":"meta.k8s.io/v1","rv":1,"start":"a"}')
    refusal = await refused_list(storage, resource, continue_token=good, resource_version="5")
    assert refusal.message == "specifying resource version is not allowed when using continue"


async def test_compacted_revisions(storage, resource, client):
    created = await fill(storage, resource, 3)
    page = await storage.list(resource, ListOptions(limit=1))
    last = await create(storage, resource, config_map("z"))
    await client.put(pb.PutRequest(key=b"compact_rev_key", value=str(last.revision).encode()))
    await client.compact(pb.CompactionRequest(revision=last.revision))
    # The cache hears of a compaction as of any event: by the time it has come to a later revision, it knows.
    await create(storage, resource, config_map("zz"))
    await storage.list(resource, ListOptions())
    refusal = await refused_list(storage, resource, resource_version=str(created[0].revision), match="Exact")
    assert (refusal.code, refusal.reason) == (410, "Expired")
    assert refusal.message == "The resourceVersion for the provided list is too old."
    refusal = await refused_list(storage, resource, limit=1, continue_token=page.continue_token)
    assert (refusal.code, refusal.reason) == (410, "Expired")
    assert refusal.message.startswith("The provided continue parameter is too old to display a consistent list result.")
    fresh = refusal.to_dict()["metadata"]["continue"]
    assert orjson.loads(base64.urlsafe_b64decode(fresh + "=="))["rv"] == -1
    rest = await storage.list(resource, ListOptions(limit=2, continue_token=fresh))
    assert names(rest) == ["m1", "m2"]
    assert rest.revision > last.revision
    assert rest.continue_token


async def test_json_of_items_is_what_get_gives(storage, resource):
    created = await create(storage, resource, config_map("a", x="1"))
    result = await storage.list(resource, ListOptions())
    assert result.items[0].json(resource) == (await storage.get(resource, created.key)).json(resource)


async def test_values_of_others_are_listed(storage, resource, client, codec):
    await fill(storage, resource, 1)
    await storage.list(resource, ListOptions())
    obj = config_map("z", labels={"by": "others"})
    await client.put(pb.PutRequest(key=key_of(resource, obj).encode(), value=codec.encode(resource, obj)))
    assert names(await storage.list(resource, ListOptions())) == ["m0", "z"]
    assert names(await storage.list(resource, ListOptions(labels=parse_label_selector("by=others")))) == ["z"]
