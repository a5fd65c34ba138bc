# metricforge train margin_glyphs
# Margin loss (Wu et al. 2017), on Glyphs.
_base_ = ["normsoftmax_glyphs.py"]

model = dict(
    miner=dict(type="DistanceWeightedTripletMiner"),
    loss=dict(_delete_=True, type="MarginLoss"),
)
