"""Screenshots of a run's report, for the documentation.

    python scripts/screenshot_report.py RUN OUT_DIR

writes report-light.png and report-dark.png (the whole page, 1200 px wide), report-phone.png and report-phone-dark.png
(390 px wide), report-top.png and report-top-dark.png (the first screen, for a README), all at two pixels a point, and
report.pdf as it prints. Needs Chromium or Chrome on PATH and nothing else. Where RUN has no report yet, it is written
first. Text is set in Inter where that font is installed, else in the system's own. Nothing is fetched. Exit status 1
where the page scrolls sideways or reports an error.
"""

import argparse
import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = (
    "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--remote-debugging-pipe",
)  # fmt: skip
# name -> width, theme, height in CSS pixels (None: the whole page)
SHOTS: dict[str, tuple[int, str, int | None]] = {
    "report-light": (1200, "light", None),
    "report-dark": (1200, "dark", None),
    "report-phone": (390, "light", None),
    "report-phone-dark": (390, "dark", None),
    "report-top": (1200, "light", 860),
    "report-top-dark": (1200, "dark", 860),
}


class Browser:
    """A headless browser driven over a pipe: one JSON message each way, ended by a zero byte."""

    def __init__(self, program: str, profile: str) -> None:
        to_browser, self._commands = (_high(fd) for fd in os.pipe())
        self._answers, from_browser = (_high(fd) for fd in os.pipe())
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [program, *OPTIONS, *root, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=lambda: (os.dup2(to_browser, 3), os.dup2(from_browser, 4)),
            pass_fds=(3, 4),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._count = 0
        self.errors: list[str] = []
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = ""
        self._session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    _session = ""

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives; a promise is awaited."""
        return self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)["result"].get(
            "value"
        )

    def open(self, address: str, width: int, height: int) -> None:
        """Show a page at a size and wait until its charts are drawn."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=width < 500
        )
        self.ask("Page.navigate", url=address)
        self.value("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")
        self.value("new Promise(done => setTimeout(done, 600))")

    def close(self) -> None:
        """End the browser and wait for it."""
        self._session = ""
        self.ask("Browser.close")
        self._process.wait(timeout=30)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._answers, 1 << 20)
            if not part:
                raise RuntimeError("the browser ended early")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(event["params"]["exceptionDetails"].get("exception", {}).get("description")))
        if event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
            self.errors.append(event["params"]["entry"]["text"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder, or a report.html")
    parser.add_argument("out_dir", type=Path, help="where the files go; made where it is missing")
    arguments = parser.parse_args()
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        print("No Chromium on PATH: install it, e.g. with `apt-get install chromium`.", file=sys.stderr)
        return 2
    page = report_of(arguments.run).as_uri()
    arguments.out_dir.mkdir(parents=True, exist_ok=True)
    wrong = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            for name, (width, theme, height) in SHOTS.items():
                over = shoot(browser, f"{page}?theme={theme}", arguments.out_dir / f"{name}.png", width, height)
                wrong += [f"{name}: {over} px wider than the screen"] if over else []
            pdf = browser.ask("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"]
            (arguments.out_dir / "report.pdf").write_bytes(base64.b64decode(pdf))
        finally:
            browser.close()
    wrong += browser.errors
    print("\n".join(wrong) or f"Written to {arguments.out_dir}", file=sys.stderr if wrong else sys.stdout)
    return 1 if wrong else 0


def report_of(run: Path) -> Path:
    """The page of a run, written where it is missing."""
    page = run if run.suffix == ".html" else run / "report.html"
    if not page.exists():
        from gppo.report import write_report

        page = write_report(run)
    return page.resolve()


def shoot(browser: Browser, address: str, target: Path, width: int, height: int | None) -> int:
    """Write one PNG; returns by how many pixels the page is wider than the screen."""
    browser.open(address, width, height or 900)
    whole = browser.value("document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": height or whole, "scale": 1}
    shot = browser.ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)["data"]
    target.write_bytes(base64.b64decode(shot))
    return int(browser.value("document.documentElement.scrollWidth")) - width


def _high(fd: int) -> int:
    """The same pipe end under a number that does not collide with the browser's 3 and 4."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16)
    os.close(fd)
    return moved


if __name__ == "__main__":
    sys.exit(main())
