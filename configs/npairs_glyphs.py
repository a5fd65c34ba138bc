# metricforge train npairs_glyphs
# N-pair loss (Sohn 2016), on Glyphs.
_base_ = ["lifted_glyphs.py"]

model = dict(
    miner=None,
    loss=dict(_delete_=True, type="NPairsLoss", l2_weight=0.001),
)
