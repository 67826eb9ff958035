"""Show a run: self-contained HTML pages, a microscope for its tokens, and a picture in the terminal."""

from gppo.report.compare import Difference, write_comparison
from gppo.report.tokens import Choice
from gppo.report.write import write_report

__all__ = ["Choice", "Difference", "write_comparison", "write_report"]
