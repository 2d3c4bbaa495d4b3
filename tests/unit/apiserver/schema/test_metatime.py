"""Times and durations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.api.metatime import (
    TimeError,
    canonical_micro_time,
    canonical_time,
    format_duration,
    format_micro_time,
    format_time,
    parse_duration,
    parse_micro_time,
    parse_time,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00Z"),
        ("2024-02-29T12:00:00.999Z", "2024-02-29T12:00:00Z"),
        ("2024-02-29T12:00:00+02:00", "2024-02-29T10:00:00Z"),
        ("2024-01-01T00:30:00-01:30", "2024-01-01T02:00:00Z"),
        ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
        ("0001-01-01T00:00:00Z", None),
    ],
)
def test_time(text: str, canonical: str | None) -> None:
    assert canonical_time(text) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'cannot parse "" as "2006"'),
        ("2024-01-01", 'as "2006-01-02T15:04:05Z07:00"'),
        ("2024-13-01T00:00:00Z", "month out of range"),
        ("2023-02-29T00:00:00Z", "day out of range"),
        ("2024-01-01T24:00:00Z", "hour out of range"),
        ("2024-01-01T00:60:00Z", "minute out of range"),
        ("2024-01-01T00:00:60Z", "second out of range"),
        ("2024-01-01T00:00:00+25:00", "time zone offset hour out of range"),
        ("2024-01-01t00:00:00z", "cannot parse"),
    ],
)
def test_what_is_no_time(text: str, message: str) -> None:
    with pytest.raises(TimeError) as error:
        canonical_time(text)
    assert message in str(error.value)


def test_micro_time_wants_six_digits() -> None:
    assert canonical_micro_time("2024-01-01T00:00:00.000001Z") == "2024-01-01T00:00:00.000001Z"
    assert canonical_micro_time("2024-01-01T01:00:00.500000+01:00") == "2024-01-01T00:00:00.500000Z"
    assert canonical_micro_time("0001-01-01T00:00:00.000000Z") is None
    for text in ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.001Z"):
        with pytest.raises(TimeError, match=r'as "\.000000"'):
            canonical_micro_time(text)


def test_years_that_cannot_be_written() -> None:
    with pytest.raises(TimeError, match="year outside of range"):
        format_time(10**15)


@given(st.integers(-62135596800, 253402300799), st.integers(0, 999999))
def test_times_read_back(seconds: int, micros: int) -> None:
    assert parse_time(format_time(seconds)) == seconds
    assert parse_micro_time(format_micro_time(seconds, micros)) == (seconds, micros)


@pytest.mark.parametrize(
    ("text", "nanoseconds", "canonical"),
    [
        ("0", 0, "0s"),
        ("1h15m30.918273645s", 4530918273645, "1h15m30.918273645s"),
        ("90m", 5400 * 10**9, "1h30m0s"),
        ("-1.5h", -5400 * 10**9, "-1h30m0s"),
        ("1.5ms", 1500000, "1.5ms"),
        ("1500us", 1500000, "1.5ms"),
        ("10µs", 10000, "10µs"),
        ("7ns", 7, "7ns"),
        ("+60s", 60 * 10**9, "1m0s"),
    ],
)
def test_duration(text: str, nanoseconds: int, canonical: str) -> None:
    assert parse_duration(text) == nanoseconds
    assert format_duration(nanoseconds) == canonical


@pytest.mark.parametrize("text", ["", "-", "1", "s", "1x", ".s", "1h 2m", "9999999h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(TimeError, match="time: "):
        parse_duration(text)


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_durations_read_back(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds
