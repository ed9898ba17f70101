"""Engine and queue figures for Prometheus, read from the transport when it asks."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import DatabaseError
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chatapp.queue.model_status import read_stats

from .models import TaskRun


class TransportCollector(Collector):
    """Jobs waiting and running, workers by state, and every counter a worker reports."""

    def collect(self) -> Iterator[Metric]:
        stats = read_stats()
        yield GaugeMetricFamily("chatapp_jobs_waiting", "Jobs in the queue.", value=stats.waiting)
        yield GaugeMetricFamily("chatapp_jobs_running", "Jobs that a worker holds.", value=stats.running)
        workers = GaugeMetricFamily("chatapp_workers", "Live workers.", labels=["worker", "kind", "model", "state"])
        counters = GaugeMetricFamily("chatapp_engine", "Figures of a worker's engine.", labels=["worker", "name"])
        for worker in stats.workers:
            workers.add_metric([worker.worker, worker.kind, worker.model, worker.state], 1)
            for name, value in worker.counters.items():
                counters.add_metric([worker.worker, name], value)
        yield workers
        yield counters


class TaskCollector(Collector):
    """Runs of periodic tasks by what became of them, and when each last did what it is for."""

    def describe(self) -> Iterator[Metric]:
        """Asked when it is registered, and there may be no table yet."""
        yield self._runs()
        yield self._successes()

    def collect(self) -> Iterator[Metric]:
        runs, successes = self._runs(), self._successes()
        last: dict[str, float] = {}
        for row in self._rows():
            runs.add_metric([row.task, row.outcome], row.count)
            if row.outcome in TaskRun.GOOD:
                last[row.task] = max(last.get(row.task, 0.0), row.last_at.timestamp())
        for task, at in last.items():
            successes.add_metric([task], at)
        yield runs
        yield successes

    def _rows(self) -> list[TaskRun]:
        try:
            return list(TaskRun.objects.order_by("task", "outcome"))
        except DatabaseError:  # the other figures are wanted all the more
            return []

    def _runs(self) -> CounterMetricFamily:
        words = "Runs of a periodic task: done, late, failed, expired (dropped, being too late), skipped."
        return CounterMetricFamily("chatapp_task_runs", words, labels=["task", "outcome"])

    def _successes(self) -> GaugeMetricFamily:
        words = "When a periodic task last did its work."
        return GaugeMetricFamily("chatapp_task_last_success_timestamp_seconds", words, labels=["task"])
