# metricforge train npairs_folder --cfg-options data_root=FOLDER
# N-pair loss (Sohn 2016), on a folder with one sub-folder per class.
_base_ = ["lifted_folder.py"]

model = dict(
    miner=None,
    loss=dict(_delete_=True, type="NPairsLoss", l2_weight=0.001),
)
