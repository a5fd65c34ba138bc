# Six epochs on a pretrained backbone, which learns at a twentieth of the new layers' rate: losses of pairs and triplets
# undo its weights at larger steps. A linear warm-up of two epochs, then a cosine to zero.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.05)}),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.04, begin=0, end=2, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", T_max=4, begin=2, end=6, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=6)
