# metricforge train lifted_pairs_glyphs
# Lifted structured embedding in the released code's batches, on Glyphs.
# Song et al. 2016: 64 pairs from one shuffled list of all positive pairs of the training set and as many random
# negative ones.
_base_ = ["lifted_glyphs.py"]

train_dataloader = dict(sampler=dict(_delete_=True, type="PairListBatchSampler", pairs_per_batch=64))
