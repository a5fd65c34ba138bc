"""The base of every data set: labelled images, with the names of their classes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from metricforge.arrays import Array, Bytes, Flags, Indices
from metricforge.component_arguments import is_component
from metricforge.datasets.decoding.decode_image import reason_of
from metricforge.datasets.decoding.eight_bit_rgb import OPEN_SCALE, eight_bit_rgb
from metricforge.datasets.decoding.limits import MOST_PIXELS, resizing_excess
from metricforge.errors import DatasetError, MetricForgeError, UnreadableImageError
from metricforge.named_exits import exits_of_others_named
from metricforge.registry import TRANSFORMS
from metricforge.structures import Role

_OF_ONE_IMAGE = (v2.RandomResizedCrop, v2.RandomCrop, v2.CenterCrop, v2.Resize)


class ImageDataset(Dataset[dict[str, Any]], ABC):
    """One split of a labelled image collection; item ``i`` is ``dict(image, label, id)``.

    ``image`` is a uint8 tensor (3, H, W), ``label`` an int in 0..C-1, ``id`` the position ``i``. A subclass finds the
    images, calls this constructor and implements ``load``.

    Args:
        name: of the collection, such as "Glyphs".
        split: which part of it this is, such as "train".
        labels: one integer per image (N,); together they take every value in 0..C-1.
        class_names: one name per class, indexed by label.
        roles: of each image (N,), as bits of ``Role``: whether a test uses it as a query, in the gallery, or both.
            None: both, for all. There must be at least one query and one image in the gallery.
        groups: one integer per image (N,), together every value in 0..G-1: a level above the classes, such as the kind
            of product. None: there is none.
        group_names: one name per group, indexed by group.
        cameras: one integer per image (N,), together every value from 0 on: which camera took it. None: unknown.
        camera_names: one name per camera, indexed by camera.
        notes: lines to print about how the images were found, such as what was left out.
        transform: transform configs such as ``dict(type="CenterCrop", size=224)``, or callables, applied in this order
            to the uint8 image (3, H, W); the last must return uint8 (3, H', W').

    ``reduced_decoding`` (initially False) says whether a JPEG may be decoded at a fraction of its size if the first
    transform shrinks it further; ``metricforge.datasets.decoding.reduced_decoding`` has the rule. ``decodes_later``
    (initially False, and always if images are not files) says whether JPEGs are returned undecoded.
    ``transform_of_any_file`` are transform configs that bring an image of any size into the form of this data set's,
    for a model that was trained on it without a transform.

    Raises:
        DatasetError: if there are no images, or labels and class names do not match.
        ConfigError: for a transform that cannot be built.
    """

    transform_of_any_file: ClassVar[Sequence[Mapping[str, Any]]] = ()
    unreadable_advice: ClassVar[str] = (
        'replace or remove the file, or train without it: train_dataloader.unreadable="skip"'
    )
    unit: ClassVar[str] = "images"  # what there are so many of, in ``describe``
    has_pictures: ClassVar[bool] = True  # whether ``load`` gives any
    reduced_decoding: bool = False
    decodes_later: bool = False

    _fingerprint: str | None = None

    def __init__(
        self,
        *,
        name: str,
        split: str,
        labels: Sequence[int] | Array,
        class_names: Sequence[str],
        roles: Bytes | None = None,
        groups: Array | None = None,
        group_names: Sequence[str] = (),
        cameras: Array | None = None,
        camera_names: Sequence[str] = (),
        notes: Sequence[str] = (),
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.split = split
        self.labels: Indices = np.asarray(labels, dtype=np.int64)  # (N,)
        self.class_names = tuple(class_names)
        if self.labels.ndim != 1 or len(self.labels) == 0:
            raise DatasetError(f"{name} {split} needs a label for each of at least one image, got {self.labels.shape}")
        _check_numbering(self.labels, len(self.class_names), f"{name} {split}", "class", "label")
        self.roles = None if roles is None or (roles == Role.BOTH).all() else np.asarray(roles, dtype=np.uint8)  # (N,)
        if self.roles is not None:
            assert self.roles.shape == self.labels.shape
            _check_roles(self.roles, f"{name} {split}")
        self.groups = None if groups is None else np.asarray(groups, dtype=np.int64)  # (N,)
        self.group_names = tuple(group_names)
        if self.groups is not None:
            assert self.groups.shape == self.labels.shape
            _check_numbering(self.groups, len(self.group_names), f"{name} {split}", "group", "group")
        self.cameras = None if cameras is None else np.asarray(cameras, dtype=np.int64)  # (N,)
        self.camera_names = tuple(camera_names)
        if self.cameras is not None:
            assert self.cameras.shape == self.labels.shape
            _check_numbering(self.cameras, len(self.camera_names), f"{name} {split}", "camera", "camera")
        self.notes = tuple(notes)
        self.set_transform(transform or ())

    def set_transform(self, transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]]) -> None:
        """Replace the transform.

        Raises:
            ConfigError: for one that cannot be built.
        """
        self.transform = [_build_transform(step, f"transform[{i}]") for i, step in enumerate(transform)]

    @property
    def num_classes(self) -> int:
        """C, the number of classes of this split."""
        return len(self.class_names)

    @abstractmethod
    def load(self, index: int) -> Image.Image:
        """Image ``index`` as Pillow opens it, in any mode and size."""

    def at_most(self, count: int) -> ImageDataset:
        """Return these images, or ``count`` of them spread evenly in stored order; classes are renumbered.

        Raises:
            DatasetError: if this kind of data set cannot leave images out.
        """
        if len(self) <= count:
            return self
        rows = np.zeros(len(self), dtype=np.bool_)  # (N,)
        rows[np.linspace(0, len(self) - 1, count).astype(np.int64)] = True
        return self._of_images(rows, np.isin(np.arange(self.num_classes), self.labels[rows]), self.split)

    def of_classes(self, chosen: Flags, split: str) -> ImageDataset:
        """Return the images of the classes for which ``chosen`` (C,) is true, as a data set called ``split``.

        Classes, groups and cameras are renumbered in the same order; the transform stays.

        Raises:
            DatasetError: if this kind of data set cannot leave images out.
        """
        return self._of_images(chosen[self.labels], chosen, split)

    def _of_images(self, rows: Flags, chosen: Flags, split: str) -> ImageDataset:
        """Return the images ``rows`` (N,), which are of the classes ``chosen`` (C,), all of them."""
        part = copy(self)
        part._fingerprint = None
        part.split = split
        part.labels = (np.cumsum(chosen) - 1)[self.labels[rows]]
        part.class_names = tuple(name for name, wanted in zip(self.class_names, chosen, strict=True) if wanted)
        if self.roles is not None:
            part.roles = self.roles[rows]
            _check_roles(part.roles, f"{part.name} {split}")
        if self.groups is not None:
            part.groups, part.group_names = _renumbered(self.groups[rows], self.group_names)
        if self.cameras is not None:
            part.cameras, part.camera_names = _renumbered(self.cameras[rows], self.camera_names)
        part._keep_images(rows)
        return part

    def _keep_images(self, rows: Flags) -> None:
        """Keep only ``rows`` (N,) of whatever a subclass stores for each image."""
        raise DatasetError(
            f"validation: {type(self).__name__} cannot leave images out, so no training classes can be set aside; "
            "implement _keep_images(rows) in it, or use the weights of the last epoch (validation=None)"
        )

    def location(self, index: int) -> str:
        """Where image ``index`` comes from, for messages and reports: a path, for instance."""
        return f"image {index} of {self.name} {self.split}"

    def entry(self, index: int) -> str:
        """What image ``index`` is, wherever its collection lies, to compare two copies of a data set."""
        return f"{self._name_of_image(index)!r} of class {self.class_names[self.labels[index]]!r}"

    def _name_of_image(self, index: int) -> str:
        return str(index)

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change when the classes, the labels or the images do.

        Transforms and the names of the collection and its folder do not matter. It is taken once: what happens to the
        images later is reported where they are read.
        """
        if self._fingerprint is None:
            self._fingerprint = self._new_fingerprint()
        return self._fingerprint

    def _new_fingerprint(self) -> str:
        digest = hashlib.sha256("\0".join([self.split, *self.class_names]).encode())
        digest.update(self.labels.astype("<i8").tobytes())
        for column in (self.roles, self.groups, self.cameras):
            if column is not None:
                digest.update(column.tobytes())
        self._digest_images(digest)
        return digest.hexdigest()[:16]

    def _digest_images(self, digest: hashlib._Hash) -> None:
        """Add to ``digest`` what distinguishes these images from others, without reading millions of files."""

    def describe(self) -> str:
        """One line, such as ``Glyphs train: 9,876 images of 858 classes``."""
        line = f"{self.name} {self.split}: {len(self):,} {self.unit} of {self.num_classes:,} classes"
        if self.roles is None:
            return line
        queries, gallery = ((self.roles & role != 0).sum() for role in (Role.QUERY, Role.GALLERY))
        return f"{line}, {queries:,} queries in a gallery of {gallery:,}"

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside 0..{len(self) - 1} of {self.describe()}")
        with exits_of_others_named():  # here, because a worker that ends takes along which code ended it
            image, done = self._begin(index)
            image = self._apply_transform(image, index, done)
        return {"image": image, "label": int(self.labels[index]), "id": int(index)}

    def _begin(self, index: int) -> tuple[Tensor, int]:
        """Return image ``index`` after the steps of the transform that decoding includes, and their number."""
        return self._pixels(index, self.load), 0

    def _pixels(self, index: int, load: Callable[[int], Image.Image]) -> Tensor:
        """Image ``index``, which ``load`` opens, as uint8 (3, H, W)."""
        try:
            image = load(index)
            mode = image.mode
            pixels = np.array(eight_bit_rgb(image))  # (H, W, 3)
        except Exception as fault:  # decoders raise errors of any type
            if isinstance(fault, MetricForgeError) and not isinstance(fault, UnreadableImageError):
                raise
            raise UnreadableImageError(
                f"{self.location(index)} cannot be read as an image ({reason_of(fault)}); {self.unreadable_advice}"
            ) from fault
        if mode in OPEN_SCALE:
            raise UnreadableImageError(
                f"{self.location(index)} has 32 bits a channel (Pillow's mode {mode}); "
                "convert it to 8 bits with a scale of your choice"
            )
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()  # (3, H, W)

    def _apply_transform(self, image: Any, index: int, done: int) -> Tensor:
        """Apply the steps of the transform after the first ``done`` to ``image``."""
        culprit = ""
        for step in self.transform[done:]:
            if isinstance(image, Tensor):
                self._refuse_to_enlarge(index, step, image.shape[-1], image.shape[-2])
            try:
                image = _applied(step, image)
            except Exception as fault:  # such as a crop that is larger than the image, or a size that is none
                if not isinstance(fault, ValueError) and not type(step).__module__.startswith("torchvision."):
                    raise  # the code of another's step needs its traceback
                raise DatasetError(
                    f"transform {type(step).__name__} of {self.name} {self.split} cannot take "
                    f"{self.location(index)}: {fault}"
                ) from fault
            if _is_image_tensor(image):
                culprit = ""
            elif not culprit:
                culprit = type(step).__name__ if not hasattr(step, "__name__") else step.__name__
        if culprit:
            raise DatasetError(
                f"transform {culprit} of {self.name} {self.split} made {_describe_value(image)} out of "
                f"{self.location(index)}; the last transform must return a uint8 tensor (3, H, W): "
                "the model scales and normalises it on the device"
            )
        return image

    def _refuse_to_enlarge(self, index: int, step: Any, width: int, height: int) -> None:
        """Raise UnreadableImageError if ``step`` would make too many pixels of image ``index``, a few pixels high."""
        if type(step) is not v2.Resize or step.size is None or len(step.size) != 1 or step.max_size is not None:
            return
        fault = resizing_excess(step.size[0], width, height)
        if fault:
            raise UnreadableImageError(
                f"{self.location(index)} cannot be resized: {fault}; remove the image or crop it, or raise "
                f"the environment variable {MOST_PIXELS}"
            )


