"""Names, parameters and their errors."""

import pytest
import torch

from gppo.objectives import DEFAULT_NORMALISATION, OBJECTIVES, TOKEN_LOCAL, default_params, get_objective
from gppo.objectives.surrogate import _VALUES
from gppo.types import UserError


def test_every_table_names_every_objective():
    assert set(DEFAULT_NORMALISATION) == set(OBJECTIVES) == set(_VALUES)
    assert set(OBJECTIVES) - TOKEN_LOCAL == {"gspo"}
    assert {name for name, kind in DEFAULT_NORMALISATION.items() if kind != "token_mean"} == {"gspo"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ppo", {"epsilon_low": 0.2, "epsilon_high": 0.2}),
        ("clip_higher", {"epsilon_low": 0.2, "epsilon_high": 0.28}),
        ("gppo", {"epsilon_low": 0.2, "epsilon_high": 0.28, "beta_low": 1.0, "beta_high": 1.0}),
        ("ce_gppo", {"epsilon_low": 0.2, "epsilon_high": 0.2, "beta_low": 0.75, "beta_high": 1.0}),
        ("cispo", {"epsilon_low": 0.2, "epsilon_high": 0.28}),
        ("gspo", {"epsilon_low": 3e-4, "epsilon_high": 4e-4}),
        ("sapo", {"tau_positive": 1.0, "tau_negative": 1.05}),
        ("aspo", {"epsilon_low": 0.2, "epsilon_high": 0.28, "ratio_cap": 3.0}),
        ("dcpo", {"epsilon_low": 0.16, "epsilon_high": 0.2, "ratio_cap": 10.0}),
    ],
)
def test_published_defaults(name, expected):
    assert default_params(name) == expected


def test_parameters_are_bound():
    log_ratio = torch.tensor([1.0])
    w = get_objective("gppo", {"epsilon_high": 0.5})(log_ratio, torch.ones(1), mask=torch.ones(1, dtype=torch.bool))
    assert w.item() == 1.5


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("gpo", {}, r"near: .*gppo.*: use one of ppo, clip_higher"),
        ("zzzzzz", {}, "objective 'zzzzzz': use one of ppo, clip_higher"),
        ("gppo", {"epsilon_hgih": 0.3}, r"near: epsilon_high, epsilon_low\)"),
        ("sapo", {"epsilon_high": 0.3}, "tau_positive, tau_negative"),
        ("gppo", {"mask": 1.0}, "no parameter 'mask'"),
        ("gppo", {"epsilon_low": 1.5}, "epsilon_low = 1.5"),
        ("gppo", {"beta_low": float("nan")}, "beta_low = nan"),
        ("aspo", {"ratio_cap": 0.5}, "from 1 to"),
    ],
)
def test_mistakes_are_named(name, params, words):
    with pytest.raises(UserError, match=words) as caught:
        get_objective(name, params)
    assert "\n" not in str(caught.value)
