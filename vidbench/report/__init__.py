"""Predictions → numbers with their circumstances: `report.json` and what is made of it."""

from vidbench.report.classes import confident_mistakes
from vidbench.report.enough import Enough
from vidbench.report.environment import environment
from vidbench.report.files import write_files
from vidbench.report.ledger import write_ledger
from vidbench.report.numbers import accuracies, count, groups_of, record_of, summary, timing_of
from vidbench.report.shards import merge
from vidbench.report.text import metric_lines, table
from vidbench.report.verify import verify

__all__ = [
    "Enough",
    "accuracies",
    "confident_mistakes",
    "count",
    "environment",
    "groups_of",
    "merge",
    "metric_lines",
    "record_of",
    "summary",
    "table",
    "timing_of",
    "verify",
    "write_files",
    "write_ledger",
]
