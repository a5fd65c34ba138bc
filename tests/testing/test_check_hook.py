from __future__ import annotations

import pytest
from mmengine.hooks import EMAHook, Hook

from metricforge.testing import check_hook


class Says(Hook):
    """Small and right; the rest break it."""

    def after_val_epoch(self, runner, metrics=None) -> None:
        runner.say(str(metrics))


def test_hooks_that_keep_the_contract_pass():
    check_hook(Says())
    check_hook(EMAHook())


class NeverCalled(Hook):
    def after_validation(self, runner) -> None: ...


class DoesNothing(Hook):
    pass


class TakesNoMetrics(Hook):
    def after_val_epoch(self, runner) -> None: ...


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (NeverCalled, "after_validation: a run has no such point"),
        (DoesNothing, "it overrides a point of the run: none of"),
        (TakesNoMetrics, "after_val_epoch takes what it is called with: it is called with runner, metrics"),
    ],
)
def test_a_broken_hook_is_caught_and_the_clause_is_named(hook, said):
    with pytest.raises(AssertionError, match=rf"^{hook.__name__}: .*{said}"):
        check_hook(hook())
