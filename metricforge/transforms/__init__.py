"""Image transforms by name: every class of ``torchvision.transforms.v2``, under its own name.

They work on the uint8 tensors (3, H, W) that a data set hands them, and their arguments are torchvision's. The papers'
are ``dict(type="Resize", size=(256, 256))``, ``dict(type="RandomCrop", size=227)``,
``dict(type="CenterCrop", size=224)``,
``dict(type="RandomResizedCrop", size=128, scale=(0.3, 1.0))`` and ``dict(type="RandomHorizontalFlip")``.
Where ``RandomResizedCrop`` or ``Resize`` comes first, training decodes a JPEG at 1/2, 1/4 or 1/8 of its size if that
leaves it enough pixels (``train_dataloader.decode="full"`` never does); evaluation only with
``test_dataloader.decode="fast"``.
Normalising is no transform here: the model does it on the device, with its backbone's mean and deviation.
"""

import inspect

from torchvision.transforms import v2

from metricforge.registry import TRANSFORMS

__all__ = sorted(
    name
    for name, member in vars(v2).items()
    if inspect.isclass(member) and issubclass(member, v2.Transform) and member is not v2.Transform
)

for _name in __all__:
    globals()[_name] = TRANSFORMS.register_module(name=_name, module=getattr(v2, _name))
