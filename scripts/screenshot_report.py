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
import sys
import tempfile
from pathlib import Path

from browser import Browser, find_browser

# name -> width, theme, height in CSS pixels (None: the whole page)
SHOTS: dict[str, tuple[int, str, int | None]] = {
    "report-light": (1200, "light", None),
    "report-dark": (1200, "dark", None),
    "report-phone": (390, "light", None),
    "report-phone-dark": (390, "dark", None),
    "report-top": (1200, "light", 860),
    "report-top-dark": (1200, "dark", 860),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder, or a report.html")
    parser.add_argument("out_dir", type=Path, help="where the files go; made where it is missing")
    arguments = parser.parse_args()
    program = find_browser()
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


if __name__ == "__main__":
    sys.exit(main())
