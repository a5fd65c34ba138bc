# metricforge train margin_folder --cfg-options data_root=FOLDER
# Margin loss (Wu et al. 2017), on a folder with one sub-folder per class.
_base_ = ["normsoftmax_folder.py"]

model = dict(
    miner=dict(type="DistanceWeightedTripletMiner"),
    loss=dict(_delete_=True, type="MarginLoss"),
)
