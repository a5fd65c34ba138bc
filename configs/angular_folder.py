# metricforge train angular_folder --cfg-options data_root=FOLDER
# Angular loss (Wang et al. 2017), on a folder with one sub-folder per class.
_base_ = ["triplet_folder.py"]

model = dict(
    miner=None,
    loss=dict(_delete_=True, type="pml.AngularLoss", alpha=45),
)
