"""Quantities: parsing, canonical form, rounding, arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.api.quantity import (
    BINARY_SI,
    DECIMAL_EXPONENT,
    DECIMAL_SI,
    MILLI,
    Quantity,
    QuantityError,
    canonical_quantity,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("0Mi", "0"),
        ("00", "0"),
        ("1", "1"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("1500m", "1500m"),
        ("2000m", "2"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("-1.5", "-1500m"),
        ("100n", "100n"),
        ("1000u", "1m"),
        ("1.5Gi", "1536Mi"),
        ("1024Ki", "1Mi"),
        ("1024Mi", "1Gi"),
        ("100Ki", "100Ki"),
        ("0.5Mi", "512Ki"),
        ("0.001Ki", "1024m"),
        ("1.1Ki", "1126400m"),
        ("12e6", "12e6"),
        ("12000e3", "12e6"),
        ("1E", "1E"),
        ("1000000000000000000000", "1000E"),
        ("1e-30", "1e-9"),
        # Finer than a nano is rounded away from zero.
        ("0.1n", "1n"),
        ("0.0000000001", "1n"),
        ("-0.0000000001", "-1n"),
        # BinarySI stops at 2^63 - 1.
        ("9Ei", "9223372036854775807"),
        ("-9Ei", "-9223372036854775807"),
        # The quick scanner keeps what looks canonical.
        ("+5", "+5"),
        ("1.500", "1.500"),
        ("1E3", "1E3"),
        (" 1 ", "1"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    assert canonical_quantity(text) == canonical


@pytest.mark.parametrize("text", ["", "a", "1.1.1", "1 Mi", "1٣", "0x10"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(QuantityError, match="quantities must match the regular expression"):
        Quantity.parse(text)


@pytest.mark.parametrize("text", ["1MM", "1m5", "--1", "1e", "1ki", "1mi", "1K", "1e5000", "1e99999999999"])
def test_unknown_suffixes(text: str) -> None:
    with pytest.raises(QuantityError, match="unable to parse quantity's suffix"):
        Quantity.parse(text)


def test_arithmetic_keeps_the_format_of_the_left_side() -> None:
    assert str(Quantity.parse("1Gi") + Quantity.parse("1Mi")) == "1025Mi"
    assert str(Quantity.parse("100m") + Quantity.parse("900m")) == "1"
    assert str(Quantity.parse("0") + Quantity.parse("1Gi")) == "1Gi"
    assert str(Quantity.parse("1Gi") - Quantity.parse("1Gi")) == "0"
    assert str(Quantity.parse("1") - Quantity.parse("1500m")) == "-500m"
    assert str(-Quantity.parse("2")) == "-2"
    assert str(Quantity.parse("250m") * 4) == "1"


def test_comparison_is_by_value() -> None:
    assert Quantity.parse("1024Mi") == Quantity.parse("1Gi")
    assert hash(Quantity.parse("1024Mi")) == hash(Quantity.parse("1Gi"))
    assert Quantity.parse("999m") < Quantity.parse("1")
    assert Quantity.parse("1").compare(Quantity.parse("999m")) == 1
    assert Quantity.parse("-1").sign() == -1
    assert not Quantity.parse("0Ki")
    assert Quantity.parse("1") != "1"


def test_rounding_is_away_from_zero() -> None:
    assert Quantity.parse("1100m").value() == 2
    assert Quantity.parse("-1100m").value() == -2
    assert Quantity.parse("1u").milli_value() == 1
    assert str(Quantity.parse("1u").round_up(MILLI)) == "1m"
    unchanged = Quantity.parse("1.500")
    assert unchanged.round_up(MILLI) is unchanged


def test_made_from_integers() -> None:
    assert str(Quantity.of(2048, BINARY_SI)) == "2Ki"
    assert str(Quantity.of(1000, DECIMAL_EXPONENT)) == "1e3"
    assert str(Quantity.of_milli(1500)) == "1500m"
    assert Quantity.of(3).is_integer()
    assert Quantity.of_milli(1500).as_float() == 1.5
    assert repr(Quantity.of(3)) == "Quantity('3')"


@given(st.integers(-(2**62), 2**62), st.sampled_from([DECIMAL_SI, BINARY_SI, DECIMAL_EXPONENT]))
def test_canonical_form_reads_back_as_the_same_value(nanos: int, format: str) -> None:
    quantity = Quantity(nanos, format)
    again = Quantity.parse(str(quantity))
    assert again == quantity
    assert str(again) == str(quantity)


@given(st.text(alphabet="0123456789.+-eEinumkKMGTP ", max_size=12))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        quantity = Quantity.parse(text)
    except QuantityError:
        return
    assert Quantity.parse(str(quantity)) == quantity
