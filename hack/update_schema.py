#!/usr/bin/env python3
"""Make the schema tables in apiserver/api/schema/ again from a directory of API facts.

Usage: hack/update_schema.py [FACTS_DIRECTORY] [--output DIRECTORY]

The facts are tab-separated files (types, messages, kinds, groups, table_columns, defaults, selectors). The result is

* `index.json`: groups, kinds, resources with their verbs, subresources, columns and field labels; read at start-up;
* `types/<protobuf package>.json`: messages and their fields; read when a kind of that package is first used.

Every row of a table is one line, so that a change of the API shows as a readable diff; only values that differ from the
attribute's default in apiserver.api.scheme are written.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
Row = dict[str, str]

META = "k8s.io.apimachinery.pkg.apis.meta.v1"
# Kinds that metav1.AddToGroupVersion registers in every group and version.
EVERYWHERE = (
    "CreateOptions",
    "DeleteOptions",
    "GetOptions",
    "ListOptions",
    "PatchOptions",
    "UpdateOptions",
    "WatchEvent",
)
# meta.k8s.io/v1beta1 carries the same messages as v1 (clients ask for Tables of either).
META_ALIASES = ("PartialObjectMetadata", "Table")
# Objects written in another group's version than any of their own.
FOREIGN_STORAGE = {"events.k8s.io/events": ["", "v1"]}
DEFAULT_COLUMNS = [
    {"name": "Name", "type": "string", "format": "name", "how": "metadata.name"},
    {"name": "Created At", "type": "date", "how": "metadata.creationTimestamp RFC3339 UTC"},
]
# The table's word for a JSON form -> ours. What is not listed is an object.
JSON_FORMS = {
    "Quantity": "quantity",
    "QuantityValue": "quantity",
    "Time": "time",
    "MicroTime": "microtime",
    "Duration": "duration",
    "IntOrString": "int-or-string",
    "RawExtension": "raw",
    "FieldsV1": "raw",
    "JSON": "raw",
    "JSONSchemaPropsOrArray": "schema-or-array",
    "JSONSchemaPropsOrBool": "schema-or-bool",
    "JSONSchemaPropsOrStringArray": "schema-or-strings",
}


def read(path: Path) -> list[Row]:
    """The rows of one fact table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def split(text: str, separator: str = ",") -> list[str]:
    """A list cell; an empty cell is an empty list."""
    return text.split(separator) if text else []


def sparse(values: dict[str, Any]) -> dict[str, Any]:
    """The values without the empty ones; zero is a value, False is not."""
    return {name: value for name, value in values.items() if value not in ("", [], None) and value is not False}


def field_row(row: Row) -> dict[str, Any]:
    """One field of one message, named as apiserver.api.scheme.Field names its attributes."""
    is_map = row["label"] == "map"
    # An empty string or false is a default like any other, so it goes around `sparse`.
    default = {"default": json.loads(row["default"])} if row["default"] else {}
    if row["message"] == "List":  # the tags of a list of anything are read by hand-written code, so the facts have none
        row = row | {
            "json_name": row["proto_name"],
            "json_omitempty": "n",
            "go_kind": row["go_kind"].replace("custom", ""),
        }
    return default | sparse(
        {
            "json_name": row["json_name"],
            "proto_name": row["proto_name"] if row["proto_name"] != row["json_name"] else "",
            "number": int(row["proto_number"]) if row["proto_number"] else None,
            "type_name": row["map_value_type"] if is_map else row["proto_type"],
            "repeated": row["label"] == "repeated",
            "is_map": is_map,
            "map_key_type": row["map_key_type"],
            "required": row["required"] == "y",
            "enum": split(row["enum"]),
            "format": row["format"],
            "list_type": row["list_type"],
            "list_map_keys": split(row["list_map_keys"]),
            "map_type": row["map_type"],
            "patch_strategy": row["patch_strategy"],
            "patch_merge_key": row["patch_merge_key"],
            "omitempty": row["json_omitempty"] if row["json_omitempty"] != "y" else "",
            "inline": row["inline"] == "y",
            "go_kind": row["go_kind"] if row["go_kind"] != "value" else "",
            "markers": split(row["markers"], ";"),
            "feature_gate": row["feature_gate"],
        }
    )


