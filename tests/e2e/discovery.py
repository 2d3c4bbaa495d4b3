"""What a server serves, as its discovery documents say."""

from __future__ import annotations

from dataclasses import dataclass

from tests.e2e.http_client import HTTPConnection


@dataclass(frozen=True, slots=True)
class APIResource:
    """One entry of an `APIResourceList`: a resource or, with a slash in its name, a subresource."""

    group_version: str
    name: str
    kind: str
    """apiVersion and kind, with a blank between."""

    namespaced: bool
    verbs: frozenset[str]

    def path(self, namespace: str) -> str:
        """Where the collection lies; of one namespace where it has one."""
        root = "/api" if "/" not in self.group_version else "/apis"
        middle = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{root}/{self.group_version}{middle}/{self.name}"


async def discover(connection: HTTPConnection) -> list[APIResource]:
    """All resources and subresources, in all versions that are served."""
    _, groups = await connection.request("GET", "/apis")
    paths = ["/api/v1", *(f"/apis/{v['groupVersion']}" for group in groups["groups"] for v in group["versions"])]
    found = []
    for path in paths:
        status, document = await connection.request("GET", path)
        assert status == 200, document
        group_version = document["groupVersion"]
        for entry in document["resources"]:
            other = "/".join(filter(None, (entry.get("group"), entry.get("version"))))
            kind = f"{other or group_version} {entry['kind']}"
            verbs = frozenset(entry["verbs"])
            found.append(APIResource(group_version, entry["name"], kind, entry["namespaced"], verbs))
    return found
