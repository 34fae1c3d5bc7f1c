"""The report: results as one HTML file that needs no network and opens from disk."""

from mnist_sweep.report.page import render_report, write_report

__all__ = ["render_report", "write_report"]
