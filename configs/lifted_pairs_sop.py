# metricforge train lifted_pairs_sop
# Lifted structured embedding with equally many negative pairs on SOP (Song et al. 2016).
# Section 5, as in the released code: batches of 64 pairs from one shuffled list of all positive pairs of the training
# set and as many random negative ones.
_base_ = ["lifted_sop.py"]

train_dataloader = dict(sampler=dict(_delete_=True, type="PairListBatchSampler", pairs_per_batch=64))
