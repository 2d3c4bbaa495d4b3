"""Entries: forms made once, looked into without decoding, and let go of."""

from pathlib import Path

import orjson
import pytest

from apiserver.api.scheme import load_scheme
from apiserver.api.status import StatusError, internal_error
from apiserver.codec import Codec
from apiserver.storage.entries import CorruptEntry, Entry, Family, RecentObjects, set_resource_version
from apiserver.storage.scheme_codec import SchemeCodec
from apiserver.storage.wire import message_with_revision, stored_api_version, stored_labels

GOLDEN = Path(__file__).parents[5] / "shared" / "golden"


class CountingCodec(SchemeCodec):
    """Counts decodes."""

    decodes = 0

    def decode(self, data):
        self.decodes += 1
        return super().decode(data)


@pytest.fixture(scope="module")
def scheme():
    return load_scheme()


@pytest.fixture
def codec(scheme):
    return CountingCodec(Codec(scheme))


@pytest.fixture
def maps(scheme):
    return scheme.resource("", "v1", "configmaps")


def config_map(name="a"):
    metadata = {"name": name, "namespace": "ns", "uid": "u", "labels": {"b": "2", "a": "1"}}
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"x": "1"}}


def stored(codec, maps, recent=None, name="a"):
    family = Family(maps.storage_prefix, True, codec, recent or RecentObjects())
    return Entry(family, f"/registry/configmaps/ns/{name}", 12, codec.encode(maps, config_map(name)))


def test_names_and_labels_need_no_decode(codec, maps):
    entry = stored(codec, maps)
    assert (entry.name, entry.namespace) == ("a", "ns")
    assert entry.labels == {"a": "1", "b": "2"}
    assert entry.protobuf(maps)
    assert codec.decodes == 0


def test_json_is_made_once(codec, maps):
    entry = stored(codec, maps)
    first = entry.json(maps)
    assert entry.json(maps) is first
    assert orjson.loads(first)["metadata"]["resourceVersion"] == "12"
    assert codec.decodes == 1
    copy = entry.object_copy(maps)
    copy["data"]["x"] = "2"
    assert entry.json(maps) is first
    assert entry.view(maps)["data"]["x"] == "1"


def test_only_recent_objects_stay_decoded(codec, maps):
    recent = RecentObjects(limit=2)
    entries = [stored(codec, maps, recent, f"m{n}") for n in range(3)]
    for entry in entries:
        entry.view(maps)
    assert codec.decodes == 3
    entries[2].view(maps)
    assert codec.decodes == 3
    entries[0].view(maps)
    assert codec.decodes == 4


def test_an_entry_of_our_own_gets_its_revision_once(codec, maps):
    family = Family(maps.storage_prefix, True, codec, RecentObjects())
    obj = config_map()
    entry = Entry(family, "/registry/configmaps/ns/a", 0, codec.encode(maps, obj), obj=obj)
    entry.commit(5)
    entry.commit(5)
    assert list(entry.view(maps)["metadata"]) == ["name", "namespace", "uid", "resourceVersion", "labels"]
    with pytest.raises(AssertionError):
        entry.commit(6)


def test_last_state_of_a_deleted_object(codec, maps):
    entry = stored(codec, maps)
    entry.json(maps)
    gone = entry.at_revision(20)
    assert orjson.loads(gone.json(maps))["metadata"]["resourceVersion"] == "20"
    assert orjson.loads(entry.json(maps))["metadata"]["resourceVersion"] == "12"
    assert gone.labels == entry.labels


def test_resource_version_is_replaced_in_place():
    obj = {"metadata": {"name": "a", "resourceVersion": "1", "labels": {}}}
    set_resource_version(obj, 2)
    assert list(obj["metadata"].items()) == [("name", "a"), ("resourceVersion", "2"), ("labels", {})]


def test_corrupt_entries_say_why(codec, maps):
    family = Family(maps.storage_prefix, True, codec, RecentObjects())
    entry = CorruptEntry(family, "/registry/configmaps/ns/a", 3, internal_error("sealed"))
    assert (entry.name, entry.revision) == ("a", 3)
    for look in (entry.json, entry.protobuf, entry.view, entry.object_copy):
        with pytest.raises(StatusError, match="sealed"):
            look(maps)
    with pytest.raises(StatusError, match="sealed"):
        _ = entry.labels
    with pytest.raises(StatusError, match="sealed"):
        entry.at_revision(4).json(maps)


@pytest.mark.parametrize("data", [b"k8s\0", b"k8s\0\x0a\x02", b"nonsense", b"k8s\0\x12\x03\x0a\x01\x5a"])
def test_damaged_values(codec, maps, data):
    family = Family(maps.storage_prefix, True, codec, RecentObjects())
    entry = Entry(family, "/registry/configmaps/ns/a", 3, data)
    with pytest.raises(StatusError) as refused:
        entry.json(maps)
    assert refused.value.code == 500
    with pytest.raises(StatusError):
        _ = entry.labels


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the shared golden files are not here")
def test_looking_into_golden_objects():
    for path in sorted(GOLDEN.glob("*.pb")):
        obj = orjson.loads(path.with_suffix(".json").read_bytes())
        if "resourceVersion" not in obj.get("metadata", {}) or "name" not in obj["metadata"]:
            continue
        data = path.read_bytes()
        assert stored_labels(data) == obj["metadata"]["labels"], path.name
        assert stored_api_version(data) == obj["apiVersion"]
        version = int("".join(filter(str.isdigit, obj["metadata"]["resourceVersion"])) or 1)
        message = message_with_revision(data, version)
        assert b"\x32%c%b" % (len(str(version)), str(version).encode()) in message


def test_message_carries_the_revision(codec, maps):
    entry = stored(codec, maps)
    with_revision = config_map()
    set_resource_version(with_revision, 12)
    assert entry.protobuf(maps) == codec.message(maps, with_revision)
    big = Entry(entry._family, entry.key, 2**60, entry.data)
    set_resource_version(with_revision, 2**60)
    assert big.protobuf(maps) == codec.message(maps, with_revision)


def test_a_string_deep_in_the_message(codec, scheme):
    pods = scheme.resource("", "v1", "pods")
    family = Family(pods.storage_prefix, True, codec, RecentObjects())

    def entry(**spec):
        obj = {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": "a", "namespace": "ns"},
            "spec": spec,
            "status": {},
        }
        return Entry(family, "/registry/pods/ns/a", 3, codec.encode(pods, obj))

    containers = [{"name": "c", "image": "i", "resources": {}}]
    assert entry(containers=containers, nodeName="n1", priority=3).stored_string((2, 10)) == "n1"
    assert entry(containers=containers, priority=3, hostNetwork=True).stored_string((2, 10)) == ""
    assert entry(containers=containers * 20).stored_string((2, 10)) == ""
    assert Entry(family, "/registry/pods/ns/a", 3, b"{}").stored_string((2, 10)) is None
    with pytest.raises(StatusError):
        Entry(family, "/registry/pods/ns/a", 3, b"k8s\0").stored_string((2, 10))
