"""Screenshots of a run's report and token microscope, for the documentation.

    python scripts/screenshot_report.py RUN OUT_DIR [--rollout "step=9&problem=exercise-12&sample=4"]

writes report-light.png and report-dark.png (the whole page, 1200 px wide), report-phone.png and report-phone-dark.png
(390 px wide), report-top.png and report-top-dark.png (the first screen, for a README), the same of the microscope, of
which "top" is what lies from its controls to the chosen token, all at two pixels a point, and report.pdf as it prints.
Needs Chromium or Chrome on PATH and nothing else. Where RUN has no report yet, it is written first. Text is set in
Inter where that font is installed, else in the system's own. Nothing is fetched. Exit status 1 where a page scrolls
sideways or reports an error.
"""

import argparse
import base64
import sys
import tempfile
from pathlib import Path

from browser import Browser, find_browser

# name -> width, theme, and what is shown: all (None), so many pixels from the top, or from one element to another.
Part = int | tuple[str, str] | None
SHOTS: dict[str, tuple[int, str, Part]] = {
    f"{page}-{name}": (width, theme, top if name.startswith("top") else None)
    for page, top in (("report", 860), ("microscope", ("#controls", ".work")))
    for name, width, theme in (
        ("light", 1200, "light"),
        ("dark", 1200, "dark"),
        ("phone", 390, "light"),
        ("phone-dark", 390, "dark"),
        ("top", 1200, "light"),
        ("top-dark", 1200, "dark"),
    )
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("out_dir", type=Path, help="where the files go; made where it is missing")
    parser.add_argument("--rollout", default="", help="what the microscope shows, as in its address after #")
    arguments = parser.parse_args()
    program = find_browser()
    if program is None:
        print("No Chromium on PATH: install it, e.g. with `apt-get install chromium`.", file=sys.stderr)
        return 2
    pages = pages_of(arguments.run)
    arguments.out_dir.mkdir(parents=True, exist_ok=True)
    wrong = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            for name, (width, theme, part) in SHOTS.items():
                kind = name.partition("-")[0]
                if kind not in pages:
                    continue
                address = f"{pages[kind].as_uri()}?theme={theme}#{arguments.rollout if kind == 'microscope' else ''}"
                over = shoot(browser, address, arguments.out_dir / f"{name}.png", width, part)
                wrong += [f"{name}: {over} px wider than the screen"] if over else []
            browser.open(pages["report"].as_uri(), 1200, 900)
            pdf = browser.ask("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"]
            (arguments.out_dir / "report.pdf").write_bytes(base64.b64decode(pdf))
        finally:
            browser.close()
    wrong += browser.errors
    print("\n".join(wrong) or f"Written to {arguments.out_dir}", file=sys.stderr if wrong else sys.stdout)
    return 1 if wrong else 0


def pages_of(run: Path) -> dict[str, Path]:
    """The pages of a run by kind, written where the report is missing. A run without rollouts has no microscope."""
    if not (run / "report.html").exists():
        from gppo.report import write_report

        write_report(run)
    found = {kind: (run / f"{kind}.html").resolve() for kind in ("report", "microscope")}
    return {kind: path for kind, path in found.items() if path.exists()}


def shoot(browser: Browser, address: str, target: Path, width: int, part: Part) -> int:
    """Write one PNG; returns by how many pixels the page is wider than the screen."""
    browser.open(address, width, part if isinstance(part, int) else 900)
    top, end = 0, part or browser.value("document.documentElement.scrollHeight")
    if isinstance(part, tuple):
        top, end = browser.value(
            f"[document.querySelector({part[0]!r}).getBoundingClientRect().top + scrollY - 16,"
            f"document.querySelector({part[1]!r}).getBoundingClientRect().bottom + scrollY + 16]"
        )
    clip = {"x": 0, "y": top, "width": width, "height": end - top, "scale": 1}
    shot = browser.ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)["data"]
    target.write_bytes(base64.b64decode(shot))
    return int(browser.value("document.documentElement.scrollWidth")) - width


if __name__ == "__main__":
    sys.exit(main())
