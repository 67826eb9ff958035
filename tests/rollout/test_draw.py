"""Logits to tokens: the inverse of the distribution function, and what truncation keeps."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gppo.rollout.local.draw import BLOCK, draw, sampled_distribution
from gppo.types import SamplingSettings

ALMOST_ONE = 1 - 2**-53
PLAIN = SamplingSettings()


def _logits(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities]).log()


def _draw_all(logits_1V: torch.Tensor, uniforms: torch.Tensor, settings: SamplingSettings = PLAIN):
    return draw(logits_1V.expand(len(uniforms), -1), uniforms, settings)


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.5])
@pytest.mark.parametrize("settings", [{}, {"top_k": 5}, {"top_p": 0.8}, {"top_k": 9, "top_p": 0.6}])
def test_a_grid_of_uniforms_meets_every_token_in_proportion(temperature, settings):
    n = 20_000
    logits = 2 * torch.randn(1, 13, generator=torch.Generator().manual_seed(0))
    sampling = SamplingSettings(temperature=temperature, **settings)
    grid = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    tokens, logprobs = _draw_all(logits, grid, sampling)
    share = torch.bincount(tokens, minlength=13) / n
    law = sampled_distribution(logits, sampling)[0].double().exp()
    assert law.sum().item() == pytest.approx(1, abs=1e-6)
    assert (share - law).abs().max() <= 1 / n + 1e-6
    assert bool((tokens.diff() >= 0).all())  # the inverse of a distribution function rises
    if not settings:
        assert torch.allclose(law, (logits[0].double() / temperature).softmax(-1), atol=1e-6)
    torch.testing.assert_close(logprobs, law.log().float()[tokens], rtol=1e-5, atol=1e-6)


def test_edges_belong_to_the_token_above():
    logits = _logits(0.25, 0.5, 0.25)
    uniforms = torch.tensor([0.0, 0.2499, 0.2501, 0.7499, 0.7501, ALMOST_ONE], dtype=torch.float64)
    assert _draw_all(logits, uniforms)[0].tolist() == [0, 0, 1, 1, 2, 2]


def test_tokens_of_probability_zero_are_never_drawn():
    zero = -math.inf
    ends = torch.tensor([0.0, 2**-60, 0.5, ALMOST_ONE], dtype=torch.float64)
    for logits in ([zero, 1.0, zero, 2.0, zero], [zero, zero, 0.0], [0.0, zero], [zero, -1e4, 1e4, zero]):
        tokens, logprobs = _draw_all(torch.tensor([logits]), ends)
        assert all(logits[t] > zero for t in tokens.tolist())
        assert logprobs.isfinite().all()


def test_truncated_tokens_are_never_drawn():
    logits = _logits(0.05, 0.4, 0.1, 0.3, 0.15)
    ends = torch.tensor([0.0, ALMOST_ONE], dtype=torch.float64)
    assert _draw_all(logits, ends, SamplingSettings(top_k=2))[0].tolist() == [1, 3]
    assert _draw_all(logits, ends, SamplingSettings(top_p=0.6))[0].tolist() == [1, 3]
    assert _draw_all(logits, ends, SamplingSettings(top_k=1))[0].tolist() == [1, 1]


def _law(probabilities: tuple[float, ...], **settings) -> list[float]:
    return sampled_distribution(_logits(*probabilities), SamplingSettings(**settings))[0].exp().tolist()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.4, 0.3, 0.2, 0.1]),
        ({"top_k": 2}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_k": 4}, [0.4, 0.3, 0.2, 0.1]),
        ({"top_k": 99}, [0.4, 0.3, 0.2, 0.1]),
        ({"top_p": 0.3}, [1, 0, 0, 0]),  # the first alone reaches it
        ({"top_p": 0.5}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_p": 0.69}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_p": 0.71}, [4 / 9, 3 / 9, 2 / 9, 0]),
        ({"top_p": 0.95}, [0.4, 0.3, 0.2, 0.1]),
        ({"top_p": 1e-9}, [1, 0, 0, 0]),
        # top_p counts the mass that top_k leaves: 4/7 reaches 0.5, though 0.4 does not.
        ({"top_k": 2, "top_p": 0.5}, [1, 0, 0, 0]),
    ],
)
def test_truncation_by_hand(settings, expected):
    shuffled = [2, 0, 3, 1]
    probabilities = tuple((0.4, 0.3, 0.2, 0.1)[i] for i in shuffled)
    assert _law(probabilities, **settings) == pytest.approx([expected[i] for i in shuffled], abs=1e-6)


def test_temperature_comes_before_truncation():
    # p^2 renormalised: 16, 9, 4, 1 of 30; 0.53 reaches 0.5.
    assert _law((0.4, 0.3, 0.2, 0.1), temperature=0.5, top_p=0.5) == pytest.approx([1, 0, 0, 0], abs=1e-6)
    assert _law((0.4, 0.3, 0.2, 0.1), temperature=0.5) == pytest.approx([16 / 30, 9 / 30, 4 / 30, 1 / 30], abs=1e-6)


def test_ties_at_the_edge_are_kept():
    assert _law((0.4, 0.2, 0.2, 0.2), top_k=2) == pytest.approx([0.4, 0.2, 0.2, 0.2], abs=1e-6)
    assert _law((0.4, 0.2, 0.2, 0.2), top_p=0.5) == pytest.approx([0.4, 0.2, 0.2, 0.2], abs=1e-6)


def test_logprobs_are_those_of_the_truncated_distribution():
    logits = _logits(0.4, 0.3, 0.2, 0.1)
    tokens, logprobs = _draw_all(logits, torch.tensor([0.1, 0.9], dtype=torch.float64), SamplingSettings(top_k=2))
    assert tokens.tolist() == [0, 1]
    assert logprobs.tolist() == pytest.approx([math.log(4 / 7), math.log(3 / 7)], abs=1e-6)


def test_temperature_zero_takes_the_largest_with_its_logprob_at_temperature_one():
    logits = _logits(0.1, 0.2, 0.6, 0.1)
    uniforms = torch.tensor([0.0, ALMOST_ONE], dtype=torch.float64)
    tokens, logprobs = _draw_all(logits, uniforms, SamplingSettings(temperature=0))
    assert tokens.tolist() == [2, 2]
    assert logprobs.tolist() == pytest.approx([math.log(0.6)] * 2, abs=1e-6)
    assert logprobs.dtype == torch.float32


def test_rows_do_not_meet():
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(50, 17, generator=generator)
    uniforms = torch.rand(50, dtype=torch.float64, generator=generator)
    together = draw(logits, uniforms, SamplingSettings(top_p=0.9))
    for i in range(50):
        alone = draw(logits[i : i + 1], uniforms[i : i + 1], SamplingSettings(top_p=0.9))
        assert alone[0] == together[0][i]
        assert alone[1] == together[1][i]


def test_half_precision_logits_are_widened_first():
    logits = torch.linspace(-3, 3, 9).to(torch.bfloat16)[None]
    _, logprobs = _draw_all(logits, torch.tensor([0.99], dtype=torch.float64), SamplingSettings(temperature=0.7))
    assert logprobs.dtype == torch.float32
    expected = (logits.float() / 0.7).log_softmax(-1)[0, -1]
    assert logprobs.item() == pytest.approx(expected.item(), abs=1e-6)


entries = st.one_of(
    st.floats(-1e4, 1e4, width=32), st.sampled_from([-math.inf, -1e4, 1e4, 0.0]), st.floats(-5, 5, width=32)
)


@settings(max_examples=400, deadline=None)
@given(
    logits=hnp.arrays("float32", st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=entries),
    uniform=st.one_of(st.sampled_from([0.0, 2**-53, 0.5, ALMOST_ONE]), st.floats(0, 1, exclude_max=True)),
    temperature=st.sampled_from([0.0, 0.01, 0.6, 1.0, 10.0]),
    top_p=st.sampled_from([0.01, 0.5, 0.95, 0.999999, 1.0]),
    top_k=st.integers(0, 13),
)
def test_any_logits_give_a_token_that_can_be_drawn(logits, uniform, temperature, top_p, top_k):
    logits[:, 0] = logits[:, 0].clip(min=-1e4)  # at least one token is possible
    logits_BV = torch.from_numpy(logits)
    sampling = SamplingSettings(temperature=temperature, top_p=top_p, top_k=top_k)
    tokens, logprobs = draw(logits_BV, torch.full((len(logits),), uniform, dtype=torch.float64), sampling)
    assert tokens.dtype == torch.int64
    assert logprobs.isfinite().all()
    assert bool((logprobs <= 1e-6).all())
    assert logits_BV.gather(1, tokens[:, None]).isfinite().all()
    if temperature:
        law = sampled_distribution(logits_BV, sampling).double().exp()
        assert torch.allclose(law.sum(-1), torch.ones(len(logits), dtype=torch.float64), atol=1e-5)


def test_sums_are_precise_enough_for_rare_tokens():
    # In float32 the second token's share of 1e-9 would vanish beside the first's.
    logits = torch.tensor([[0.0, math.log(1e-9)]])
    uniforms = torch.tensor([1 - 2e-9, 1 - 5e-10, ALMOST_ONE], dtype=torch.float64)
    assert _draw_all(logits, uniforms)[0].tolist() == [0, 1, 1]


def test_edges_stay_in_place_over_a_large_vocabulary():
    vocabulary = 200_000
    uniforms = (torch.arange(8, dtype=torch.float64) + 0.3) / 8
    tokens, _ = _draw_all(torch.zeros(1, vocabulary), uniforms)
    assert (tokens - (uniforms * vocabulary).long()).abs().max() <= 1


def test_blocks_of_a_large_vocabulary_do_not_show():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(64, 5 * BLOCK + 77, generator=generator)
    logits[:32, BLOCK : 3 * BLOCK] = -math.inf  # blocks without any mass
    logits[:16, 4 * BLOCK :] = -math.inf  # and none at the end
    uniforms = torch.rand(64, generator=generator, dtype=torch.float64)
    uniforms[::4], uniforms[1::4] = ALMOST_ONE, 0.0
    cumulated = logits.log_softmax(-1).double().exp().cumsum(-1)
    plainly = torch.searchsorted(cumulated, uniforms[:, None] * cumulated[:, -1:], right=True).squeeze(1)
    tokens, logprobs = draw(logits, uniforms, PLAIN)
    assert torch.equal(tokens[uniforms < ALMOST_ONE], plainly[uniforms < ALMOST_ONE])
    assert logprobs.isfinite().all()
    # At the upper end the last token with any mass, or one so rare before it that rounding decides.
    for row in range(0, 64, 4):
        assert cumulated[row, tokens[row]] >= cumulated[row, -1] * (1 - 1e-9)
