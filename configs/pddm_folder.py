# metricforge train pddm_folder --cfg-options data_root=FOLDER
# PDDM (Huang et al. 2016) on a folder with one sub-folder per class, with what helps its score.
# Deviations from the paper, beside those of pddm_hard_folder: the score begins as the distance, every positive pair
# gives a quadruplet, its negatives are the most alike ones below the pair, and there is no dropout.
_base_ = ["pddm_hard_folder.py"]

model = dict(
    similarity=dict(init="distance", dropout=0.0),
    miner=dict(per="pair", negatives="semi_hard"),
)
