"""Field selectors: parsing, escaping, the labels each kind knows, and what is read for them."""

import pytest

from apiserver.api.scheme import load_scheme
from apiserver.api.selectors import (
    FieldRequirement,
    SelectorError,
    convert_field_selector,
    escape_field_value,
    field_getter,
    parse_field_selector,
)


@pytest.fixture(scope="module")
def scheme():
    return load_scheme()


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", ""),
        (",", ""),
        ("b=1,a!=2", "a!=2,b=1"),
        ("a==b", "a=b"),
        ("a=b\\,c", "a=b\\,c"),
        ("a=b\\=c\\\\", "a=b\\=c\\\\"),
        ("a=", "a="),
        ("a!==b", None),
    ],
)
def test_printed_form(text, printed):
    if printed is None:
        with pytest.raises(SelectorError):
            parse_field_selector(text)
    else:
        assert str(parse_field_selector(text)) == printed


def test_escaping_round_trip():
    value = "a,b=c\\d"
    selector = parse_field_selector(f"x={escape_field_value(value)}")
    assert selector.requirements == (FieldRequirement("x", "=", value),)
    assert selector.matches({"x": value}.__getitem__)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("b=1,a", "invalid selector: 'b=1,a'; can't understand 'a'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        ("a=\\x", "invalid field selector: invalid escape sequence: \\x"),
        ("a=\\", "invalid field selector: invalid escape sequence: \\"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(SelectorError) as refused:
        parse_field_selector(text)
    assert refused.value.message == message


def test_exact():
    selector = parse_field_selector("metadata.name=a,status.phase!=Failed")
    assert selector.exact("metadata.name") == "a"
    assert selector.exact("status.phase") is None
    assert not selector.empty
    assert parse_field_selector("").empty


def test_aliases_are_rewritten(scheme):
    pods = scheme.resource("", "v1", "pods")
    assert str(convert_field_selector(parse_field_selector("spec.host=n1"), pods)) == "spec.nodeName=n1"


@pytest.mark.parametrize(
    ("group", "version", "plural", "message"),
    [
        ("", "v1", "configmaps", '"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("", "v1", "pods", "field label not supported: spec.x"),
        ("batch", "v1", "jobs", 'field label "spec.x" not supported for Job'),
    ],
)
def test_unknown_labels(scheme, group, version, plural, message):
    resource = scheme.resource(group, version, plural)
    with pytest.raises(SelectorError) as refused:
        convert_field_selector(parse_field_selector("spec.x=1"), resource)
    assert refused.value.message == message


@pytest.mark.parametrize(
    ("plural", "obj", "text", "selected"),
    [
        ("pods", {"spec": {"nodeName": "n1"}}, "spec.nodeName=n1", True),
        ("pods", {"spec": {}}, "spec.nodeName=", True),
        ("pods", {}, "spec.nodeName!=n1", True),
        ("pods", {"spec": {"hostNetwork": True}}, "spec.hostNetwork=true", True),
        ("pods", {}, "spec.hostNetwork=false", True),
        ("nodes", {"spec": {}}, "spec.unschedulable=false", True),
        ("replicationcontrollers", {"status": {"replicas": 2}}, "status.replicas=2", True),
        ("replicationcontrollers", {}, "status.replicas=0", True),
        ("events", {"source": {"component": "kubelet"}}, "source=kubelet", True),
        ("events", {"source": {}, "reportingComponent": "sched"}, "source=sched", True),
        ("persistentvolumes", {"metadata": {"name": "a"}}, "metadata.namespace=x", False),
    ],
)
def test_values_of_fields(scheme, plural, obj, text, selected):
    resource = scheme.resource("", "v1", plural)
    selector = convert_field_selector(parse_field_selector(text), resource)
    assert selector.matches(field_getter(resource, obj)) is selected
