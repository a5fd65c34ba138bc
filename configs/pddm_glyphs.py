# python tools/train.py configs/pddm_glyphs.py
# PDDM (Huang et al. 2016) on Glyphs: a learned similarity mines hard quadruplets and is trained with them.
# One quadruplet a batch, the paper's way, learns slowly; here every anchor of the batch gives one.
_base_ = ["_base_/datasets/glyphs.py", "_base_/schedules/glyphs_adamw.py", "_base_/runtime/default.py"]

model = dict(
    backbone=dict(type="GlyphNet"),
    head=dict(type="EmbeddingHead", dim=128, layer_norm=True),
    similarity=dict(type="PDDM"),
    miner=dict(type="HardQuadrupletMiner", per="anchor"),
    loss=dict(type="DoubleHeaderHingeLoss"),
)
