"""The report: results as one HTML file that needs no network and opens from disk."""

import mnist_sweep.figures  # noqa: F401  (imports matplotlib, which must be the first to do so)
from mnist_sweep.report.page import render_report, write_report

__all__ = ["render_report", "write_report"]
