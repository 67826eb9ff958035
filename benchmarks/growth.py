"""How a whole RL step and its decoding grow with rows and with length; draws docs/images/growth.svg.

    python benchmarks/growth.py [--rounds 3] [--threads 2]

Microseconds a token, of our step alone: 32 to 2,048 responses of 32 tokens, then 128 responses of 16 to 512 tokens.
"""

import argparse
import json
import logging
import math
import time
from pathlib import Path

import numpy as np
import torch

from rl_step import Ours, profile
from world import Workload, machine, sums

ROWS = (32, 64, 128, 256, 512, 1024, 2048)
LENGTHS = (16, 32, 64, 128, 256, 512)
GROUP = 8
COLOURS = {"step": "#2563eb", "decoding": "#d97706"}


def measure(rows: int, tokens: int, rounds: int) -> dict[str, float]:
    """Microseconds a token of the step and of its sampling."""
    work = Workload("growth", tuple(sums(rows // GROUP)), np.full((rows // GROUP, GROUP), tokens))
    ours = Ours(work, compiled=True, clock=time.perf_counter)
    ours()
    found = profile(ours, rounds)
    return {name: 1000 * found[part] / work.tokens for name, part in (("step", "step"), ("decoding", "collect"))}


def panel(left: int, title: str, found: dict[int, dict[str, float]], top: float) -> str:
    """One chart: logarithmic below, linear from 0 at the side."""
    width, height = 330, 220
    xs = [math.log2(x) for x in found]

    def at(x: int, y: float) -> str:
        across = (math.log2(x) - xs[0]) / (xs[-1] - xs[0])
        return f"{left + across * width:.1f},{40 + height * (1 - y / top):.1f}"

    parts = [f'<text x="{left}" y="24" font-weight="bold">{title}</text>']
    for k in range(5):
        y = top * k / 4
        x0, y0 = at(next(iter(found)), y).split(",")
        parts.append(f'<line x1="{x0}" y1="{y0}" x2="{left + width}" y2="{y0}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{float(y0) + 4}" text-anchor="end">{y:.0f}</text>')
    for x in found:
        parts.append(f'<text x="{at(x, 0).split(",")[0]}" y="{58 + height}" text-anchor="middle">{x}</text>')
    for name, colour in COLOURS.items():
        line = " ".join(at(x, values[name]) for x, values in found.items())
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="3" fill="{colour}"/>' for p in line.split()
        ]
    return "\n".join(parts)


def draw(rows: dict[int, dict[str, float]], lengths: dict[int, dict[str, float]], path: Path) -> None:
    """Both charts, on one scale."""
    highest = max(values["step"] for found in (rows, lengths) for values in found.values())
    top = 20 * math.ceil(highest / 20)
    body = [
        panel(50, "µs a token against responses (32 tokens each)", rows, top),
        panel(450, "µs a token against length (128 responses)", lengths, top),
        f'<text x="50" y="310" fill="{COLOURS["step"]}">whole step</text>',
        f'<text x="140" y="310" fill="{COLOURS["decoding"]}">sampling</text>',
    ]
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 810 325" font-family="sans-serif" font-size="12">'
    path.write_text("\n".join([head, '<rect width="810" height="325" fill="white"/>', *body, "</svg>"]) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(options.threads)
    rows = {n: measure(n, 32, options.rounds) for n in ROWS}
    lengths = {n: measure(128, n, options.rounds) for n in LENGTHS}
    for title, found in (("responses", rows), ("length", lengths)):
        print(f"{title:>10}{'step, µs a token':>20}{'sampling':>12}")
        for n, values in found.items():
            print(f"{n:10}{values['step']:20.1f}{values['decoding']:12.1f}")
    draw(rows, lengths, Path(__file__).parents[1] / "docs" / "images" / "growth.svg")
    ratio = {name: rows[2048][name] / rows[128][name] for name in COLOURS}
    line = {"benchmark": "growth", "unit": "us a token", "rows": rows, "lengths": lengths, "ratio": ratio}
    print(json.dumps({**line, "settings": vars(options), "machine": machine()}))


if __name__ == "__main__":
    main()
