"""What is wrong with how a config evaluates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metricforge.argument_types import is_number
from metricforge.config_check.keyword_faults import keyword_faults
from metricforge.engine.loops.embed_dataset import DTYPES
from metricforge.engine.loops.evaluation_loop import EvaluationLoop
from metricforge.evaluation.evaluator import ClusterEvaluator
from metricforge.registry import EVALUATORS, KINDS


def clustering_faults(config: Mapping[str, Any]) -> list[str]:
    """Faults of ``clustering``, which also needs an evaluator that reads clusters."""
    faults = KINDS["clustering"].faults(config["clustering"], "clustering", {"dim": None})
    if not any(map(_may_read_clusters, [config.get("evaluators"), config.get("final_evaluators")])):
        faults.append('clustering: no evaluator reads clusters; add one that does, such as dict(type="NMI")')
    return faults


def _may_read_clusters(evaluators: Any) -> bool:
    """Whether one of ``evaluators``, nested ones included, reads the clusters of the config's ``clustering``."""
    if not isinstance(evaluators, Mapping):
        return isinstance(evaluators, (list, tuple)) and any(map(_may_read_clusters, evaluators))
    name = evaluators.get("type")
    if isinstance(name, str) and name in EVALUATORS:
        cls = EVALUATORS.get(name)
        if issubclass(cls, ClusterEvaluator) or EVALUATORS.source_of_type(name) is not None:
            return True
    return "clustering" not in evaluators and any(map(_may_read_clusters, evaluators.values()))


def repeated_evaluators(config: Mapping[str, Any]) -> list[str]:
    """Evaluators that give a score which another one gives already, under the same name."""
    faults: list[str] = []
    before: list[tuple[str, dict[str, Any], set[str] | None]] = []
    for key in ("evaluators", "final_evaluators"):
        for number, evaluator in enumerate(config.get(key) or []):
            path, options = f"{key}[{number}]", dict(evaluator)
            cutoffs = options.pop("ks", None)
            ks = {str(k) for k in cutoffs} if isinstance(cutoffs, (list, tuple)) else None
            same = [
                other
                for other, its_options, its_ks in before
                if options == its_options and (ks is None or its_ks is None or ks & its_ks)
            ]
            if same:
                faults.append(f"{path}: gives the same scores as {same[0]}; remove one of them")
            before.append((path, options, ks))
    return faults


def test_cfg_faults(cfg: Any) -> list[str]:
    """Faults of ``test_cfg``."""
    injected = {"runner", "dataloader", "evaluators", "final_evaluators", "mode", "clustering"}
    faults = keyword_faults(EvaluationLoop, cfg, "test_cfg", injected)
    if isinstance(cfg, Mapping):
        at_once = cfg.get("scores_at_once", 1)
        if isinstance(at_once, int) and at_once < 1:
            faults.append(f"test_cfg.scores_at_once: {at_once!r} must be >= 1; 2**25 takes some 200 MB")
        dtype, gigabytes = cfg.get("dtype", DTYPES[0]), cfg.get("mapped_above_gb", 0)
        if dtype not in DTYPES:
            faults.append(f"test_cfg.dtype: {dtype!r} must be one of {', '.join(DTYPES)}")
        if not is_number(gigabytes) or not gigabytes >= 0:
            faults.append(f"test_cfg.mapped_above_gb: {gigabytes!r} must be a number >= 0; 0 maps every array")
    return faults
