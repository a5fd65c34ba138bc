# python tools/train.py configs/lifted_pairs_glyphs.py
# Lifted structured embedding on Glyphs in the released code's batches (Song et al. 2016): 64 pairs from one shuffled
# list of all positive pairs of the training set and as many random negative ones.
_base_ = ["lifted_glyphs.py"]

train_dataloader = dict(sampler=dict(_delete_=True, type="PairListBatchSampler", pairs_per_batch=64))
