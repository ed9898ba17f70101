"""The doors of programs that know a process by its address and not by its name."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.urls import resolve

PROBES = ("/healthz", "/readyz", "/metrics")


def answer_probes(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Health and metrics whatever the Host: kubelets and Prometheus ask each pod by its address, over plain HTTP.

    They say nothing that a name of ours would protect, build no address out of the Host, and need no session.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path not in PROBES:
            return get_response(request)
        answer: HttpResponseBase = resolve(request.path).func(request)
        return answer

    return middleware
