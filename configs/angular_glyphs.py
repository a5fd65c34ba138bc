# metricforge train angular_glyphs
# Angular loss (Wang et al. 2017), on Glyphs.
_base_ = ["triplet_glyphs.py"]

model = dict(
    miner=None,
    loss=dict(_delete_=True, type="pml.AngularLoss", alpha=45),
)
