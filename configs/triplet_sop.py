# metricforge train triplet_sop
# Triplet loss on Stanford Online Products (Song et al. 2016, section 5).
# GoogLeNet, batches of 120, 20,000 steps, SGD at 1e-4, the new layer's weights at 10 times and its bias at 20 times
# that, embeddings not normalised.
# Deviation: 30 classes x 4 images a batch, of which triplets are drawn, where the paper draws disjoint triplets.
_base_ = ["_base_/datasets/sop.py", "_base_/recipes/googlenet_64.py", "_base_/runtime/paper.py"]

train_dataloader = dict(
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=30, samples_per_class=4),
)
model = dict(
    miner=dict(type="RandomTripletMiner"),
    loss=dict(type="TripletLoss", margin=1.0, squared=True),
)
train_cfg = dict(max_epochs=40, val_interval=10)  # 496 iterations an epoch: 19,840
# As the paper clusters, but for 60,502 images among the 100 nearest of each.
final_evaluators = [
    dict(
        type="ScoresByClustering",
        name="affinity",
        clustering=dict(type="AffinityPropagation", neighbours=100),
        evaluators=[dict(type="NMI"), dict(type="PairF1")],
    )
]
