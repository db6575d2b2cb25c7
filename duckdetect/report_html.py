"""A report as one HTML file: pictures inside, no scripts, nothing fetched, readable on a phone."""

from __future__ import annotations

import base64

import duckdetect
from duckdetect.report_blocks import Picture, Report


def render_html(report: Report) -> str:
    """The page as text; everything of the report is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("duckdetect"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    template = environment.get_template("report.html.j2")
    return template.render(report=report, version=duckdetect.__version__)


def _data_uri(picture: Picture) -> str:
    return f"data:{picture.mime};base64,{base64.b64encode(picture.data).decode()}"