def json_form(row: Row) -> str:
    """Our word for how a message looks in JSON."""
    if row["json_form"].startswith("list of string"):
        return "strings"
    return JSON_FORMS.get(row["message"], "object")


def default_rule(row: Row) -> dict[str, Any]:
    """One default that depends on something; what is not a plain JSON value is a rule in words."""
    try:
        value = {"value": json.loads(row["default"])}
    except ValueError:
        value = {"rule": row["default"]}
    return {"path": row["field"]} | value | sparse({"condition": row["condition"], "applied_by": row["applied_by"]})


def type_tables(facts: Path) -> dict[str, dict[str, Any]]:
    """Protobuf package -> message -> its row with fields and default rules."""
    fields: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in read(facts / "types.tsv"):
        fields[row["package"], row["message"]].append(field_row(row))
    rules: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in read(facts / "defaults.tsv"):
        rules[row["package"], row["message"]].append(default_rule(row))
    tables: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in read(facts / "messages.tsv"):
        key = row["package"], row["message"]
        form = json_form(row)
        tables[row["package"]][row["message"]] = sparse(
            {
                "json_form": form if form != "object" else "",
                "json_only": "JSON only" in row["json_form"],
                "introduced": row["introduced"],
                "deprecated": row["deprecated"],
                "removed": row["removed"],
                "map_type": row["map_type"],
                "markers": split(row["markers"], ";"),
                "in_openapi": row["in_openapi"] == "y",
                "fields": fields.pop(key, []),
                "defaults": rules.pop(key, []),
            }
        )
    assert not fields, f"fields of unknown messages: {sorted(fields)}"
    assert not rules, f"defaults of unknown messages: {sorted(rules)}"
    return tables


def subresource(cell: str) -> dict[str, Any]:
    """`name:kind:verbs`, where kind may be `group/version.Kind`."""
    name, kind, verbs = cell.split(":")
    group_version, _, bare = kind.rpartition(".")
    group, _, version = group_version.rpartition("/")
    return sparse({"name": name, "group": group, "version": version, "kind": bare, "verbs": split(verbs)})


