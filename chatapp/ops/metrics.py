"""Engine and queue figures for Prometheus, read from the transport when it asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chatapp.queue.model_status import read_stats


class TransportCollector(Collector):
    """Jobs waiting and running, workers by state, and every counter a worker reports."""

    def collect(self) -> Iterator[Metric]:
        stats = read_stats()
        yield GaugeMetricFamily("chatapp_jobs_waiting", "Jobs in the queue.", value=stats.waiting)
        yield GaugeMetricFamily("chatapp_jobs_running", "Jobs that a worker holds.", value=stats.running)
        workers = GaugeMetricFamily("chatapp_workers", "Live workers.", labels=["worker", "model", "state"])
        counters = GaugeMetricFamily("chatapp_engine", "Figures of a worker's engine.", labels=["worker", "name"])
        for worker in stats.workers:
            workers.add_metric([worker.worker, worker.model, worker.state], 1)
            for name, value in worker.counters.items():
                counters.add_metric([worker.worker, name], value)
        yield workers
        yield counters
