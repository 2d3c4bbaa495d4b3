"""The OpenAPI 2.0 document in protobuf, read back with descriptors of gnostic's messages."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from apiserver.endpoints.openapi.v2_protobuf import swagger_protobuf

Type = descriptor_pb2.FieldDescriptorProto
SCALARS = {"string": Type.TYPE_STRING, "bool": Type.TYPE_BOOL, "int64": Type.TYPE_INT64, "double": Type.TYPE_DOUBLE}
# As much of google/gnostic's openapiv2/OpenAPIv2.proto as is written: field, its number, its type; * for repeated.
MESSAGES = {
    "Any": "yaml 2 string",
    "NamedAny": "name 1 string, value 2 Any",
    "TypeItem": "value 1 string*",
    "ItemsItem": "schema 1 Schema*",
    "AdditionalPropertiesItem": "schema 1 Schema, boolean 2 bool",
    "NamedSchema": "name 1 string, value 2 Schema",
    "Properties": "additional_properties 1 NamedSchema*",
    "Schema": (
        "_ref 1 string, format 2 string, description 4 string, default 5 Any, maximum 7 double, minimum 9 double, "
        "max_length 11 int64, required 19 string*, enum 20 Any*, additional_properties 21 AdditionalPropertiesItem, "
        "type 22 TypeItem, items 23 ItemsItem, properties 25 Properties, vendor_extension 31 NamedAny*"
    ),
    "SchemaItem": "schema 1 Schema",
    "BodyParameter": "name 2 string, in 3 string, required 4 bool, schema 5 Schema",
    "QueryParameterSubSchema": "required 1 bool, in 2 string, name 4 string, type 6 string, unique_items 20 bool",
    "PathParameterSubSchema": "required 1 bool, in 2 string, name 4 string, type 5 string, unique_items 18 bool",
    "NonBodyParameter": "query 3 QueryParameterSubSchema, path 4 PathParameterSubSchema",
    "Parameter": "body_parameter 1 BodyParameter, non_body_parameter 2 NonBodyParameter",
    "ParametersItem": "parameter 1 Parameter",
    "Response": "description 1 string, schema 2 SchemaItem",
    "ResponseValue": "response 1 Response",
    "NamedResponseValue": "name 1 string, value 2 ResponseValue",
    "Responses": "response_code 1 NamedResponseValue*",
    "Operation": (
        "tags 1 string*, operation_id 5 string, produces 6 string*, consumes 7 string*, parameters 8 ParametersItem*, "
        "responses 9 Responses, schemes 10 string*, vendor_extension 13 NamedAny*"
    ),
    "PathItem": "get 2 Operation, post 4 Operation, parameters 9 ParametersItem*",
    "NamedPathItem": "name 1 string, value 2 PathItem",
    "Paths": "path 2 NamedPathItem*",
    "Definitions": "additional_properties 1 NamedSchema*",
    "Info": "title 1 string, version 2 string",
    "StringArray": "value 1 string*",
    "NamedStringArray": "name 1 string, value 2 StringArray",
    "SecurityRequirement": "additional_properties 1 NamedStringArray*",
    "ApiKeySecurity": "type 1 string, name 2 string, in 3 string",
    "SecurityDefinitionsItem": "api_key_security 2 ApiKeySecurity",
    "NamedSecurityDefinitionsItem": "name 1 string, value 2 SecurityDefinitionsItem",
    "SecurityDefinitions": "additional_properties 1 NamedSecurityDefinitionsItem*",
    "Document": (
        "swagger 1 string, info 2 Info, paths 8 Paths, definitions 9 Definitions, security 12 SecurityRequirement*, "
        "security_definitions 13 SecurityDefinitions"
    ),
}
DOCUMENT: dict[str, Any] = {
    "swagger": "2.0",
    "info": {"title": "Kubernetes", "version": "v1"},
    "paths": {
        "/api/v1/things/{name}": {
            "parameters": [{"uniqueItems": True, "type": "string", "name": "name", "in": "path", "required": True}],
            "get": {
                "consumes": ["*/*"],
                "produces": ["application/json"],
                "schemes": ["https"],
                "tags": ["core_v1"],
                "operationId": "readThing",
                "parameters": [{"uniqueItems": True, "type": "boolean", "name": "exact", "in": "query"}],
                "responses": {
                    "200": {"description": "OK", "schema": {"$ref": "#/definitions/Thing"}},
                    "401": {"description": "Unauthorized"},
                },
                "x-kubernetes-group-version-kind": {"group": "", "kind": "Thing", "version": "v1"},
            },
            "post": {
                "parameters": [
                    {"name": "body", "in": "body", "required": True, "schema": {"$ref": "#/definitions/Thing"}}
                ],
                "responses": {},
            },
        }
    },
    "definitions": {
        "Thing": {
            "description": "a thing",
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "format": "int64", "minimum": -1.5, "maxLength": 300},
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "open": {"type": "object", "additionalProperties": True},
                "color": {"type": "string", "enum": ["red", "yes"]},
            },
            "x-kubernetes-group-version-kind": [{"group": "", "kind": "Thing", "version": "v1"}],
        },
        "Nothing": {},
    },
    "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
    "security": [{"BearerToken": []}],
}


@pytest.fixture(scope="module")
def document() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="openapi.proto", package="openapi.v2", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split(", "):
            field, number, kind = text.split()
            label = Type.LABEL_REPEATED if kind.endswith("*") else Type.LABEL_OPTIONAL
            added = message.field.add(name=field, number=int(number), label=label)
            if scalar := SCALARS.get(kind.rstrip("*")):
                added.type = scalar
            else:
                added.type, added.type_name = Type.TYPE_MESSAGE, f".openapi.v2.{kind.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    parsed = message_factory.GetMessageClass(pool.FindMessageTypeByName("openapi.v2.Document"))()
    parsed.ParseFromString(swagger_protobuf(DOCUMENT))
    return parsed


def extensions(message: Any) -> dict[str, Any]:
    return {named.name: yaml.safe_load(named.value.yaml) for named in message.vendor_extension}


def test_nothing_is_left_over(document: Any) -> None:
    """What the tables have wrong would show as unknown fields, which are dropped here."""
    size = document.ByteSize()
    document.DiscardUnknownFields()
    assert document.ByteSize() == size


def test_definitions(document: Any) -> None:
    thing, nothing = document.definitions.additional_properties
    assert (thing.name, nothing.name, nothing.value.ByteSize()) == ("Thing", "Nothing", 0)
    schema = thing.value
    assert (list(schema.type.value), list(schema.required), schema.description) == (["object"], ["size"], "a thing")
    assert extensions(schema) == {
        "x-kubernetes-group-version-kind": [{"group": "", "kind": "Thing", "version": "v1"}],
    }
    properties = {named.name: named.value for named in schema.properties.additional_properties}
    assert (properties["size"].format, properties["size"].minimum, properties["size"].max_length) == (
        "int64",
        -1.5,
        300,
    )
    assert list(properties["tags"].items.schema[0].type.value) == ["string"]
    assert extensions(properties["tags"]) == {"x-kubernetes-list-type": "set"}
    assert list(properties["labels"].additional_properties.schema.type.value) == ["string"]
    assert properties["open"].additional_properties.boolean is True
    assert [yaml.safe_load(one.yaml) for one in properties["color"].enum] == ["red", "yes"]


def test_operations(document: Any) -> None:
    (path,) = document.paths.path
    assert path.name == "/api/v1/things/{name}"
    in_path = path.value.parameters[0].parameter.non_body_parameter.path
    assert (in_path.name, in_path.required, in_path.unique_items, in_path.type) == ("name", True, True, "string")
    get = path.value.get
    assert (get.operation_id, list(get.tags), list(get.schemes)) == ("readThing", ["core_v1"], ["https"])
    in_query = get.parameters[0].parameter.non_body_parameter.query
    assert (in_query.name, in_query.type, in_query.required) == ("exact", "boolean", False)
    responses = {named.name: named.value.response for named in get.responses.response_code}
    assert responses["200"].schema.schema._ref == "#/definitions/Thing"
    assert responses["401"].description == "Unauthorized"
    assert extensions(get) == {"x-kubernetes-group-version-kind": {"group": "", "kind": "Thing", "version": "v1"}}
    body = path.value.post.parameters[0].parameter.body_parameter
    assert (body.name, body.required, body.schema._ref) == ("body", True, "#/definitions/Thing")


def test_the_rest(document: Any) -> None:
    assert (document.swagger, document.info.title, document.info.version) == ("2.0", "Kubernetes", "v1")
    assert document.security[0].additional_properties[0].name == "BearerToken"
    (scheme,) = document.security_definitions.additional_properties
    assert (scheme.name, scheme.value.api_key_security.name) == ("BearerToken", "authorization")