def columns_by_kind(facts: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(group, kind) -> columns in order."""
    columns: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(read(facts / "table_columns.tsv"), key=lambda row: int(row["index"])):
        priority = int(row["priority"] or "0")
        column = {"name": row["name"], "type": row["type"], "format": row["format"], "priority": priority or ""}
        columns[row["group"], row["kind"]].append(sparse(column | {"how": row["how"]}))
    return columns


def labels_by_resource(facts: Path) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """(group, version, plural) -> field labels accepted in field selectors."""
    labels: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in read(facts / "selectors.tsv"):
        for version in split(row["versions"]):
            value_type = row["value_type"] if row["value_type"] != "string" else ""
            label = {"label": row["label"], "path": row["object_path"], "value_type": value_type}
            extra = {
                "never_matches": row["selectable"] == "n",
                "note": row["note"],
                "error": row["error_on_other_label"],
            }
            labels[row["group"], version, row["resource"]].append(sparse(label | extra))
    return labels


def resource_row(row: Row, storage: list[str] | None, columns: Any, labels: Any) -> dict[str, Any]:
    """One resource, named as apiserver.api.scheme.Resource names its attributes."""
    error = next((label["error"] for label in labels), "")
    return sparse(
        {
            "group": row["group"],
            "version": row["version"],
            "kind": row["kind"],
            "plural": row["plural"],
            "singular": row["singular"],
            "list_kind": row["list_kind"],
            "type_name": row["message"],
            "namespaced": row["namespaced"] == "y",
            "short_names": split(row["short_names"]),
            "categories": split(row["categories"]),
            "verbs": split(row["verbs"]),
            "subresources": [subresource(cell) for cell in split(row["subresources"], ";")],
            "storage_prefix": row["storage_prefix"],
            "storage_version": row["storage_version"] == "y",
            "storage_group_version": storage,
            "storage_version_hash": row["storage_version_hash"],
            "columns": columns,
            "field_labels": [{k: v for k, v in label.items() if k != "error"} for label in labels],
            "field_label_error": error,
            "graceful_deletion": row["graceful_deletion"] == "y",
            "not_served_by_default": row["served_by_default"] == "n",
            "introduced": row["introduced"],
            "deprecated": row["deprecated"],
            "removed": row["removed"],
        }
    )


def resource_rows(facts: Path, kinds: list[Row]) -> list[dict[str, Any]]:
    """Every resource of every version."""
    written = {(r["group"], r["plural"]): [r["group"], r["version"]] for r in kinds if r["storage_version"] == "y"}
    columns, labels = columns_by_kind(facts), labels_by_resource(facts)
    rows = []
    for row in kinds:
        group, plural = row["group"], row["plural"]
        if not plural:
            continue
        storage = FOREIGN_STORAGE.get(f"{group}/{plural}") or written.get((group, plural))
        assert storage or not row["storage_prefix"], f"nothing says how {group}/{plural} is stored"
        printed = columns.get((group, row["kind"]), DEFAULT_COLUMNS)
        rows.append(resource_row(row, storage, printed, labels.get((group, row["version"], plural), [])))
    return rows


def kind_rows(kinds: list[Row], groups: list[Row]) -> list[list[str]]:
    """[group, version, kind, message] of everything that can stand at the top of a document."""
    rows = {(row["group"], row["version"], row["kind"]): row["message"] for row in kinds}
    for row in kinds:
        if row["list_kind"]:
            package = row["message"].rpartition(".")[0]
            rows.setdefault((row["group"], row["version"], row["list_kind"]), f"{package}.{row['list_kind']}")
    for group, version in sorted({(r["group"], r["version"]) for r in [*kinds, *groups]}):
        for kind in EVERYWHERE:
            rows.setdefault((group, version, kind), f"{META}.{kind}")
    for kind in META_ALIASES:
        rows.setdefault(("meta.k8s.io", "v1beta1", kind), f"{META}.{kind}")
    return [[*key, rows[key]] for key in sorted(rows)]


def group_rows(facts: Path) -> list[dict[str, Any]]:
    """Groups in discovery order, each with its versions in order."""
    groups: dict[str, dict[str, Any]] = {}
    for row in sorted(read(facts / "groups.tsv"), key=lambda r: (int(r["group_order"]), int(r["version_order"]))):
        entry = groups.setdefault(row["group"], {"name": row["group"], "versions": []})
        served = row["served_by_default"] == "y"
        entry["versions"].append({"version": row["version"], "served_by_default": served})
        if row["preferred"] == "y":
            entry["preferred"] = row["version"]
    return list(groups.values())


def dump_rows(rows: list[Any]) -> str:
    """A JSON list, one element per line."""
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows) + "\n]"


def dump_package(messages: dict[str, Any]) -> str:
    """One types file: a line per message, then a line per field and default rule."""
    parts = []
    for name in sorted(messages):
        head = {key: value for key, value in messages[name].items() if key not in ("fields", "defaults")}
        lists = [
            f'"{key}":{dump_rows(messages[name][key])}' for key in ("fields", "defaults") if messages[name].get(key)
        ]
        opening = json.dumps(head, ensure_ascii=False, separators=(",", ":"))[1:-1]
        parts.append(f'"{name}":{{' + ",".join(filter(None, [opening, *lists])) + "}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main(argv: list[str] | None = None) -> int:
    """Read the facts, write the tables."""
    parser = argparse.ArgumentParser(description="Make apiserver/api/schema/ again from a directory of API facts.")
    parser.add_argument("facts", nargs="?", type=Path, default=ROOT.parent / "shared" / "api-facts")
    parser.add_argument("--output", type=Path, default=ROOT / "apiserver" / "api" / "schema")
    options = parser.parse_args(argv)
    if not (options.facts / "types.tsv").exists():
        print(f"update_schema: no API facts in {options.facts}", file=sys.stderr)
        return 2
    kinds, groups = read(options.facts / "kinds.tsv"), read(options.facts / "groups.tsv")
    sections = {
        "groups": dump_rows(group_rows(options.facts)),
        "resources": dump_rows(resource_rows(options.facts, kinds)),
        "kinds": dump_rows(kind_rows(kinds, groups)),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    index = "{\n" + ",\n".join(f'"{name}":{text}' for name, text in sections.items()) + "\n}\n"
    (options.output / "index.json").write_text(index, encoding="utf-8")
    types = options.output / "types"
    shutil.rmtree(types, ignore_errors=True)
    types.mkdir()
    for package, messages in type_tables(options.facts).items():
        (types / f"{package}.json").write_text(dump_package(messages), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
