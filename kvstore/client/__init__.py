"""The one way into the store, in etcd's own messages.

`Client` is what the API server programs against. Two things implement it: `InProcessClient`, which calls an embedded
member's services directly, and `GrpcClient`, a channel to any etcd v3 endpoint.
"""

from kvstore.client.interface import Client, WatchStream

__all__ = ["Client", "WatchStream"]
