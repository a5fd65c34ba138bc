# Glyphs: letterforms that come with Matplotlib's fonts. Train on one half of the characters, retrieve the other.
train_dataloader = dict(
    dataset=dict(type="GlyphDataset", split="train"),
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=32, samples_per_class=4),
    num_workers=2,
)
test_dataloader = dict(dataset=dict(type="GlyphDataset", split="test"), batch_size=512, num_workers=0)
evaluators = [
    dict(type="RecallAtK", ks=[1, 2, 4, 8]),
    dict(type="MAPAtR"),
    dict(type="RPrecision"),
    dict(type="NMI"),
]
baselines = {"raw pixels": dict(backbone=dict(type="RawPixels", height=40, width=40, grey=True))}
