"""What the storage reads back is what it was given, also where protobuf has no place for it."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.api.scheme import Scheme
from apiserver.codec import Codec
from apiserver.storage.scheme_codec import SchemeCodec


@pytest.fixture
def stateful_set() -> dict[str, Any]:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template, "volumeClaimTemplates": [claim]}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"}, "spec": spec}


def test_claim_templates_say_what_they_are(scheme: Scheme, stateful_set: dict[str, Any]) -> None:
    codec = Codec(scheme)
    resource = scheme.resource("apps", "v1", "statefulsets")
    assert resource is not None
    written = codec.normalize(stateful_set, strict=True).obj
    storage_codec = SchemeCodec(codec)
    (claim,) = storage_codec.decode(storage_codec.encode(resource, written))["spec"]["volumeClaimTemplates"]
    assert (claim["apiVersion"], claim["kind"], claim["metadata"]["name"]) == ("v1", "PersistentVolumeClaim", "data")


def test_a_custom_kind_of_that_name_is_left_alone(scheme: Scheme, stateful_set: dict[str, Any]) -> None:
    stateful_set["apiVersion"] = "example.com/v1"
    del stateful_set["spec"]["volumeClaimTemplates"][0]["kind"]
    data = Codec(scheme).custom_to_storage(stateful_set)
    assert SchemeCodec(Codec(scheme)).decode(data) == stateful_set
