# What the papers' recipes share: as in the papers, all training classes train, the weights are those of the last epoch,
# the head's embeddings are read, and the test classes are scored by them, once.
seed = 0
validation = None
readout = None
checkpoint = dict(interval=1, max_keep=2, save_best=None)
