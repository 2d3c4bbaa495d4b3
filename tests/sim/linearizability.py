"""Is there an order of these operations on a register that fits what the clients saw?

The search of Wing and Gong with the memory of Lowe: take operations one after the other, each only when no other one
had returned before it was called, and remember which sets of operations were tried in which state. A write that got no
answer may have happened at any time after its call, or never.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

INFINITY = 1 << 60


@dataclass(slots=True)
class Operation:
    """One operation of one client: a write of `value`, or a read that returned it."""

    client: int
    is_write: bool
    value: int
    called: int
    returned: int = INFINITY


def is_linearizable(history: Sequence[Operation], initial: int = 0) -> bool:
    """Whether the operations on one register can be put in order; reads without answer must be left out."""
    # A write that got no answer and that nobody has seen may as well never have happened.
    seen_values = {operation.value for operation in history if not operation.is_write}
    operations = sorted(
        (it for it in history if it.returned < INFINITY or it.value in seen_values), key=lambda it: it.called
    )
    answered = 0
    for position, operation in enumerate(operations):
        if operation.returned < INFINITY:
            answered |= 1 << position
    stack = [(0, initial)]
    seen = set(stack)
    while stack:
        done, state = stack.pop()
        if done & answered == answered:
            return True
        first = (~done & (done + 1)).bit_length() - 1
        candidates = []
        deadline = INFINITY + 1
        for position in range(first, len(operations)):
            if done >> position & 1:
                continue
            operation = operations[position]
            if operation.called > deadline:
                break  # somebody returned before this one was called, and before all that follow
            deadline = min(deadline, operation.returned)
            candidates.append((1 << position, operation))
        for bit, operation in candidates:
            if not operation.is_write and operation.value != state:
                continue
            following = (done | bit, operation.value if operation.is_write else state)
            if following not in seen:
                seen.add(following)
                stack.append(following)
    return False
