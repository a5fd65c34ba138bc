# PDDM for transfer learning (Huang et al. 2016, section 3.3): CaffeNet, d = 4096, its last hidden layer without another
# one behind it. Deviation: torchvision's AlexNet, which has neither CaffeNet's two groups of filters nor its local
# response normalisation.
_base_ = ["pddm.py"]

model = dict(
    backbone=dict(_delete_=True, type="TorchvisionBackbone", name="alexnet", weights="IMAGENET1K_V1"),
    head=dict(dim=None),
)
