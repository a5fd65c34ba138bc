"""What a report says of runs: opens them, embeds their test images again, and gathers what is worth a look."""

from metricforge.run_report.write_report import write_report

__all__ = ["write_report"]
