"""Which configuration was in force at which index, as far back as a snapshot may be taken."""

from __future__ import annotations

from raft.core import ConfState

__all__ = ["ConfHistory"]


class ConfHistory:
    """Configurations with the index of the entry that made each, the oldest first; there is always one."""

    def __init__(self, index: int, state: ConfState) -> None:
        self._states = [(index, state)]

    @property
    def newest(self) -> ConfState:
        """The one in force."""
        return self._states[-1][1]

    def note(self, index: int, state: ConfState) -> None:
        """The entry at `index` has made `state` the configuration."""
        self._states.append((index, state))

    def at(self, index: int) -> ConfState:
        """The one in force once the entry at `index` was applied."""
        return next((state for changed_at, state in reversed(self._states) if changed_at <= index), self._states[0][1])

    def forget_before(self, index: int) -> None:
        """Nobody will ask for what was in force before `index`."""
        while len(self._states) > 1 and self._states[1][0] <= index:
            del self._states[0]
