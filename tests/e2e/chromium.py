"""A browser that may hang: one that does not do in time what takes a moment is killed, and the next test gets another.

Chromium 156 never answers the command to close a context or a page in about one of ten navigations that it interrupts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from playwright.sync_api import Browser, BrowserContext, Error, Playwright

CHROMIUM = "/usr/bin/chromium"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NO_BUS = {"DBUS_SESSION_BUS_ADDRESS": "disabled:", "DBUS_SYSTEM_BUS_ADDRESS": "disabled:"}  # a container has none
PATIENCE = 20.0  # s; a busy machine needs 3

T = TypeVar("T")


class Hung(Exception):
    """The browser was killed; the next one is another."""


class Chromium:
    """One browser process at a time, and the contexts that are open in it."""

    def __init__(self, playwright: Playwright, patience: float = PATIENCE) -> None:
        self.playwright, self._patience = playwright, patience
        self._browser: Browser | None = None
        self._killed = False
        self.group = 0  # of processes: the browser and all that it started

    def new_context(self, **settings: Any) -> BrowserContext:
        """In the browser there is, or in a new one where that does not answer."""
        browser = self._living()
        try:
            return self._in_time(lambda: browser.new_context(**settings))
        except Hung as hung:
            warnings.warn(f"No context: {hung}", stacklevel=2)
        browser = self._living()
        return self._in_time(lambda: browser.new_context(**settings))

    def close_context(self, context: BrowserContext) -> None:
        if context.browser is not self._browser:
            return  # it went with a browser that was killed
        try:
            self._in_time(lambda: close_calmly(context))
        except Hung as hung:
            warnings.warn(f"A context did not close: {hung}", stacklevel=2)

    def close(self) -> None:
        if self._browser is not None and not self._killed:
            try:
                self._in_time(self._browser.close)
            except Hung as hung:
                warnings.warn(f"The browser did not close: {hung}", stacklevel=2)

    def _living(self) -> Browser:
        if self._browser is None or self._killed or not self._browser.is_connected():
            environment = {**os.environ, **NO_BUS}
            self._browser = self.playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET, env=environment)
            self._killed, self.group = False, os.getpgid(process_of(self._browser))
        return self._browser

    def _in_time(self, act: Callable[[], T]) -> T:
        """Raises ``Hung`` once the browser is killed; playwright then gives up what it waits for."""
        watchdog = threading.Timer(self._patience, self._kill)
        watchdog.start()
        try:
            done = act()
        except Error:
            if not self._killed:
                raise
        finally:
            watchdog.cancel()
            watchdog.join()
        if self._killed:
            raise Hung(f"Chromium {self.group} was killed after {self._patience:.0f} s")
        return done

    def _kill(self) -> None:
        self._killed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)


def close_calmly(context: BrowserContext) -> None:
    """Not in the middle of a navigation: each page first goes where there is nothing to wait for."""
    for page in context.pages:
        with contextlib.suppress(Error):  # closed, or on its way somewhere else once more
            page.goto("about:blank")
    context.close()


def process_of(browser: Browser) -> int:
    """Process id of the browser itself."""
    session = browser.new_browser_cdp_session()
    listed = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return next(process["id"] for process in listed if process["type"] == "browser")
