"""Predictions → numbers with their circumstances: `report.json` and what is made of it."""

from vidbench.report.environment import environment
from vidbench.report.numbers import accuracies, count, summary, timing_of
from vidbench.report.shards import merge
from vidbench.report.text import metric_lines, table

__all__ = ["accuracies", "count", "environment", "merge", "metric_lines", "summary", "table", "timing_of"]
