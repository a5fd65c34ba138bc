import json

import pytest

from metricforge.report.html.page import embedded_json, percent, signed


@pytest.mark.parametrize("text", ["</script><script>alert(1)", "<!--", "a & b", "\u2028", "$x^{$", 'say "no"'])
def test_what_is_embedded_in_a_script_element_cannot_end_it(text):
    embedded = embedded_json({"name": text})
    assert "<" not in embedded
    assert json.loads(embedded) == {"name": text}


def test_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        embedded_json([float("nan")])


def test_shares_are_shown_in_per_cent():
    assert percent(0.8234) == "82.3"
    assert signed(-0.0123) == "−1.2"
    assert signed(0.5) == "+50.0"
