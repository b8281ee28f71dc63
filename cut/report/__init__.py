"""One page that shows what runs did: reads run directories, draws curves, embeds pictures."""

from cut.report.page import write_report

__all__ = ["write_report"]
