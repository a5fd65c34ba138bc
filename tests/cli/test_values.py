"""Values of options that would take no effect are refused before a command runs."""

from __future__ import annotations

import pytest

from metricforge.__main__ import main
from metricforge.cli.parsers.values import proxy_address


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["serve", "index", "--proxy", "nginx"], "--proxy: nginx: must be an IP address or a network"),
        (["serve", "index", "--max-body", "0.5"], "--max-body: 0.5: must be a number of bytes, such as 2GB"),
        (["export", "run", "--out", "bundle", "--license", " "], "--license: is empty; leave it out"),
    ],
    ids=str,
)
def test_an_option_without_effect_is_refused(words, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert told in " ".join(capsys.readouterr().err.split())


def test_a_proxy_s_network_is_written_as_the_server_compares_it():
    assert proxy_address("10.1.2.3/8") == "10.0.0.0/8"
    assert proxy_address("::1") == "::1"
