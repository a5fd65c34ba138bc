# What every run shares.
seed = 0
checkpoint = dict(interval=1, max_keep=2, save_best="recall@1")
