import re

import matplotlib
import pytest
from PIL import Image

from metricforge.report.html import Bars, Chart, Line, Mark
from metricforge.report.html.chart_picture import draw_chart

LINES = [
    Line("_$x^{$", [1, 2, 4], [0.1, 0.5, 0.9], "faint"),
    Line("_$x^{$", [1, 2, 4], [0.1, None, 0.9], "dots"),
    Line("<b>", [1, 2, 4], [0.2, 0.3, 0.4], "area", 9),
]


@pytest.mark.parametrize(
    "chart",
    [
        Chart("a", "$x^{$", "K", "recall", LINES, marks=[Mark(2, "$threshold")], percent=True, log_x=True),
        Chart("b", "ROC", "x", "y", [Line("one", [0, 1], [0, 1])], diagonal=True),
        Chart("c", "classes", "x", "y", bars=[Bars("recall@1", ["$x^{$", "b"], [0.5, 1])]),
    ],
    ids=["lines", "diagonal", "bars"],
)
def test_a_chart_is_drawn_whatever_it_is_called(chart, tmp_path):
    draw_chart(chart, tmp_path / "new" / "chart.png")
    picture = Image.open(tmp_path / "new" / "chart.png").convert("RGB")
    colours = {colour for _, colour in picture.getcolors(2**24)}
    assert len(colours) > 20
    with pytest.raises(ValueError, match=r"chart\.txt: must end in"):
        draw_chart(chart, tmp_path / "chart.txt")


def test_the_numbers_of_a_logarithmic_axis_are_plain(tmp_path):
    sizes = Chart("size", "Size", "bytes", "recall", [Line("PCA", [4, 8, 16, 640], [0.1, 0.5, 0.9, 1])], log_x=True)
    draw_chart(sizes, tmp_path / "size.svg")
    drawn = (tmp_path / "size.svg").read_text()
    assert "mathdefault" not in drawn
    assert all(f"<!-- {number} -->" in drawn for number in (4, 8, 16, 640))


def test_no_axis_of_shares_goes_beyond_100_per_cent(tmp_path):
    active = Chart("active", "Active", "update", "of a batch", [Line("active", [1, 2], [1.0, 1.0])], percent=True)
    draw_chart(active, tmp_path / "active.svg")
    drawn = (tmp_path / "active.svg").read_text()
    assert "<!-- 100" in drawn
    assert "<!-- 102" not in drawn
    assert "<!-- 104" not in drawn


@pytest.mark.parametrize(("at", "anchor"), [(0.99, "end"), (0.01, "start")])
def test_the_name_of_a_mark_stands_within_the_picture(at, anchor, tmp_path):
    chart = Chart("a", "A", "x", "y", [Line("one", [0, 1], [0, 1])], marks=[Mark(at, "threshold")])
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        draw_chart(chart, tmp_path / "chart.svg")
    (style,) = re.findall(r'<text style="([^"]*)"[^>]*>threshold</text>', (tmp_path / "chart.svg").read_text())
    assert f"text-anchor: {anchor}" in style
