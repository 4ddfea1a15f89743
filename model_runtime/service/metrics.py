"""Counts and times of one service, as Prometheus text. Knows no path, no text and no client."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from model_runtime.protocol import Done, Problem

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One service's counters; every service has its own, so that two in a process do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("lacuna_requests", "Infills by how they ended", ["finish"], registry=self._registry)
        self._tokens = Counter("lacuna_tokens", "Tokens by what was done", ["stage"], registry=self._registry)
        self._waiting = Gauge("lacuna_waiting", "Infills taken and not ended", registry=self._registry)
        self._stages = Histogram(
            "lacuna_stage_seconds", "Seconds by stage", ["stage"], buckets=_SECONDS, registry=self._registry
        )
        self.taken = 0

    def take(self) -> None:
        """An infill was accepted."""
        self.taken += 1

    def wait(self, length: int) -> None:
        """So many infills are under way."""
        self._waiting.set(length)

    def finish(self, outcome: Done | Problem) -> None:
        """An infill ended."""
        if isinstance(outcome, Problem):
            self._requests.labels(outcome.type).inc()
            return
        usage = outcome.usage
        self._requests.labels(outcome.finish).inc()
        for stage, count in (("prefilled", usage.prefilled), ("reused", usage.reused), ("generated", usage.generated)):
            self._tokens.labels(stage).inc(count)
        for stage, spent in (
            ("queue", usage.queue_ms),
            ("layout", usage.layout_ms),
            ("prefill", usage.prefill_ms),
            ("decode", usage.decode_ms),
            ("model", usage.model_ms),
        ):
            self._stages.labels(stage).observe(spent / 1000)

    def answer(self, seconds: float) -> None:
        """An infill was answered, to its last byte, so long after it was taken."""
        self._stages.labels("total").observe(seconds)

    def watch_connections(self, count: Callable[[], int]) -> None:
        """How to learn how many connections there are."""
        Gauge("lacuna_connections", "Connections open", registry=self._registry).set_function(count)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return bytes(generate_latest(self._registry))
