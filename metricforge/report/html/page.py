"""From a report's content to one HTML file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

FOLDER = files("metricforge.report.html")
TEMPLATES, STYLES = "templates", ("theme.css", "page.css")
SCRIPTS = ("page.js", "charts.js", "gallery.js", "point_painter.js", "point_cloud.js", "map.js", "pictures.js")


def render_page(report: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
    """Render the page of ``report``; every text in it is text, whatever it is called.

    Args:
        report: what the templates show; a section is left out where its key is None.
        payload: what the page's scripts draw: JSON's types. NaN and infinity are refused.
    """
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FunctionLoader(lambda name: _read(f"{TEMPLATES}/{name}")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "signed": signed, "number": number}
    return environment.get_template("page.html").render(
        report=report,
        payload=Markup(embedded_json(payload)),
        styles=Markup("\n".join(map(_read, STYLES))),
        scripts=[Markup(script) for script in (get_plotlyjs(), *map(_read, SCRIPTS))],
    )


def embedded_json(value: Any) -> str:
    """``value`` as JSON that may stand inside a script element, whatever texts it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def percent(value: float, digits: int = 1) -> str:
    """A share in per cent: 0.8234 is 82.3."""
    return f"{100 * value:.{digits}f}"


def signed(value: float) -> str:
    """A difference of shares in per cent, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def number(value: float) -> str:
    """With commas between thousands; at most four digits after the point."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _read(name: str) -> str:
    return FOLDER.joinpath(name).read_text(encoding="utf-8")
