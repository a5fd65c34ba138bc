# What every run shares. A tenth of the training classes is set aside and chooses the epoch whose weights are kept; the
# test classes are scored once, at the end.
seed = 0
validation = 0.1
checkpoint = dict(interval=1, max_keep=2, save_best="recall@1")
