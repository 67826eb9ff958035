"""What verl imports to know our objectives: as an entry point, and as ``model.external_lib``, which fails loudly."""

import os

from gppo.bridges.verl import losses

if os.environ.get("VERL_PLATFORM") == "cpu":
    from gppo.bridges.verl import cpu_sampler  # noqa: F401  it registers itself

__all__ = ["losses"]
