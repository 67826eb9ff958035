"""Show a run: one self-contained HTML page."""

from gppo.report.write import write_report

__all__ = ["write_report"]
