"""The difference between our database and etcd's (`server/storage/schema`).

The buckets and their rows are the same in both, but for `meta/storageVersion`, the release whose format this is, which
only etcd keeps there, and `meta/confState`, who votes, which a database made from a snapshot may lack here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from kvstore.backend import BUCKETS, KEY_BUCKET

__all__ = ["BUCKET_NAMES", "meta_rows"]

BUCKET_NAMES = (KEY_BUCKET, *BUCKETS)
"""Every bucket there is; etcd makes them all at its first start, empty or not."""

_CONF_STATE_KEY = b"confState"
_STORAGE_VERSION_KEY = b"storageVersion"

Row = tuple[bytes, bytes]


def meta_rows(rows: Iterable[Row], members: Iterable[Row], storage_version: str) -> list[Row]:
    """The rows of `meta`, with what etcd keeps there and we know otherwise, in order."""
    meta = dict(rows)
    meta.setdefault(_CONF_STATE_KEY, _conf_state(members))
    meta[_STORAGE_VERSION_KEY] = storage_version.encode()
    return sorted(meta.items())


def _conf_state(members: Iterable[Row]) -> bytes:
    ids: dict[bool, list[int]] = {False: [], True: []}
    for key, stored in members:
        ids[bool(json.loads(stored).get("isLearner"))].append(int(key, 16))
    state: dict[str, object] = {}
    for name, is_learner in (("voters", False), ("learners", True)):
        if ids[is_learner]:
            state[name] = sorted(ids[is_learner])
    state["auto_leave"] = False
    return json.dumps(state, separators=(",", ":")).encode()
