"""Random histories on mini-etcd and on etcd 3.5.1, side by side through one client: the same answers.

Compared are all fields of every response but ids and terms, revisions, events and errors with code and text.

    make differential EXAMPLES=100000
"""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.model.differential.auth_histories import auth_histories
from tests.model.differential.histories import Operation, histories
from tests.model.differential.pair import EXAMPLES, Pair, examples

# Both on one worker, so that there is one pair of servers.
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("differential"),
    pytest.mark.timeout(300 * max(1, EXAMPLES // 500)),
]


@examples(EXAMPLES)
@given(history=histories())
def test_histories(pair: Pair, history: list[Operation]) -> None:
    pair.compare(history)


@examples(max(EXAMPLES // 5, 1))
@given(history=auth_histories())
def test_histories_with_users(pair: Pair, history: list[Operation]) -> None:
    """The same with authentication, which is turned on somewhere on the way."""
    pair.compare(history)


def test_the_servers_are_what_they_are_taken_for(pair: Pair) -> None:
    """The comparison would be of no use if both were the same program."""
    ours, theirs = pair.ours.version(), pair.theirs.version()
    assert theirs.startswith("3.5.")
    assert ours != theirs
