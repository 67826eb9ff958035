"""What the README shows must run."""

import re
from pathlib import Path

import torch

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines_run_and_give_every_token_a_gradient() -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    logits_BTV = names["logits_BTV"]
    assert isinstance(logits_BTV, torch.Tensor)
    assert (logits_BTV.grad.abs().sum(-1) > 0).all()
    assert len(code.strip().splitlines()) <= 13


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README) + re.findall(r'src(?:set)?="([^"]+)"', README)
    assert len(links) >= 8
    for target in links:
        assert (Path(__file__).parent.parent / target).exists(), target
