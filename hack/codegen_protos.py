"""Make the modules of `kvstore/etcdpb` and `raft/wire` from their .proto files.

`python hack/codegen_protos.py` writes beside the .proto files; `--output DIR` writes the same trees elsewhere, for a
check that what is committed is what the sources give. Needs grpcio-tools and mypy-protobuf.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("kvstore/etcdpb", "raft/wire")


def generate(output: Path) -> None:
    """Run protoc over every .proto file of the packages; raises SystemExit with protoc's status when it fails."""
    paths = [path for package in PACKAGES for path in (ROOT / package).glob("*.proto")]
    sources = sorted(str(path.relative_to(ROOT)) for path in paths)
    output.mkdir(parents=True, exist_ok=True)
    # protoc finds protoc-gen-mypy on PATH; it is installed beside this interpreter.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    status = protoc.main(
        ["protoc", f"--proto_path={ROOT}", f"--python_out={output}", f"--mypy_out=quiet:{output}", *sources]
    )
    if status != 0:
        raise SystemExit(status)


def main() -> None:
    """Parse the command line and generate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT, help="directory that plays the repository root")
    generate(parser.parse_args().output)


if __name__ == "__main__":
    main()
