import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import embedding

from metricforge.engine.optim.gradient_watch import GradientWatch, UntrainedParameterWarning


def test_a_parameter_that_no_backward_pass_reached_is_named_and_others_are_not():
    model = nn.ModuleDict({"used": nn.Linear(2, 1), "unused": nn.Linear(2, 1, bias=False)})
    watch = GradientWatch(model)
    for _ in range(2):
        model["used"](torch.ones(1, 2)).sum().backward()
    with pytest.warns(UntrainedParameterWarning, match="^unused.weight got no gradient"):
        watch.report()
    assert watch.report() == "", "once"


def test_a_table_of_which_some_rows_were_touched_and_frozen_weights_are_no_fault():
    model = nn.Module()
    model.table = nn.Parameter(torch.ones(9, 2))
    model.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    watch = GradientWatch(model)
    embedding(torch.tensor([3]), model.table, sparse=True).sum().backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert watch.report() == ""


def test_watching_that_is_stopped_names_nothing():
    watch = GradientWatch(nn.Linear(2, 1))
    watch.stop()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert watch.report() == ""
