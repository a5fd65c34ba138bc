# metricforge train margin_sop
# Margin loss (Wu et al. 2017) on Stanford Online Products, beside Zhai & Wu 2018, Table 3.
# ResNet-50, 128 dimensions, batches of 16 classes x 5 images and distance-weighted triplets. But for these it is
# trained by NormSoftmax's recipe (section 6.1), and not by that of its own paper.
_base_ = ["normsoftmax_sop.py"]

train_dataloader = dict(sampler=dict(classes_per_batch=16, samples_per_class=5))
model = dict(
    head=dict(dim=128),
    miner=dict(type="DistanceWeightedTripletMiner"),
    loss=dict(_delete_=True, type="MarginLoss"),
)
