"""Weights against recorded float64 autograd of the papers' surrogates."""

import json
from pathlib import Path

import pytest
import torch

from gppo.objectives import apply_dual_clip, get_objective

CASES = [json.loads(line) for line in (Path(__file__).parent / "data" / "objective_weights.jsonl").open()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['objective']}-{case['params']}")
def test_matches_golden_weights(case):
    params = dict(case["params"])
    dual_clip = params.pop("dual_clip", None)
    log_ratio, advantages, expected = (
        torch.tensor(case[key], dtype=torch.float64) for key in ("log_ratio", "advantage", "weight")
    )
    mask = torch.ones_like(log_ratio, dtype=torch.bool)
    w = get_objective(case["objective"], params)(log_ratio, advantages, mask=mask)
    if dual_clip is not None:
        w = apply_dual_clip(w, log_ratio, advantages, dual_clip)
    torch.testing.assert_close(w, expected, rtol=0, atol=1e-9)
