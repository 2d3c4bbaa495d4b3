"""What is taken and what is free, when news comes late."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apiserver.registry.allocators import AddressRange, AllocationError, Holdings, PortRange, RangeFullError
from kvstore.environment import SeededRandomness
from tests.conformance.storage.fake_clock import FakeClock


def test_the_worked_example_of_the_module():
    holdings, clock = Holdings[int](), FakeClock()
    holdings.reserve("A", [80], clock)
    assert 80 in holdings
    holdings.observe("A", [80])
    assert 80 in holdings
    holdings.release("A", [80], clock)
    assert 80 not in holdings
    holdings.observe("A", [80])
    assert 80 not in holdings
    holdings.observe("A", None)
    assert 80 not in holdings
    holdings.observe("A", [80])
    assert 80 in holdings, "the release is forgotten with the object it was of"


def test_an_item_that_changed_hands_is_the_new_owners():
    holdings, clock = Holdings[int](), FakeClock()
    holdings.observe("A", [80])
    holdings.release("A", [80], clock)
    holdings.reserve("B", [80], clock)
    holdings.observe("A", [80])  # news from before
    holdings.observe("A", None)
    assert 80 in holdings
    holdings.observe("B", [80])
    assert 80 in holdings
    holdings.cancel("B", [80])  # too late to mean anything
    assert 80 in holdings


def test_a_failed_write_gives_back_what_it_reserved_and_nothing_else():
    holdings, clock = Holdings[int](), FakeClock()
    holdings.observe("A", [80])
    holdings.reserve("B", [81], clock)
    holdings.release("B", [81, 80], clock)
    assert 81 not in holdings
    assert 80 in holdings


def test_what_is_never_confirmed_is_forgotten():
    holdings, clock = Holdings[int](), FakeClock()
    holdings.observe("A", [1])
    holdings.release("A", [1], clock)
    holdings.reserve("B", [2], clock)
    clock.seconds += 59
    holdings.expire(clock)
    assert (1 in holdings, 2 in holdings) == (False, True)
    clock.seconds += 2
    holdings.expire(clock)
    assert (1 in holdings, 2 in holdings) == (True, False)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["create", "delete", "hear"]), st.integers(0, 3)), max_size=40))
def test_with_news_however_late_no_item_is_given_out_twice(steps):
    """One item, a watch that is behind: what the store says and what the holdings say agree at each decision."""
    holdings, clock = Holdings[int](), FakeClock()
    holder: str | None = None
    news: list[tuple[str, list[int] | None]] = []
    for number, (step, count) in enumerate(steps):
        if step == "create":
            assert (80 in holdings) == (holder is not None)
            if 80 not in holdings:
                holder = f"owner-{number}"
                holdings.reserve(holder, [80], clock)
                news.append((holder, [80]))
        elif step == "delete" and holder is not None:
            holdings.release(holder, [80], clock)
            news.append((holder, None))
            holder = None
        else:
            for owner, items in news[:count]:
                holdings.observe(owner, items)
            del news[:count]


@pytest.mark.parametrize(
    ("cidr", "first", "dynamic"),
    [
        ("10.0.0.0/24", "10.0.0.1", range(17, 255)),
        ("10.0.0.0/28", "10.0.0.1", range(1, 15)),
        ("10.0.0.0/29", "10.0.0.1", range(1, 7)),
    ],
)
def test_the_lower_part_of_a_range_is_used_last(cidr, first, dynamic):
    addresses, taken, randomness = AddressRange(cidr), set[str](), SeededRandomness(1)
    assert addresses.first == first
    for _ in dynamic:
        taken.add(addresses.pick(taken, randomness))
    assert taken == {f"10.0.0.{number}" for number in dynamic}
    while True:
        try:
            taken.add(addresses.pick(taken, randomness))
        except RangeFullError:
            break
    assert len(taken) == dynamic.stop - 1, "neither the network's address nor the broadcast address"


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ("10.0.0.1", None),
        ("10.0.0.254", None),
        ("10.0.0.0", "the provided IP (10.0.0.0) is not in the valid range. The range of valid IPs is 10.0.0.0/24"),
        ("10.0.0.255", "the provided IP (10.0.0.255) is not in the valid range. The range of valid IPs is 10.0.0.0/24"),
        ("10.0.1.0", "the provided network does not match the current range"),
    ],
)
def test_addresses_of_a_range(wanted, problem):
    addresses = AddressRange("10.0.0.0/24")
    if problem is None:
        assert addresses.check(wanted) == wanted
    else:
        with pytest.raises(AllocationError) as raised:
            addresses.check(wanted)
        assert str(raised.value) == problem


def test_ports_are_given_out_above_the_band_first():
    ports, taken, randomness = PortRange(30000, 30127), set[int](), SeededRandomness(1)
    for _ in range(112):
        taken.add(ports.pick(taken, randomness))
    assert taken == set(range(30016, 30128))
    taken.add(ports.pick(taken, randomness))
    assert min(taken) == 30000
    taken |= set(range(30000, 30016))
    with pytest.raises(RangeFullError):
        ports.pick(taken, randomness)
