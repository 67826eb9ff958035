"""Public benchmarks: rows of the hub or of a file in, problems out."""

from gppo.evaluate.benchmarks.load import load_benchmark, rows_of

__all__ = ["load_benchmark", "rows_of"]
