#!/usr/bin/env python3
"""Golden wire files in tests/golden/HEAD: a dozen kinds, fully populated, as json, yaml and pb.

Without arguments, checks that today's code writes what is there and lists what differs. `--rewrite` writes the files
again; the difference is then for review: data that was stored by an earlier version must stay readable.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from apiserver.api.scheme import load_scheme  # noqa: E402
from apiserver.codec import Codec, Kind  # noqa: E402
from apiserver.codec.yaml import dump_yaml  # noqa: E402

GOLDEN = ROOT / "tests" / "golden"

# Kinds that between them have every JSON form and every way of writing a field.
KINDS: tuple[Kind, ...] = (
    ("", "v1", "ConfigMap"),
    ("", "v1", "Event"),
    ("", "v1", "Node"),
    ("", "v1", "Pod"),
    ("", "v1", "Secret"),
    ("", "v1", "Service"),
    ("", "v1", "Status"),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    ("apps", "v1", "StatefulSet"),
    ("authorization.k8s.io", "v1", "SubjectAccessReview"),
    ("coordination.k8s.io", "v1", "Lease"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    ("resource.k8s.io", "v1", "ResourceSlice"),
)


def load_populate() -> Any:
    """tests/golden/populate.py, which is no package."""
    spec = importlib.util.spec_from_file_location("golden_populate", GOLDEN / "populate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def golden_files() -> dict[str, bytes]:
    """File name -> content."""
    populate = load_populate()
    scheme = load_scheme()
    codec = Codec(scheme)
    files = {}
    for kind in KINDS:
        obj = populate.canonical(codec, kind, populate.Populator(scheme, recursion_max=0).object(kind))
        stem = f"{kind[0] or 'core'}.{kind[1]}.{kind[2]}"
        files[f"{stem}.json"] = orjson.dumps(obj, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        files[f"{stem}.yaml"] = dump_yaml(obj)
        files[f"{stem}.pb"] = codec.to_storage(obj)
    return files


def main(argv: list[str] | None = None) -> int:
    """Compare or rewrite."""
    parser = argparse.ArgumentParser(description="Check the golden wire files, or write them again.")
    parser.add_argument("--rewrite", action="store_true", help="write the files instead of comparing them")
    options = parser.parse_args(argv)
    folder = GOLDEN / "HEAD"
    files = golden_files()
    if options.rewrite:
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return 0
    present = {path.name: path.read_bytes() for path in folder.iterdir()}
    differing = sorted(name for name in files.keys() | present.keys() if files.get(name) != present.get(name))
    for name in differing:
        print(f"differs: {name}", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
