"""etcd's feature gates (`--feature-gates`), and what they are unless somebody says otherwise (server/features)."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["EARLIER_FLAGS_OF_FEATURES", "FEATURES", "parse_features", "stage"]

_ALPHA = {
    "CompactHashCheck": False,
    "InitialCorruptCheck": False,
    "LeaseCheckpoint": False,
    "LeaseCheckpointPersist": False,
    "PriorityRequest": False,
    "SetMemberLocalAddr": False,
    "StopGRPCServiceOnDefrag": False,
}
_BETA = {
    "FastLeaseKeepAlive": True,
    "TxnModeWriteWithSharedBuffer": True,
}
_GROUPS = {"AllAlpha": tuple(_ALPHA), "AllBeta": tuple(_BETA)}

FEATURES: Mapping[str, bool] = {**_ALPHA, **_BETA}

EARLIER_FLAGS_OF_FEATURES: Mapping[str, str] = {
    "experimental-initial-corrupt-check": "InitialCorruptCheck",
    "experimental-compact-hash-check-enabled": "CompactHashCheck",
    "experimental-enable-lease-checkpoint": "LeaseCheckpoint",
    "experimental-enable-lease-checkpoint-persist": "LeaseCheckpointPersist",
    "experimental-stop-grpc-service-on-defrag": "StopGRPCServiceOnDefrag",
    "experimental-txn-mode-write-with-shared-buffer": "TxnModeWriteWithSharedBuffer",
}
"""Boolean flags of etcd before 3.6, and the gates they became."""


def stage(name: str) -> str:
    """How settled a feature is: `ALPHA` or `BETA`."""
    return "ALPHA" if name in _ALPHA else "BETA"


def parse_features(text: str) -> Mapping[str, bool]:
    """`name=bool,name=bool` as a mapping of those that are named; `AllAlpha` and `AllBeta` stand for several.

    Raises:
        ValueError: there is no such feature, or no such value.
    """
    chosen: dict[str, bool] = {}
    grouped: dict[str, bool] = {}
    for pair in filter(None, (piece.strip() for piece in text.split(","))):
        name, separator, value = pair.partition("=")
        if name not in FEATURES and name not in _GROUPS:
            raise ValueError(f"unrecognized feature gate: {name}")
        if not separator:
            raise ValueError(f"missing bool value for {name}")
        if value.lower() not in ("true", "false", "1", "0", "t", "f"):
            raise ValueError(f"invalid value of {name}={value}")
        on = value.lower() in ("true", "1", "t")
        if name in _GROUPS:
            grouped.update(dict.fromkeys(_GROUPS[name], on))
        else:
            chosen[name] = on
    return {**grouped, **chosen}
