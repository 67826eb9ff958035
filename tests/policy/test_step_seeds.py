import torch

from gppo.policy import seed_step


def drawn(seed, step):
    seed_step(seed, step)
    return torch.rand(4)


def test_a_step_draws_the_same_whatever_came_before():
    first = drawn(0, 5)
    torch.rand(100)
    assert torch.equal(drawn(0, 5), first)
    others = [drawn(0, 6), drawn(1, 5), drawn(5, 0)]
    assert not any(torch.equal(first, other) for other in others)
