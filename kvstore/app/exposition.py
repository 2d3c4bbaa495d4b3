"""Prometheus' text form of metrics (version 0.0.4), written by hand.

prometheus-client could collect the same families, but it adds `_total` to the name of every counter, and etcd has
counters without (`etcd_server_health_success`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from kvstore.server.metrics import Histogram, HistogramFamily

__all__ = ["CONTENT_TYPE", "Family", "counter", "gauge", "histogram", "histograms", "render"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]
Samples = Iterable[tuple[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class Family:
    """Metrics of one name.

    Attributes:
        labels: names of the labels; each sample has a value for every one.
        samples: numbers, or histograms, by label values.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    samples: Sequence[tuple[tuple[str, ...], float | Histogram]]


def gauge(name: str, value: float | None = None, labels: tuple[str, ...] = (), samples: Samples = ()) -> Family:
    """Something that goes up and down: one value, or one for each combination of label values."""
    return Family(name, "gauge", labels, [*samples] if value is None else [((), value)])


def counter(name: str, value: float | None = None, labels: tuple[str, ...] = (), samples: Samples = ()) -> Family:
    """Something that only grows."""
    return Family(name, "counter", labels, [*samples] if value is None else [((), value)])


def histogram(name: str, value: Histogram) -> Family:
    """A distribution."""
    return Family(name, "histogram", (), [((), value)])


def histograms(name: str, labels: tuple[str, ...], values: HistogramFamily) -> Family:
    """Distributions by label values."""
    return Family(name, "histogram", labels, list(values))


def render(families: Iterable[Family]) -> bytes:
    """The families as text, sorted by name."""
    lines: list[str] = []
    for family in sorted(families, key=lambda family: family.name):
        lines.append(f"# TYPE {family.name} {family.kind}")
        for values, value in family.samples:
            pairs = [f'{name}="{_escaped(text)}"' for name, text in zip(family.labels, values, strict=True)]
            if isinstance(value, Histogram):
                lines += _histogram_lines(family.name, pairs, value)
            else:
                lines.append(f"{family.name}{_braced(pairs)} {_number(value)}")
    return "\n".join([*lines, ""]).encode()


def _histogram_lines(name: str, pairs: list[str], value: Histogram) -> Iterable[str]:
    total = 0
    for bound, count in zip((*map(_number, value.bounds), "+Inf"), value.counts, strict=True):
        total += count
        labels = _braced([*pairs, f'le="{bound}"'])
        yield f"{name}_bucket{labels} {total}"
    yield f"{name}_sum{_braced(pairs)} {_number(value.sum)}"
    yield f"{name}_count{_braced(pairs)} {total}"


def _braced(pairs: list[str]) -> str:
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.12g}"
