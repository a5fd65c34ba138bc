"""The contract of a clustering as a test."""

from __future__ import annotations

import copy
import json

import numpy as np

from metricforge.arrays import Floats32, Indices
from metricforge.interfaces import Clustering
from metricforge.testing.clause import clause, require
from metricforge.testing.sample_batches import random_rows


def check_clustering(clustering: Clustering) -> None:
    """Test a clustering against the contract, on a copy of it.

    - ``assign`` gives a cluster >= 0 for each embedding, as int64, and leaves the embeddings alone;
    - the same seed gives the same clusters;
    - three groups that are far apart become three clusters;
    - embeddings that are all the same, and one embedding alone, are clustered too;
    - a number of clusters outside 1..N is a ValueError;
    - ``on_step`` hears of at least one step and of no more than ``steps``;
    - ``protocol`` can be written as JSON.

    Args:
        clustering: the clustering.

    Raises:
        AssertionError: naming the clause that failed.
    """
    with clause(clustering, "it is a clustering"):
        require(isinstance(clustering, Clustering), "not a metricforge.Clustering")
    clustering = copy.deepcopy(clustering)
    with clause(clustering, "its protocol can be written as JSON"):
        json.dumps(clustering.protocol(), allow_nan=False)
    rows = random_rows(60, dim=8).numpy()
    groups = np.arange(60) % 3
    apart = rows + 50 * np.eye(3, 8, dtype=np.float32)[groups]
    for name, embeddings, clusters in (
        ("random", rows, 7),
        ("three groups", apart, 3),
        ("all the same", np.repeat(rows[:1], 20, axis=0), 4),
        ("one alone", rows[:1], 1),
    ):
        assigned = _check_assignment(clustering, embeddings, clusters, name)
        if name == "three groups":
            with clause(clustering, "three groups that are far apart become three clusters"):
                pairs = {(int(group), int(cluster)) for group, cluster in zip(groups, assigned, strict=True)}
                require(
                    len(pairs) == len(set(assigned.tolist())) == 3,
                    f"group and cluster meet in these ways: {sorted(pairs)}",
                )
    for clusters in (0, 61):
        with clause(clustering, f"{clusters} clusters of 60 embeddings are a ValueError"):
            try:
                clustering.assign(rows, clusters, seed=0)
            except ValueError:
                continue
            require(False, "it was accepted")


def _check_assignment(clustering: Clustering, embeddings: Floats32, clusters: int, name: str) -> Indices:
    before, steps = embeddings.copy(), 0

    def on_step(count: int) -> None:
        nonlocal steps
        steps += count

    with clause(clustering, f"assign gives a cluster for each embedding ({name})"):
        assigned = clustering.assign(embeddings, clusters, 0, on_step)
        require(assigned.shape == (len(embeddings),), f"shape {assigned.shape}, not {(len(embeddings),)}")
        require(assigned.dtype == np.int64, f"they are {assigned.dtype}, not int64")
        require(bool((assigned >= 0).all()), f"{int((assigned < 0).sum())} are below 0")
        require(bool((embeddings == before).all()), "the embeddings were changed in place")
    if len(embeddings) > 1 and (embeddings != embeddings[0]).any():
        with clause(clustering, f"assign tells on_step of the steps it has done ({name})"):
            require(steps > 0, "it told of none; call on_step(1) once the work is done")
            require(steps <= clustering.steps, f"it told of {steps}; steps = {clustering.steps} is the most there are")
    with clause(clustering, f"the same seed gives the same clusters ({name})"):
        again = clustering.assign(embeddings, clusters, seed=0)
        require(bool((again == assigned).all()), f"{int((again != assigned).sum())} of {len(embeddings)} differ")
    return assigned
