# What Song et al. (2016, section 5) train each loss by: GoogLeNet, 64 dimensions that are not normalised, SGD at 1e-4,
# the new layer's weights at 10 times and its bias at 20 times that; compared with the pretrained network's pooled
# features. The paper's GoogLeNet is Caffe's, without BatchNorm; torchvision's has 57 BatchNorm layers.
model = dict(
    backbone=dict(type="TorchvisionBackbone", name="googlenet", weights="IMAGENET1K_V1", dropout=0.4),
    head=dict(type="EmbeddingHead", dim=64, l2_normalize=False, bias=True),
    similarity=dict(type="EuclideanSimilarity"),
)
baselines = dict(pool5=dict(similarity=dict(type="EuclideanSimilarity")))
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=1e-4, momentum=0.9, weight_decay=2e-4),
    paramwise_cfg=dict(custom_keys={"head.linear.weight": dict(lr_mult=10), "head.linear.bias": dict(lr_mult=20)}),
)
# As the paper clusters; the k-means of `evaluators` is what everybody else does.
final_evaluators = [
    dict(
        type="ScoresByClustering",
        name="affinity",
        clustering=dict(type="AffinityPropagation"),
        evaluators=[dict(type="NMI"), dict(type="PairF1")],
    )
]
