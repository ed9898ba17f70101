"""People at a cluster, from outside: sign up, ask, read by sequence number, come back elsewhere.

Like the page, a tab that was cut sends again what nobody has accepted, with the same key.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import uuid
from typing import Any

import aiohttp

RETRY_SECONDS = 0.2
SUBSCRIBED = 2  # the ref
SILENCE_SECONDS = 90.0  # longer than any fault of these tests may last


class Tab:
    """One person's one tab. It checks every frame's numbers, and reconnects to the next address when it is cut."""

    def __init__(self, *urls: str) -> None:
        self._urls = list(urls)
        self._session = aiohttp.ClientSession(cookie_jar=Cookies(unsafe=True))
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._slug = ""
        self.names: dict[str, str] = {}
        self.text, self.seq, self.state, self.reconnects, self.resyncs = "", 0, "", 0, 0
        self.error: dict[str, Any] | None = None
        self._asked: dict[str, Any] = {}

    @property
    def slug(self) -> str:
        return self._slug

    async def get(self, path: str, **options: Any) -> tuple[int, str]:
        """Status and text of a page, from the address that is asked first."""
        async with self._session.get(self._urls[0] + path, **options) as response:
            return response.status, await response.text()

    async def log_out(self, url: str) -> None:
        """At the address ``url``."""
        await self._post(f"{url}/accounts/logout/", {})

    async def read_until_closed(self) -> int:
        """The code that the socket is closed with."""
        assert self._socket is not None
        while (message := await self._socket.receive(timeout=SILENCE_SECONDS)).type == aiohttp.WSMsgType.TEXT:
            self._take(json.loads(message.data))
        return self._socket.close_code or 0

    async def _post(self, address: str, form: dict[str, str]) -> None:
        """The form of a page, as it stands there."""
        page = await (await self._session.get(address)).text()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token, page[:500]
        form = {**form, "csrfmiddlewaretoken": token[1]}
        await self._session.post(address, data=form, headers={"Referer": address})

    async def sign_up(self) -> Tab:
        url = self._urls[0]
        form = {"email": f"{uuid.uuid4().hex}@example.com", "password1": "a quiet green kettle"}
        await self._post(f"{url}/accounts/signup/", form)
        home = await self._session.get(f"{url}/", allow_redirects=False)
        self._slug = home.headers["Location"].split("/")[2]
        await self.connect()
        return self

    def turn(self) -> None:
        """Ask at the next address from now on."""
        self._urls.append(self._urls.pop(0))

    async def connect(self) -> None:
        """To the first address that takes us; whoever failed is asked last next time."""
        while True:
            url = self._urls[0]
            try:
                address = f"{url.replace('http', 'ws', 1)}/ws/w/{self._slug}/"
                socket = await self._session.ws_connect(address, headers={"Origin": url}, max_msg_size=0)
                assert (await socket.receive_json(timeout=20))["type"] == "welcome"
                self._socket = socket
                return
            except (aiohttp.ClientError, TypeError, TimeoutError):
                self.turn()
                await asyncio.sleep(RETRY_SECONDS)

    async def ask(self, text: str = "Go on.") -> None:
        """Returns once it is accepted; ``error`` says why when it is refused."""
        self.names, self.text, self.seq, self.state, self.error = {}, "", 0, "queued", None
        self._asked = {"type": "send", "ref": 1, "key": str(uuid.uuid4()), "text": text}
        await self._send(self._asked)
        while not self.names and self.error is None:
            await self.step()

    async def read(self, until: Any = None) -> str:
        """Frames until ``until()`` holds, or to the end; the answer's text so far."""
        while self.state in ("queued", "streaming") and not (until and until()):
            await self.step()
        return self.text

    def has(self, words: int) -> Any:
        return lambda: len(self.text.split()) >= words

    async def step(self) -> None:
        """One frame, whatever it takes."""
        assert self._socket is not None
        try:
            message = await self._socket.receive(timeout=SILENCE_SECONDS)
        except aiohttp.ClientConnectionError:  # the answer to a ping found it cut
            return await self.come_back()
        if message.type != aiohttp.WSMsgType.TEXT:
            return await self.come_back()
        frame = json.loads(message.data)
        if frame["type"] == "error" and frame["ref"] == SUBSCRIBED and frame["error"]["code"] == "unavailable":
            await asyncio.sleep(frame["error"]["retry_after"] / 5)  # what is refused for now is asked again
            return await self._subscribe()
        return self._take(frame)

    async def ask_until_accepted(self, text: str = "Go on.") -> None:
        """Under one key, however often it is refused."""
        await self.ask(text)
        while self.error is not None:
            await asyncio.sleep(min(2.0, self.error["retry_after"] or 1.0))
            self.error = None
            await self._send(self._asked)
            while not self.names and self.error is None:
                await self.step()

    async def _subscribe(self) -> None:
        await self._send({"type": "subscribe", "ref": SUBSCRIBED, **self.names, "after_seq": self.seq})

    async def come_back(self) -> None:
        self.reconnects += 1
        await self.connect()
        if self.names and self.state in ("queued", "streaming"):
            await self._subscribe()
        elif self._asked and not self.names:
            await self._send(self._asked)

    async def read_along(self, tab: Tab) -> Tab:
        """As the same person, read the answer that ``tab`` reads, from its beginning. In a session of our own."""
        self._slug, self.names, self.state = tab._slug, tab.names, "queued"
        self._session.cookie_jar.update_cookies({cookie.key: cookie.value for cookie in tab._session.cookie_jar})
        await self.connect()
        await self.ask_again(1)
        return self

    async def ask_again(self, times: int) -> None:
        """For the whole answer, each time from its beginning."""
        for _ in range(times):
            await self._send({"type": "subscribe", "ref": 3, **self.names, "after_seq": 0})
            await asyncio.sleep(0.01)  # an earlier request is dropped for a later one, if it has not been answered yet

    def stop_reading(self) -> None:
        """As a laptop does whose lid is closed: the connection stays, and what comes stays in the kernel's buffers."""
        assert self._socket is not None
        connection = self._socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.pause_reading()

    async def leave(self) -> None:
        """The page is closed; its person stays logged in."""
        assert self._socket is not None
        await self._socket.close()

    async def close(self) -> None:
        await self._session.close()

    async def _send(self, frame: dict[str, Any]) -> None:
        """What a connection that has just been cut does not take, ``come_back`` sends."""
        assert self._socket is not None
        with contextlib.suppress(aiohttp.ClientConnectionError):
            await self._socket.send_json(frame)

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "accepted":
            self.names = {"message": frame["answer"]["id"], "generation": frame["generation"]}
        elif frame["type"] == "error":
            self.error = frame["error"]
            assert not self.names, f"refused after it was accepted: {self.error}"
        elif frame.get("generation") == self.names.get("generation"):
            self._take_answer(frame)

    def _take_answer(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "tokens":
            assert frame["first"] == self.seq + 1, f"{frame['first']} after {self.seq}: lost or doubled"
            self.text, self.seq = self.text + frame["text"], frame["last"]
        elif frame["type"] == "state":
            self.state = frame["state"]
        elif frame["type"] == "end":
            assert frame["seq"] == self.seq + 1
            self.state, self.seq = frame["state"], frame["seq"]
        elif frame["type"] == "resync":
            assert frame["text"].startswith(self.text), "the database contradicts what was read"
            self.text, self.state, self.resyncs = frame["text"], frame["state"], self.resyncs + 1


class Cookies(aiohttp.CookieJar):
    """Production's cookies are secure, and a test's loopback is not encrypted."""

    def filter_cookies(self, request_url: Any = None) -> Any:
        return super().filter_cookies(request_url.with_scheme("https"))
