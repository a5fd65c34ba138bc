"""What a reader must know of a row beside its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metricforge.reproduction.paper_table import Row
from metricforge.reproduction.row_run import RowRun

# Networks of torchvision that have the name of the papers' and are not the same.
_OTHER_NETWORKS = {
    "googlenet": "the paper's GoogLeNet is Caffe's, without BatchNorm; torchvision's, which is trained here, has 57 "
    "BatchNorm layers: not the same network",
    "alexnet": "the paper's network is CaffeNet, with two groups of filters and local response normalisation; "
    "torchvision's AlexNet, which is trained here, has neither: not the same network",
}


def notes_of(row: Row, run: RowRun) -> tuple[str, ...]:
    """Return what the table says of ``row``, then where the network of ``run`` is not that of the paper."""
    return tuple(note for note in (row.note, network_note(run.cfg.model.backbone)) if note)


def network_note(backbone: Mapping[str, Any]) -> str:
    """Say how the network of ``backbone``, a component's config, differs from the papers' of that name; "" if not."""
    if backbone["type"] != "TorchvisionBackbone":
        return ""
    return _OTHER_NETWORKS.get(backbone.get("name", "googlenet"), "")
