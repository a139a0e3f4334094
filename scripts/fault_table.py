"""What six single mistakes cost on the demo, and which of them a run's verdict names: a table for the README."""

import tempfile
from pathlib import Path

from vidbench.commands import command_errors
from vidbench.faults import fault_reports
from vidbench.report.verdict import judgement


def main() -> None:
    """Print the table."""
    with command_errors("fault_table"), tempfile.TemporaryDirectory() as folder:
        print("| mistake | top-1 | the verdict |\n|---|---|---|")
        for mistake, report in fault_reports(Path(folder)).items():
            top1 = report["metrics"]["top1"]
            low, high = (100 * bound for bound in top1["ci95"])
            words = "; ".join(report["reasons"]) or judgement(report)
            print(f"| {mistake} | {100 * top1['value']:.1f} ({low:.0f} to {high:.0f}) | {words} |")


if __name__ == "__main__":
    main()
