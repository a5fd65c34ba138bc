"""The PDDM unit without its knowledge of position: a similarity learned from the difference of two embeddings."""

from __future__ import annotations

from metricforge import SIMILARITIES
from metricforge_pddm.metric_head import Init, MetricHead


@SIMILARITIES.register_module()
class LMDM(MetricHead):
    """Large margin deep metric, the baseline of the PDDM paper (Huang et al., NIPS 2016, Table 1).

    Eq. 2 from u alone, with f L2-normalised: ``u = |f_i - f_j|``, ``u' = r(relu(W_u u + b_u))``, ``c = relu(W_c u' +
    b_c)``, ``S = W_s c + b_s``. Range, symmetry, precision, memory and the place of dropout are as in PDDM.

    Args:
        dim: embedding size D >= 1.
        hidden: width of the unit's layers; None is ``dim``, as in the paper.
        dropout: share of activations dropped in training, 0 <= dropout < 1; the paper's is 0.5.
        init: ``"random"``, torch's linear layers, which know nothing of distance; or ``"distance"``, a deviation: the
            score begins as a falling function of the Euclidean distance, so that the first mined tuples are not noise.

    Raises:
        ValueError: for arguments outside these ranges, or embeddings of another size.
    """

    def __init__(self, dim: int, hidden: int | None = None, dropout: float = 0.5, init: Init = "random") -> None:
        super().__init__(dim, hidden, dropout, init, with_mean=False)
