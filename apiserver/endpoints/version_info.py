"""What the server says of itself at `/version`: which Kubernetes it speaks (k8s.io/apimachinery `version.Info`)."""

from __future__ import annotations

import platform

__all__ = ["GIT_VERSION", "version_info"]

_MAJOR, _MINOR = 1, 37

GIT_VERSION = f"v{_MAJOR}.{_MINOR}.0+mini"
"""The version as clients compare it: the API of this release; what follows the plus sign has no rank in semver."""

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def version_info() -> dict[str, str]:
    """`version.Info`: clients compare major, minor and gitVersion; nothing older is emulated."""
    machine = platform.machine()
    return {
        "major": str(_MAJOR),
        "minor": str(_MINOR),
        "emulationMajor": str(_MAJOR),
        "emulationMinor": str(_MINOR),
        "minCompatibilityMajor": str(_MAJOR),
        "minCompatibilityMinor": str(_MINOR - 1),
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation().lower(),
        "platform": f"{platform.system().lower()}/{_MACHINES.get(machine, machine)}",
    }
