"""`make bench`: every figure beside its target, one section after the other.

Name sections to run only those: `make bench ARGS="server codec"`.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

SECTIONS = ("codec", "authorization", "raft", "store", "storage", "front", "etcd", "views", "server")


def main() -> None:
    from hack.bench.report import print_rows

    chosen = sys.argv[1:] or [name for name in SECTIONS if Path(__file__).with_name(f"{name}.py").exists()]
    for name in chosen:
        if name not in SECTIONS:
            raise SystemExit(f"unknown section {name!r}; there are: {', '.join(SECTIONS)}")
        print(f"\n== {name}")
        print_rows(importlib.import_module(f"hack.bench.{name}").run())


if __name__ == "__main__":
    main()
