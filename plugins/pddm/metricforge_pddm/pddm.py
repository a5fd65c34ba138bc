"""The position-dependent deep metric: a similarity learned from where two embeddings lie, not only how far apart."""

from __future__ import annotations

from metricforge import SIMILARITIES
from metricforge_pddm.metric_head import Init, MetricHead


@SIMILARITIES.register_module()
class PDDM(MetricHead):
    """Position-dependent deep metric unit (Huang et al., NIPS 2016, Eq. 2).

    From L2-normalised f: ``u = |f_i - f_j|``, ``v = (f_i + f_j) / 2``, ``u' = r(relu(W_u u + b_u))``, ``v' =
    r(relu(W_v v + b_v))``, ``c = relu(W_c [u'; v'] + b_c)``, ``S = W_s c + b_s``, where r scales to length 1 and
    leaves a zero vector zero. Scores have no fixed range; they are symmetric in evaluation, up to rounding, while in
    training every ordered pair has dropout masks of its own. Computed in at least float32, also under autocast:
    mining compares scores that lie close together.

    ``search`` is None: no vector index ranks as this does. Memory is bounded by blocks of rows; time is
    3 N M dim^2 multiplications for N times M pairs, without gradients half of that for all pairs of one set.

    What the paper leaves open: dropout stands behind the ReLU of W_u, W_v and W_c, before r, so that u' and v' have
    length 1, and not behind W_s, where it would drop whole scores. Weights start as torch's linear layers do, unless
    ``init`` says otherwise.

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
        super().__init__(dim, hidden, dropout, init, with_mean=True)
