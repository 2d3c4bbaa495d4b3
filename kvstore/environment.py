"""The injected runtime, handed on from `raft` so that users of the store need not know of consensus."""

from raft.environment import (
    Clock,
    Environment,
    FileSystem,
    Randomness,
    RealClock,
    RealFileSystem,
    RealRandomness,
    SeededRandomness,
    TimerHandle,
    real_environment,
)

__all__ = [
    "Clock",
    "Environment",
    "FileSystem",
    "Randomness",
    "RealClock",
    "RealFileSystem",
    "RealRandomness",
    "SeededRandomness",
    "TimerHandle",
    "real_environment",
]
