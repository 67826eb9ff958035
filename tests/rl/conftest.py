import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny models are slower on several threads, and sums then depend on their number."""
    torch.set_num_threads(1)
