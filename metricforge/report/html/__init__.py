"""A report as one HTML file that asks for nothing elsewhere: its content, its charts, its page."""

from metricforge.report.html.chart import Bars, Chart, Line, Mark
from metricforge.report.html.page import render_page
from metricforge.report.html.thumbnails import Thumbnails

__all__ = ["Bars", "Chart", "Line", "Mark", "Thumbnails", "render_page"]
