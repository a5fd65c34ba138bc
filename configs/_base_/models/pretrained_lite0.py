# An EfficientNet-Lite0 with timm's weights and 512 dimensions, compared with its frozen feature.
# BatchNorm stays as it is: batches of few classes are a poor sample of its statistics.
# Without access to the model hub add model.backbone.weights=FILE, a file of the same network.
model = dict(
    backbone=dict(type="TimmBackbone", name="tf_efficientnet_lite0", pretrained=True, frozen_batch_norm=True),
    head=dict(type="EmbeddingHead", dim=512, layer_norm=True),
)
baselines = dict(frozen=dict(similarity=dict(type="CosineSimilarity")))
