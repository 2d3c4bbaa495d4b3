"""`--runtime-config`: which versions and resources are served.

Broad words come first, narrow ones win: `api/all`, then `api/ga`, `api/beta`, `api/alpha`, then `GROUP/VERSION`, then
`GROUP/VERSION/RESOURCE` (k8s.io/apiserver `pkg/server/resourceconfig`). The core group is written `/v1` or `api/v1`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from apiserver.api.scheme import Resource, Scheme

__all__ = ["RuntimeConfigError", "enabled_resources"]

_LEVELS = {
    "api/all": re.compile(r"v.*"),
    "api/ga": re.compile(r"v\d+"),
    "api/beta": re.compile(r"v\d+beta\d+"),
    "api/alpha": re.compile(r"v\d+alpha\d+"),
}
_BOOLEANS = {"": True, "1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


class RuntimeConfigError(Exception):
    """An entry of `--runtime-config` that means nothing here."""


def enabled_resources(scheme: Scheme, config: Mapping[str, str]) -> Callable[[Resource], bool]:
    """Whether a resource is served, as a function.

    Raises:
        RuntimeConfigError: a value is no boolean, or a version is not one of this server's.
    """
    versions = {
        (group.name, info.version): info.served_by_default for group in scheme.groups() for info in group.versions
    }
    for level, pattern in _LEVELS.items():
        if level in config:
            value = _boolean(level, config[level])
            versions.update({key: value for key in versions if pattern.fullmatch(key[1])})
    resources: dict[tuple[str, str, str], bool] = {}
    for entry in sorted((key for key in config if key not in _LEVELS), key=lambda key: key.count("/")):
        group, version, resource = _split(entry)
        if scheme.group(group) is None:
            continue  # as kube-apiserver: groups of other servers may stand in a shared configuration
        if (group, version) not in versions:
            raise RuntimeConfigError(f"--runtime-config: group version {entry} has not been registered")
        if resource:
            resources[group, version, resource] = _boolean(entry, config[entry])
        else:
            versions[group, version] = _boolean(entry, config[entry])

    def enabled(resource: Resource) -> bool:
        version = versions.get((resource.group, resource.version), False)
        return resources.get((resource.group, resource.version, resource.plural), version)

    return enabled


def _split(entry: str) -> tuple[str, str, str]:
    parts = entry.split("/")
    if len(parts) not in (2, 3):
        raise RuntimeConfigError(
            f"--runtime-config: invalid key {entry}; write GROUP/VERSION or GROUP/VERSION/RESOURCE"
        )
    group, version, resource = (*parts, "")[:3]
    if resource != resource.lower():
        raise RuntimeConfigError(f"--runtime-config: invalid key {entry}: resources are lower-case plurals")
    return "" if group == "api" else group, version, resource


def _boolean(entry: str, text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise RuntimeConfigError(f"--runtime-config: invalid value {entry}={text}; write true or false")
    return value
