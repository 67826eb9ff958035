"""The paper's findings in miniature: each experiment is stated in a file, run over seeds, and judged by its numbers."""
