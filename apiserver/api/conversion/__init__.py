"""Objects from one version of their kind to another.

Most versions that share storage have the same shape, so that a conversion renames the apiVersion. The kinds whose shape
differs have a pair of functions in `CONVERSIONS`; these are the rules of kubernetes' `pkg/apis/*/*/conversion.go`.
"""

from __future__ import annotations

from apiserver.api.conversion.table import CONVERSIONS, ConversionError, Convert, convert

__all__ = ["CONVERSIONS", "ConversionError", "Convert", "convert"]
