"""The report as one HTML file that contains its pictures, loads nothing and runs no script."""

from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from archetype.contract.report.document import Report
from shared.audits.pages import words
from shared.audits.pages.plots import draw_plots
from shared.audits.pages.svg import write_svg


def write_html(report: Report, digest: str) -> str:
    """The report as HTML. Everything that it shows is in the document.

    Args:
        report: The document.
        digest: SHA-256 digest of report.json, which the page names.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"result": words.name_result, "duration": words.write_duration}
    template = environment.from_string((resources.files("shared.audits.pages") / "report.html").read_text())
    plots = [(plot.title, Markup(write_svg(plot))) for plot in draw_plots(report)]  # noqa: S704 - its texts are escaped
    return template.render(report=report, digest=digest, plots=plots, words=words)
