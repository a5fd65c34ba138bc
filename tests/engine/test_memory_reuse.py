from __future__ import annotations

import platform

import pytest

from tests.page_faults import faults_of_later_tensors

KEEP = "from metricforge.engine.memory_reuse import keep_freed_memory\nassert keep_freed_memory()"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc's malloc")
def test_a_tensor_takes_the_pages_of_one_that_was_freed():
    assert faults_of_later_tensors(KEEP) * 10 < faults_of_later_tensors("")
