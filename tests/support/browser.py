"""A headless Chromium for tests, spoken to over the pipe of its DevTools protocol: no driver, no further package."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
ANSWER_SECONDS = 60.0
BLANK = "about:blank"


def chromium() -> str | None:
    """The browser's program, None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser process with an empty profile, for use as a context manager."""

    def __init__(self, binary: str, profile: Path) -> None:
        commands, self._to_browser = os.pipe()
        self._from_browser, answers = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4. Both ends are moved out of the way of these two.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in (commands, answers)]
        shell = ["bash", "-c", 'exec "${@:3}" 3<&"$1" 4>&"$2"', "bash", *map(str, ends)]
        self._process = subprocess.Popen(
            [*shell, binary, *FLAGS, f"--user-data-dir={profile}", BLANK],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for end in (commands, answers, *ends):
            os.close(end)
        self._pending, self._last_id = b"", 0
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.call("Browser.close")
        finally:
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, 9)
                self._process.wait()
            os.close(self._to_browser)
            os.close(self._from_browser)

    def page(self) -> Page:
        """A new, empty page."""
        target = self.call("Target.createTarget", {"url": BLANK})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self._pages[session] = page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        return page

    def call(self, method: str, params: Mapping[str, Any] | None = None, session: str | None = None) -> Any:
        """A command's result. Raises RuntimeError with the browser's own words, TimeoutError without an answer."""
        self._last_id += 1
        wanted = self._last_id
        message = {"id": wanted, "method": method, "params": params or {}}
        os.write(
            self._to_browser, json.dumps({**message, **({"sessionId": session} if session else {})}).encode() + b"\0"
        )
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            answer = self._receive(deadline)
            if answer is None:
                raise TimeoutError(f"{method} was not answered")
            if answer.get("id") == wanted:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def listen(self, seconds: float) -> None:
        """Take what the pages have to say for a while."""
        deadline = time.monotonic() + seconds
        while self._receive(deadline) is not None:
            pass

    def _receive(self, deadline: float) -> dict[str, Any] | None:
        """The next message, None at the deadline; events go to their page on the way."""
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._from_browser], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            chunk = os.read(self._from_browser, 1 << 20)
            if not chunk:
                raise RuntimeError("the browser has ended")
            self._pending += chunk
        raw, _, self._pending = self._pending.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        page = self._pages.get(message.get("sessionId", ""))
        if "method" in message and page is not None:
            page.hear(message["method"], message["params"])
        return message


class Page:
    """A tab. problems: errors on its console, exceptions, and requests that failed, in words, since the last `open`."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self._is_loaded = False
        self.problems: list[str] = []

    def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        return self._browser.call(method, params, self._session)

    def hear(self, event: str, params: Mapping[str, Any]) -> None:
        """An event of this page."""
        if event == "Page.loadEventFired":
            self._is_loaded = True
        elif event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.problems.append(" ".join(str(a.get("value", a.get("description", ""))) for a in params["args"]))
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}".strip())

    def look(self, width: int, height: int = 900, *, dark: bool = False, media: str = "screen") -> None:
        """Choose width and height in pixels, the colour scheme, and `screen` or `print`."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})

    def open(self, address: str) -> None:
        """Go to an address and wait until it is loaded."""
        if address != BLANK:
            self.open(BLANK)  # where only what follows `#` differs, nothing would be loaded
        self.problems.clear()
        self._is_loaded = False
        error = self.call("Page.navigate", {"url": address}).get("errorText")
        if error:
            raise RuntimeError(f"{address}: {error}")
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self._is_loaded and time.monotonic() < deadline:
            self._browser.listen(0.05)
        assert self._is_loaded, f"{address} was not loaded"

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, promises awaited."""
        asked = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", asked)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']['exception']['description']}")
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60.0) -> Any:
        """The expression's first value that is true. AssertionError, with what the page shows, if there is none."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = self.evaluate(expression)
            if value:
                return value
            self._browser.listen(0.1)
        raise AssertionError(f"waited {seconds:g} s for {expression}; the page says: {self.text()[:2000]}")

    def wait_for_text(self, text: str, seconds: float = 60.0) -> None:
        """Wait until the page shows this text."""
        self.wait_for(f"document.body.innerText.includes({json.dumps(text)})", seconds)

    def click(self, selector: str) -> None:
        """Click the first element of a CSS selector."""
        self.wait_for(f"document.querySelector({json.dumps(selector)}) !== null")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def follow(self, text: str, seconds: float = 60.0) -> None:
        """Click, with the mouse, the first link, button or tab that says exactly this."""
        wanted = json.dumps(text)
        found = f"[...document.querySelectorAll('a, button, [role=tab]')].find(e => e.innerText.trim() === {wanted})"
        self.wait_for(f"{found} !== undefined", seconds)
        self._press(self._place(found))

    def point(self, selector: str, across: float = 0.5, down: float = 0.5) -> None:
        """Move the mouse over an element: to a share of its width and height."""
        place = self._place(f"document.querySelector({json.dumps(selector)})", across, down)
        for step in (1, 0):  # something is pointed at only when the mouse moves
            self.call("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": place["x"] - step, "y": place["y"]})

    def press(self, selector: str) -> None:
        """Click the middle of the first element of a CSS selector with the mouse."""
        self._press(self._place(f"document.querySelector({json.dumps(selector)})"))

    def _place(self, found: str, across: float = 0.5, down: float = 0.5) -> dict[str, float]:
        """Where an element is once it is scrolled into view. found: an expression."""
        self.evaluate(f"{found}.scrollIntoView({{block: 'center'}})")
        box = self.evaluate(f"{found}.getBoundingClientRect().toJSON()")
        return {"x": box["x"] + across * box["width"], "y": box["y"] + down * box["height"]}

    def _press(self, place: Mapping[str, float]) -> None:
        for event in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", {"type": event, **place, "button": "left", "clickCount": 1})

    def text(self) -> str:
        """All text that is shown."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def photograph(self, file: Path, *, whole: bool = True) -> None:
        """A PNG of the whole page, or of what the window shows."""
        shot: dict[str, Any] = {"format": "png"}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            shot |= {"captureBeyondViewport": True, "clip": clip}
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", shot)["data"]))
