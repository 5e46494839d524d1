"""A page in a real browser, Debian's Chromium: how wide it gets, and what it loads.

The page stands in a frame of the width of a screen, for a window cannot be as narrow as a phone.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from conftest import REPO

_PATIENCE = 300  # seconds

#: Sends what it finds of the page in the frame, when all of it has been loaded.
FRAME = """<!doctype html>
<iframe src="page.html" style="width: {width}px; height: 800px; border: 0"></iframe>
<script>
const frame = document.querySelector("iframe");
const inside = (page, root, style) => {{
  const elements = [...page.body.querySelectorAll("*")];
  const images = [...page.images];
  return {{
    screen: root.clientWidth,
    page: root.scrollWidth,
    outside: elements
      .filter(element => element.matches(".wide, pre") || !element.closest(".wide, pre"))
      .filter(element => element.getBoundingClientRect().right > root.clientWidth + 1)
      .map(element => element.outerHTML.slice(0, 80)),
    images: images.length,
    broken: images.filter(image => !image.naturalWidth).map(image => image.alt),
    loaded: frame.contentWindow.performance.getEntriesByType("resource")
      .map(entry => entry.name).filter(name => !name.startsWith("data:")),
    scripts: page.scripts.length,
    sections: elements.filter(element => element.matches("h2")).map(each => each.textContent),
    links: elements.filter(element => element.matches("nav a"))
      .filter(link => page.querySelector(link.getAttribute("href"))).length,
    smallest: Math.min(...elements
      .filter(element => element.matches("p, li, td, th, dt, dd, figcaption"))
      .filter(element => element.textContent.trim())
      .map(element => parseFloat(style(element).fontSize))),
  }};
}};
window.addEventListener("load", async () => {{
  const page = frame.contentDocument;
  await Promise.allSettled([...page.images].map(image => image.decode()));
  const found = inside(page, page.documentElement, frame.contentWindow.getComputedStyle);
  await fetch("/found", {{method: "POST", body: JSON.stringify(found)}});
}});
</script>
"""


@functools.cache
def chromium() -> str:
    """Return the command of the browser; its package is installed where it is missing."""
    if shutil.which("chromium") is None:
        command = [REPO / "tools" / "caffe" / "packages.sh", "chromium", "fonts-dejavu-core"]
        installing = subprocess.run(command, capture_output=True, text=True, check=False)
        if installing.returncode:
            pytest.skip(f"needs Chromium: {installing.stderr}")
    found = shutil.which("chromium")
    assert found is not None
    return found


def look_at(page: str, width: int, folder: Path) -> dict[str, Any]:
    """Return what FRAME finds of the HTML text `page` on a screen `width` pixels wide.

    `folder`: an empty one, for the browser. "asked": the paths for which the browser has asked.
    """
    asked: list[str] = []
    answers: Queue[dict[str, Any]] = Queue()
    texts = {"/": FRAME.format(width=width), "/page.html": page}
    log = folder / "browser.log"
    with _served(texts, asked, answers) as port:
        command = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += ["--disable-background-networking", "--disable-component-update"]
        command += ["--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1600,1000"]
        command += [f"--user-data-dir={folder / 'profile'}", f"http://127.0.0.1:{port}/"]
        with open(log, "w") as output, _running(command, output):
            try:
                found = answers.get(timeout=_PATIENCE)
            except Empty:
                pytest.fail(f"the browser says nothing: {log.read_text()[-2000:]}")
    return {**found, "asked": asked}


@contextlib.contextmanager
def _running(command: list[str], output: Any) -> Iterator[None]:
    """Run the browser and its processes, and end them all."""
    browser = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()


@contextlib.contextmanager
def _served(
    texts: dict[str, str], asked: list[str], answers: Queue[dict[str, Any]]
) -> Iterator[int]:
    """Serve HTML texts by their paths; yield the port.

    `asked` takes the paths that are asked for, `answers` what is sent back, which is JSON.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self._answer(texts.get(self.path, ""))

        def do_POST(self) -> None:
            answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer("")

        def _answer(self, text: str) -> None:
            content = text.encode()
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the browser may be gone by now
                self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            """Be quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
