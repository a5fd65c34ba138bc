# metricforge train pddm_hard_glyphs
# PDDM (Huang et al. 2016) with the paper's hardest quadruplets, on Glyphs.
# A learned similarity mines hard quadruplets and is trained with them. One quadruplet a batch, as in the paper, learns
# slowly; here every anchor of the batch gives one.
_base_ = ["_base_/datasets/glyphs.py", "_base_/schedules/glyphs_adamw.py", "_base_/runtime/default.py"]

model = dict(
    backbone=dict(type="GlyphNet"),
    head=dict(type="EmbeddingHead", dim=128, layer_norm=True),
    similarity=dict(type="PDDM"),
    miner=dict(type="HardQuadrupletMiner", per="anchor"),
    loss=dict(type="DoubleHeaderHingeLoss"),
)
# After each epoch the embeddings are scored by their distance, and the learned score puts the 100 nearest into order.
# Ranking by the score alone takes all 47 million pairs: that is left to the end of training, and to test.py.
_scores = [dict(type="RecallAtK", ks=[1, 2, 4, 8]), dict(type="MAPAtR"), dict(type="RPrecision")]
_distance = dict(type="EuclideanSimilarity")
evaluators = [
    dict(type="ScoresBySimilarity", name="euclidean", similarity=_distance, evaluators=_scores),
    dict(type="ReRanked", similarity=_distance, shortlist=100, evaluators=[_scores[0]], agreement=[]),
    dict(type="NMI"),
]
final_evaluators = [*_scores, dict(type="ReRanked", similarity=_distance, evaluators=[], agreement=[1, 10])]
checkpoint = dict(save_best="reranked/recall@1")
