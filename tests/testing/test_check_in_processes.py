from __future__ import annotations

import pytest

from metricforge import LOSSES
from metricforge.testing import check_in_processes

MODULE = """
import torch
import torch.distributed as dist
from metricforge import LOSSES, Loss, LossOutput

@LOSSES.register_module()
class WeighsByProcess(Loss):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        weight = dist.get_rank() + 1 if dist.is_initialized() else 1
        return LossOutput(embeddings.square().mean() * weight)

@LOSSES.register_module()
class TrainsNothing(Loss):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        return LossOutput((embeddings * 0).sum())
"""


@pytest.mark.slow
def test_a_loss_that_is_another_one_on_another_process_is_named_with_what_differs(tmp_path, monkeypatch):
    (tmp_path / "losses_of_my_own.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    models = [dict(loss=dict(type=name)) for name in ("ContrastiveLoss", "WeighsByProcess", "TrainsNothing")]
    try:
        with pytest.raises(AssertionError) as caught:
            check_in_processes(*models, counts=[2], imports=["losses_of_my_own"])
    finally:
        for name in ("WeighsByProcess", "TrainsNothing"):
            LOSSES._module_dict.pop(name, None)
    said = str(caught.value)
    assert "WeighsByProcess, process 1 of 2: the loss of step 1 is" in said
    assert "TrainsNothing: nothing is trained" in said
    assert "ContrastiveLoss" not in said
