"""Figures from results: what to draw, the charts, and their common style."""
