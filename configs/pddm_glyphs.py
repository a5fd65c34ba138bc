# metricforge train pddm_glyphs
# PDDM (Huang et al. 2016), on Glyphs, with what helps its learned score.
# Deviations from the paper: the score begins as the distance, every positive pair gives a quadruplet, its negatives are
# the most alike ones below the pair, and there is no dropout. pddm_hard_glyphs mines as the paper does.
_base_ = ["pddm_hard_glyphs.py"]

model = dict(
    similarity=dict(init="distance", dropout=0.0),
    miner=dict(per="pair", negatives="semi_hard"),
)
