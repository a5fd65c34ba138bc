# A ViT-S/14 with DINOv2's weights and 512 dimensions, at 224 pixels, compared with its frozen feature.
# Without access to the model hub add model.backbone.weights=FILE, a file of the same network.
model = dict(
    backbone=dict(
        type="TimmBackbone",
        name="vit_small_patch14_reg4_dinov2.lvd142m",
        pretrained=True,
        img_size=224,
        global_pool="cls",
    ),
    head=dict(type="EmbeddingHead", dim=512, layer_norm=True),
    similarity=dict(type="CosineSimilarity"),
    loss=dict(type="NormSoftmaxLoss", temperature=0.05),
)
baselines = dict(frozen=dict(similarity=dict(type="CosineSimilarity")))