def _check_numbering(numbers: Indices, names: int, where: str, kind: str, number: str) -> None:
    """Raise DatasetError unless ``numbers`` take exactly the values 0..names-1."""
    low, high = numbers.min(), numbers.max()
    if low < 0 or high != names - 1 or not np.bincount(numbers).all():
        raise DatasetError(
            f"{where} has {names} {kind} names, but {len(np.unique(numbers))} {number}s in {low}..{high}; "
            f"every {number} in 0..{kind[0].upper()}-1 must have an image and a name"
        )


def _renumbered(numbers: Indices, names: Sequence[str]) -> tuple[Indices, tuple[str, ...]]:
    """``numbers`` (n,) as positions among those that occur, and the ``names`` of these."""
    occurs = np.bincount(numbers, minlength=len(names)) > 0
    return (np.cumsum(occurs) - 1)[numbers], tuple(name for name, kept in zip(names, occurs, strict=True) if kept)


def _check_roles(roles: Bytes, where: str) -> None:
    for role, name, task in ((Role.QUERY, "query", "to search with"), (Role.GALLERY, "gallery", "to search in")):
        if not (roles & role).any():
            raise DatasetError(f"{where} has no image whose role is {name}, so there is nothing {task}")


def _build_transform(step: Any, path: str) -> Callable[[Any], Any]:
    if not isinstance(step, Mapping):
        if not callable(step):
            raise TypeError(f"{path} must be a dict with a type, or a callable, got {step!r}")
        return step
    arguments = dict(step)
    # RandomApply, RandomChoice, RandomOrder and Compose hold transforms of their own.
    nested = arguments.get("transforms")
    if isinstance(nested, Sequence) and any(is_component(inner) for inner in nested):
        arguments["transforms"] = [_build_transform(inner, f"{path}.transforms[{i}]") for i, inner in enumerate(nested)]
    return TRANSFORMS.build(arguments, path=path)


def _applied(step: Callable[[Any], Any], image: Any) -> Any:
    """Apply ``step`` with the same random draws, without torchvision's search for boxes and masks if it can be."""
    if type(image) is Tensor:
        if isinstance(step, v2.RandomHorizontalFlip) and type(step) is v2.RandomHorizontalFlip:
            return functional.horizontal_flip_image(image) if torch.rand(1).item() < step.p else image
        if isinstance(step, v2.Transform) and type(step) in _OF_ONE_IMAGE:
            return step.transform(image, step.make_params([image]))
    return step(image)


def _is_image_tensor(image: Any) -> bool:
    return isinstance(image, Tensor) and image.dtype == torch.uint8 and image.dim() == 3 and image.shape[0] == 3


def _describe_value(image: Any) -> str:
    if isinstance(image, Tensor):
        return f"a {str(image.dtype).removeprefix('torch.')} tensor {tuple(image.shape)}"
    return f"a {type(image).__name__}"
