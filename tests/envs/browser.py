"""A page in headless Chromium, over its debugging protocol: run a script in it, hear what it complains about."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0")


class Tab:
    """One page. `complaints` holds what the console said and what was thrown."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.complaints: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            if message.get("method") in {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"}:
                self.complaints.append(json.dumps(message["params"]))

    def run(self, script: str) -> Any:
        """The value of an expression; promises are waited for."""
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")


@contextmanager
def open_page(page: Path, *, profile: Path) -> Iterator[Tab]:
    """Opens a file, as a double click does; `profile` is a folder for the browser's own files."""
    process = subprocess.Popen(
        [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", page.resolve().as_uri()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with connect(_address(profile / "DevToolsActivePort"), max_size=None) as socket:
            browser = Tab(socket)
            target = next(t for t in browser.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
            port = (profile / "DevToolsActivePort").read_text().splitlines()[0]
        with connect(f"ws://127.0.0.1:{port}/devtools/page/{target['targetId']}", max_size=None) as socket:
            tab = Tab(socket)
            for domain in ("Runtime", "Log", "Page"):
                tab.call(f"{domain}.enable")
            tab.call("Page.reload")
            _wait_until(
                lambda: tab.run("document.readyState") == "complete" and tab.run("location.protocol") == "file:"
            )
            yield tab
    finally:
        process.terminate()
        process.wait(timeout=30)


def _address(file: Path) -> str:
    """Where the browser listens, out of the file that it writes once it does."""
    _wait_until(lambda: file.is_file() and len(file.read_text().splitlines()) > 1)
    port, path = file.read_text().splitlines()[:2]
    return f"ws://127.0.0.1:{port}{path}"


def _wait_until(is_done: Any, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.1)
