"""Is there an order of these operations on a register that fits what the clients saw?

Two answers to the same question. `search_order` is the search of Wing and Gong with the memory of Lowe, right for
whatever is written and exponential in the number of concurrent writes. `is_linearizable` needs every value to be
written at most once and takes hardly any time (Gibbons and Korach, "Testing Shared Memories"). The tests hold one
against the other.

A write that got no answer may have happened at any time after its call, or never.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

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
    """Whether the operations on one register can be put in order; reads without answer must be left out.

    A write and the reads of its value stand together. If one of them returned (first at `first_end`) before another was
    called (last at `last_start`), the register had the value all that time; no other value can have been there in
    between, neither one for which the same holds, nor one whose operations all lie within.
    """
    clusters: dict[int, list[int]] = {initial: [-1, -1, -1]}  # value -> call of the write, first_end, last_start
    for it in history:
        if it.is_write:
            assert it.value not in clusters, f"{it.value} is written twice"
            clusters[it.value] = [it.called, it.returned, it.called]
    for it in history:
        if it.is_write:
            continue
        cluster = clusters.get(it.value)
        if cluster is None or it.returned < cluster[0]:
            return False  # nobody had written it yet
        cluster[1] = min(cluster[1], it.returned)
        cluster[2] = max(cluster[2], it.called)
    held = sorted((first_end, last_start) for _, first_end, last_start in clusters.values() if first_end < last_start)
    if any(following[0] < before[1] for before, following in pairwise(held)):
        return False
    brief = [(last_start, first_end) for _, first_end, last_start in clusters.values() if last_start <= first_end]
    return not any(start < earliest and latest < end for earliest, latest in brief for start, end in held)


def search_order(history: Sequence[Operation], initial: int = 0) -> bool:
    """The same by search."""
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
