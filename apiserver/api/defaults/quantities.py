"""Resource quantities in defaulting: none is finer than a thousandth (core/v1 `SetDefaults_ResourceList`)."""

from __future__ import annotations

from typing import Final

from apiserver.api.quantity import Quantity

__all__ = ["round_up_to_milli"]

_MILLI_SCALE: Final = -3


def round_up_to_milli(text: str) -> str:
    """A canonical quantity rounded away from zero to a multiple of 1m; `1500u` becomes `2m`.

    Only canonical texts with the suffix u or n, or a negative decimal exponent, can be finer than that.
    """
    if text and (text[-1] in "un" or "e-" in text):
        return str(Quantity.parse(text).round_up(_MILLI_SCALE))
    return text
