import sys
from pathlib import Path

import pytest
import torch

# The tiny models are those of the policy's tests.
sys.path.append(str(Path(__file__).parents[1] / "policy"))


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tiny models are slower on several threads, and sums then depend on their number."""
    torch.set_num_threads(1)
