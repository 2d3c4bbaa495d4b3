"""`/metrics`, with the names and labels of k8s.io/apiserver `endpoints/metrics`.

The hot path counts in plain Python objects, found by one dictionary lookup; `prometheus_client` is imported, and its
metric families are made, when somebody asks for them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from apiserver.request import Request, RequestInfo, Response

if TYPE_CHECKING:
    from prometheus_client.core import HistogramMetricFamily, Metric

__all__ = ["Histogram", "InFlightObserver", "Metrics", "RequestSeries"]

InFlightObserver = Callable[[bool, int], None]

DURATION_BUCKETS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0,
    4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
)  # fmt: skip
SIZE_BUCKETS = tuple(1000.0 * 10**power for power in range(7))
EVENT_SIZE_BUCKETS = tuple(1024.0 * 2**power for power in range(8))
ETCD_BUCKETS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
)  # fmt: skip

_VERBS = {"get": "GET", "list": "LIST", "watch": "WATCH", "create": "POST", "update": "PUT", "patch": "PATCH"}
_LABELS = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component")
_SLOW_LABELS = ("verb", "group", "version", "resource", "subresource", "scope", "component")


class Histogram:
    """Counts by bucket, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Add one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Buckets as Prometheus wants them."""
        total = 0
        result: list[tuple[str, float]] = []
        for bound, count in zip((*map(_bound_text, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            result.append((bound, float(total)))
        return result


def _bound_text(bound: float) -> str:
    return repr(bound)


class RequestSeries:
    """What is counted for requests of one sort."""

    __slots__ = ("codes", "duration", "labels", "long_running", "sizes")

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.codes: dict[int, int] = {}
        self.duration = Histogram(DURATION_BUCKETS)
        self.sizes = Histogram(SIZE_BUCKETS)
        self.long_running = 0

    def observe(self, code: int, seconds: float, size_bytes: int | None) -> None:
        """Count one answered request."""
        self.codes[code] = self.codes.get(code, 0) + 1
        self.duration.observe(seconds)
        if size_bytes is not None:
            self.sizes.observe(size_bytes)


class WatchSeries:
    """Events sent to watchers of one resource."""

    __slots__ = ("sizes",)

    def __init__(self) -> None:
        self.sizes = Histogram(EVENT_SIZE_BUCKETS)


class Metrics:
    """Everything that `/metrics` shows.

    Other parts of the server add their own by `add_source`.
    """

    def __init__(self) -> None:
        self._requests: dict[tuple[str, ...], RequestSeries] = {}
        self._watches: dict[tuple[str, str, str], WatchSeries] = {}
        self._in_flight_max = [0, 0]
        self._etcd: dict[tuple[str, str], Histogram] = {}
        self._health: dict[tuple[str, str], list[int]] = {}
        self._sources: list[Callable[[], Iterable[Metric]]] = []

    def add_source(self, source: Callable[[], Iterable[Metric]]) -> None:
        """A function that gives further metric families (`prometheus_client.core`) whenever they are asked for."""
        self._sources.append(source)

    def request_series(self, info: RequestInfo, dry_run: bool) -> RequestSeries:
        """Where requests like this one are counted."""
        verb = _VERBS.get(info.verb) or info.verb.upper()
        scope = "namespace" if info.namespace else "cluster"
        if info.name or verb == "POST":
            scope = "resource"
        dry = "All" if dry_run else ""
        key = (verb, dry, info.api_group, info.api_version, info.resource, info.subresource, scope)
        series = self._requests.get(key)
        if series is None:
            series = self._requests[key] = RequestSeries((*key, "apiserver"))
        return series

    def path_series(self, verb: str, path: str) -> RequestSeries:
        """Where requests for a path such as `/readyz` are counted."""
        key = (verb, "", "", "", "", path, "")
        series = self._requests.get(key)
        if series is None:
            series = self._requests[key] = RequestSeries((*key, ""))
        return series

    def watch_series(self, group: str, version: str, resource: str) -> WatchSeries:
        """Where the events of a resource's watches are counted."""
        return self._watches.setdefault((group, version, resource), WatchSeries())

    def observe_in_flight(self, mutating: bool, count: int) -> None:
        """Told by the filter that bounds requests in flight; `/metrics` shows the most since it was last asked."""
        if count > self._in_flight_max[mutating]:
            self._in_flight_max[mutating] = count

    def observe_etcd_request(self, operation: str, resource: str, seconds: float) -> None:
        """Told by the storage after each request to the store."""
        histogram = self._etcd.get((operation, resource))
        if histogram is None:
            histogram = self._etcd[operation, resource] = Histogram(ETCD_BUCKETS)
        histogram.observe(seconds)

    def observe_health(self, name: str, kind: str, healthy: bool) -> None:
        """Told of each run of a health check; `kind` is healthz, livez or readyz."""
        counts = self._health.setdefault((name, kind), [0, 0, 0])
        counts[healthy] += 1
        counts[2] = int(healthy)

    async def slis_handler(self, request: Request) -> Response:
        """Serves `/metrics/slis`: the health checks (KEP-3466)."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Health(self._health))
        return Response(200, generate_latest(registry), CONTENT_TYPE_LATEST)

    async def handler(self, request: Request) -> Response:
        """Serves `/metrics`."""
        from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        body = generate_latest(registry) + generate_latest(REGISTRY)
        return Response(200, body, CONTENT_TYPE_LATEST)

    def collect(self) -> Iterator[Metric]:
        """All metric families (the interface of a `prometheus_client` collector)."""
        yield from self._collect_requests()
        yield from self._collect_watches()
        yield self._collect_in_flight()
        yield self._collect_etcd()
        for source in self._sources:
            yield from source()

    def _collect_requests(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        total = CounterMetricFamily(
            "apiserver_request",
            "Counter of apiserver requests by sort and HTTP response code.",
            labels=(*_LABELS, "code"),
        )
        duration = _family("apiserver_request_duration_seconds", "Response latency distribution in seconds.", _LABELS)
        sizes = _family("apiserver_response_sizes", "Response size distribution in bytes.", _SLOW_LABELS)
        running = GaugeMetricFamily(
            "apiserver_longrunning_requests",
            "Gauge of all active long-running apiserver requests.",
            labels=_SLOW_LABELS,
        )
        for series in list(self._requests.values()):
            labels = series.labels
            without_dry_run = (labels[0], *labels[2:])
            for code, count in series.codes.items():
                total.add_metric((*labels, str(code)), count)
            duration.add_metric(labels, buckets=series.duration.cumulative(), sum_value=series.duration.sum)
            if labels[0] in ("GET", "LIST") and not labels[1]:
                sizes.add_metric(without_dry_run, buckets=series.sizes.cumulative(), sum_value=series.sizes.sum)
            if labels[0] == "WATCH":
                running.add_metric(without_dry_run, series.long_running)
        yield from (total, duration, sizes, running)

    def _collect_watches(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        labels = ("group", "version", "resource")
        total = CounterMetricFamily("apiserver_watch_events", "Number of events sent in watch clients.", labels=labels)
        sizes = _family("apiserver_watch_events_sizes", "Watch event size distribution in bytes.", labels)
        for key, series in list(self._watches.items()):
            total.add_metric(key, sum(series.sizes.counts))
            sizes.add_metric(key, buckets=series.sizes.cumulative(), sum_value=series.sizes.sum)
        yield from (total, sizes)

    def _collect_in_flight(self) -> Metric:
        from prometheus_client.core import GaugeMetricFamily

        gauge = GaugeMetricFamily(
            "apiserver_current_inflight_requests",
            "Maximal number of requests in flight since the last scrape, per request kind.",
            labels=("request_kind",),
        )
        for mutating, kind in ((1, "mutating"), (0, "readOnly")):
            gauge.add_metric((kind,), self._in_flight_max[mutating])
        self._in_flight_max = [0, 0]
        return gauge

    def _collect_etcd(self) -> HistogramMetricFamily:
        labels = ("operation", "type")
        family = _family("etcd_request_duration_seconds", "Etcd request latency in seconds.", labels)
        for key, histogram in list(self._etcd.items()):
            family.add_metric(key, buckets=histogram.cumulative(), sum_value=histogram.sum)
        return family


class _Health:
    """Collector of `/metrics/slis`: [failed, succeeded, last result] by check and endpoint."""

    def __init__(self, health: dict[tuple[str, str], list[int]]) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """See `Metrics.collect`."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        last = GaugeMetricFamily("kubernetes_healthcheck", "Result of a single check.", labels=("name", "type"))
        total = CounterMetricFamily("kubernetes_healthchecks", "Results of checks.", labels=("name", "type", "status"))
        for (name, kind), (failed, succeeded, latest) in list(self._health.items()):
            last.add_metric((name, kind), latest)
            for status, count in (("error", failed), ("success", succeeded)):
                if count:
                    total.add_metric((name, kind, status), count)
        yield from (last, total)


def _family(name: str, text: str, labels: tuple[str, ...]) -> HistogramMetricFamily:
    from prometheus_client.core import HistogramMetricFamily

    return HistogramMetricFamily(name, text, labels=labels)
