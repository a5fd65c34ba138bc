# Short enough for two cores: AdamW, a linear warm-up of one epoch, then a cosine to zero.
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=3e-3, weight_decay=1e-2))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, begin=0, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", T_max=5, begin=1, end=6, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=6)
