# metricforge train lifted_pairs_folder --cfg-options data_root=FOLDER
# Lifted structured embedding with as many negative pairs as positive ones, on a folder.
# Song et al. 2016, section 5: batches of 32 pairs from one shuffled list.
_base_ = ["lifted_folder.py"]

train_dataloader = dict(sampler=dict(_delete_=True, type="PairListBatchSampler", pairs_per_batch=32))
