"""Training sets from sources, by the steps of a recipe: every loss counted, and kept with its reason."""

from gppo.curate.funnel import FunnelStep, funnel_table
from gppo.curate.page import write_page
from gppo.curate.pipeline import CurateResult, curate
from gppo.curate.step import Bench, Change, Item, Items, Kind, Removed, Replaced, Step, Training

__all__ = [
    "Bench",
    "Change",
    "CurateResult",
    "FunnelStep",
    "Item",
    "Items",
    "Kind",
    "Removed",
    "Replaced",
    "Step",
    "Training",
    "curate",
    "funnel_table",
    "write_page",
]
