"""The version this server speaks for.

Clients judge by it what they may rely on: kube-apiserver 1.34 and later asks for watch progress only from 3.4.31 or
3.5.13 on. The store's format is that of the same minor release.
"""

__all__ = ["CLUSTER_VERSION", "SERVER_VERSION", "STORAGE_VERSION"]

SERVER_VERSION = "3.6.5"
CLUSTER_VERSION = "3.6.0"
STORAGE_VERSION = "3.6.0"
