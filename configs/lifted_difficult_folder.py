# metricforge train lifted_difficult_folder --cfg-options data_root=FOLDER
# Lifted structured embedding in batches with difficult neighbours, on a folder.
# Song et al. 2016, section 4: 16 positive pairs, and for each of their 32 images the nearest of another class.
_base_ = ["lifted_folder.py"]

train_dataloader = dict(
    sampler=dict(_delete_=True, type="DifficultNeighbourBatchSampler", pairs_per_batch=16, neighbours_per_image=1),
)
