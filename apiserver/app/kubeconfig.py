"""The kubeconfig with which a person's first `kubectl` finds the server."""

from __future__ import annotations

import base64
import json

from apiserver.app.certificates import PKI, write_atomically
from kvstore.environment import FileSystem

__all__ = ["write_admin_kubeconfig"]

CLUSTER = "mini-apiserver"
CONTEXT = f"kubernetes-admin@{CLUSTER}"


def write_admin_kubeconfig(path: str, server_url: str, pki: PKI, files: FileSystem) -> None:
    """Write a self-contained kubeconfig (certificates inside, 0600) for `system:masters`.

    The file is JSON, which every YAML reader reads too. It is left alone when it already says the same.
    """
    user = {
        "client-certificate-data": _embedded(pki.admin_cert, files),
        "client-key-data": _embedded(pki.admin_key, files),
    }
    cluster = {"server": server_url, "certificate-authority-data": _embedded(pki.ca_cert, files)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CLUSTER, "cluster": cluster}],
        "users": [{"name": "kubernetes-admin", "user": user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CLUSTER, "user": "kubernetes-admin"}}],
        "current-context": CONTEXT,
    }
    content = json.dumps(config, indent=2).encode() + b"\n"
    if files.exists(path):
        with files.open(path, "rb") as file:
            if file.read() == content:
                return
    write_atomically(path, content, files)


def _embedded(path: str, files: FileSystem) -> str:
    with files.open(path, "rb") as file:
        return base64.b64encode(file.read()).decode()
