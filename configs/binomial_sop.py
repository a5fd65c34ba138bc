# metricforge train binomial_sop
# Binomial deviance loss (Ustinova & Lempitsky 2016) on SOP, for Zhai & Wu 2018, Table 1.
# 512 dimensions, batches of 32 classes x 4 images. But for the loss it is trained by Song et al.'s recipe (2016,
# section 5), GoogLeNet for 20,000 steps, and not by that of its own paper.
_base_ = ["_base_/datasets/sop.py", "_base_/recipes/googlenet_64.py", "_base_/runtime/paper.py"]

train_dataloader = dict(sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=32, samples_per_class=4))
model = dict(
    head=dict(dim=512, l2_normalize=True),
    similarity=dict(type="CosineSimilarity"),
    loss=dict(type="BinomialDevianceLoss"),
)
baselines = dict(pool5=dict(similarity=dict(type="CosineSimilarity")))
final_evaluators = []  # Zhai & Wu cluster by k-means
train_cfg = dict(max_epochs=43, val_interval=10)  # 465 iterations an epoch: 19,995
