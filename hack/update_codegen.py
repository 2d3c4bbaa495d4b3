#!/usr/bin/env python3
"""Run every generator whose output is committed.

Usage: hack/update_codegen.py [STEP ...]; without a step, all of them run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HACK = Path(__file__).resolve().parent

# Step name -> (script in this directory, its arguments). Steps do not depend on each other.
STEPS: dict[str, tuple[str, list[str]]] = {
    "schema": ("update_schema.py", []),
    "protos": ("codegen_protos.py", []),
}


def main(argv: list[str]) -> int:
    """Run the steps named, or all; the exit code of the first that fails."""
    unknown = [name for name in argv if name not in STEPS]
    if unknown:
        print(f"unknown step {', '.join(unknown)}; there are: {', '.join(STEPS)}", file=sys.stderr)
        return 2
    for name in argv or STEPS:
        script, arguments = STEPS[name]
        print(f"==> {name}")
        code = subprocess.run([sys.executable, str(HACK / script), *arguments], check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
