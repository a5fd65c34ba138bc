"""Resizing, cropping and normalising as ONNX operations, to the same numbers as torchvision up to rounding."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from torchvision.transforms import v2

from metricforge.deployment.interpolation import interpolation_mode
from metricforge.errors import MetricForgeError

OPSET = 18  # the first whose Resize has antialias
INSIDE = "images uint8 (batch, height, width, 3), RGB, turned upright, of any size, those of a batch of one; inside: "
# The weight of a pixel at distance d >= 0, in pixels of the coarser of both images.
_FILTERS = {
    v2.InterpolationMode.BILINEAR: ["rest = Sub (one, d)", "weight = Max (rest, zero)"],
    v2.InterpolationMode.BICUBIC: [
        "two = Constant <value = double {2.0}> ()",
        "n1 = Constant <value = double {1.5}> ()",
        "n2 = Constant <value = double {2.5}> ()",
        "n3 = Constant <value = double {5.0}> ()",
        "n4 = Constant <value = double {8.0}> ()",
        "n5 = Constant <value = double {4.0}> ()",
        "a1 = Mul (n1, d)",  # (1.5 d - 2.5) d^2 + 1 below 1
        "a2 = Sub (a1, n2)",
        "a3 = Mul (a2, d)",
        "a4 = Mul (a3, d)",
        "inner = Add (a4, one)",
        "b1 = Sub (d, n3)",  # -0.5 (((d - 5) d + 8) d - 4) from there to 2
        "b2 = Mul (b1, d)",
        "b3 = Add (b2, n4)",
        "b4 = Mul (b3, d)",
        "b5 = Sub (b4, n5)",
        "b6 = Mul (b5, half)",
        "outer = Neg (b6)",
        "below_one = Less (d, one)",
        "below_two = Less (d, two)",
        "rest = Where (below_two, outer, zero)",
        "weight = Where (below_one, inner, rest)",
    ],
}


def preprocessing_text(
    transform: Sequence[Callable[[Any], Any]],
    mean: Sequence[float],
    std: Sequence[float],
    side: tuple[int, int] | None,
    ir_version: int,
) -> str:
    """A model in ONNX's text syntax: ``images`` uint8 (B, H, W, 3) to ``pixels`` float32 (B, 3, h, w).

    Args:
        transform: torchvision's, applied in this order.
        mean: of red, green and blue in 0..1.
        std: the same.
        side: h and w; None where they follow from the image.
        ir_version: of the graph that this is put in front of.

    Raises:
        MetricForgeError: for a transform that has no such operations; it names it.
    """
    lines = [
        "t0 = Transpose <perm = [0, 3, 1, 2]> (images)",
        "x0 = Cast <to = 1> (t0)",
    ]
    for number, step in enumerate(transform):
        lines += _of_step(step, number)
    last = f"x{len(transform)}"
    lines += [
        f"mean = Constant <value = float[1,3,1,1] {{{', '.join(repr(255 * each) for each in mean)}}}> ()",
        f"std = Constant <value = float[1,3,1,1] {{{', '.join(repr(255 * each) for each in std)}}}> ()",
        f"centred = Sub ({last}, mean)",
        "pixels = Div (centred, std)",
    ]
    height, width = side or ("h", "w")
    body = "\n  ".join(lines)
    output = f"float[batch,3,{height},{width}] pixels"
    return (
        f'<ir_version: {ir_version}, opset_import: ["" : {OPSET}]>\n'
        f"preprocessing (uint8[batch,height,width,3] images) => ({output}) {{\n  {body}\n}}"
    )


def what_is_inside(transform: Sequence[Callable[[Any], Any]]) -> str:
    """What the graph takes and does, in words."""
    steps = [f"{type(step).__name__} as torchvision does it, rounded to whole levels" for step in transform]
    return INSIDE + "; ".join([*steps, "normalising"]) + ". Decoding and turning upright are not inside."


def _of_step(step: Callable[[Any], Any], number: int) -> list[str]:
    if type(step) is v2.Resize:
        return _resize(step, number)
    if type(step) is v2.CenterCrop:
        return _centre_crop(step, number)
    raise MetricForgeError(
        f"--with-preprocessing: {type(step).__name__} cannot be put into an ONNX graph, only Resize and CenterCrop "
        "can; export without it: model.json and the graph's metadata describe the preprocessing"
    )


def _resize(step: Any, n: int) -> list[str]:
    """Resize to a pair of sides, or its shorter side to one, the longer rounded down as torchvision does.

    Written as two products with the weights of the pixels, and not as ONNX's Resize, whose antialiasing differs from
    torchvision's by up to 9 levels of 255 in ONNX Runtime.
    """
    interpolation = interpolation_mode(step.interpolation)
    if interpolation not in _FILTERS or step.max_size is not None or step.size is None or not step.antialias:
        raise MetricForgeError(
            f"--with-preprocessing: Resize with interpolation {interpolation.value}, max_size {step.max_size} and "
            f"antialias {step.antialias} cannot be put into an ONNX graph, only bilinear and bicubic with antialias "
            "and without max_size can; export without it"
        )
    sides = list(step.size)
    if len(sides) == 2:
        size = [f"side{n} = Constant <value_ints = {sides}> ()"]
    else:
        size = [
            f"now{n} = Shape <start = 2, end = 4> (x{n})",
            f"short{n} = ReduceMin <keepdims = 1> (now{n})",
            f"wanted{n} = Constant <value_ints = {sides}> ()",
            f"scaled{n} = Mul (now{n}, wanted{n})",
            f"side{n} = Div (scaled{n}, short{n})",
        ]
    # across, rounded to whole levels, and only then down: so torchvision does it on uint8
    return [
        *size,
        *_weights(f"down{n}", f"x{n}", 2, f"side{n}", 0, interpolation),  # (h, H)
        *_weights(f"across{n}", f"x{n}", 3, f"side{n}", 1, interpolation),  # (w, W)
        f"turned{n} = Transpose <perm = [1, 0]> (across{n})",  # (W, w)
        f"wide{n} = MatMul (x{n}, turned{n})",  # (B, 3, H, w)
        f"low{n} = Constant <value = float {{0.0}}> ()",
        f"high{n} = Constant <value = float {{255.0}}> ()",
        f"up{n} = Constant <value = float {{0.5}}> ()",  # a half is rounded up, as torchvision does
        f"wide_up{n} = Add (wide{n}, up{n})",
        f"wide_rounded{n} = Floor (wide_up{n})",
        f"wide_clipped{n} = Clip (wide_rounded{n}, low{n}, high{n})",
        f"resized{n} = MatMul (down{n}, wide_clipped{n})",  # (B, 3, h, w)
        f"resized_up{n} = Add (resized{n}, up{n})",
        f"rounded{n} = Floor (resized_up{n})",
        f"x{n + 1} = Clip (rounded{n}, low{n}, high{n})",
    ]


def _weights(name: str, image: str, axis: int, sides: str, place: int, mode: v2.InterpolationMode) -> list[str]:
    """What each old pixel contributes to each new one along ``axis``, (new, old) float32, as ``name``; sums are 1."""
    lines = [
        "half = Constant <value = double {0.5}> ()",
        "zero = Constant <value = double {0.0}> ()",
        "one = Constant <value = double {1.0}> ()",
        f"old_int = Shape <start = {axis}, end = {axis + 1}> (IMAGE)",
        f"place = Constant <value_int = {place}> ()",
        "new_int = Gather (SIDES, place)",
        "old_one = Squeeze (old_int)",
        "old = Cast <to = 11> (old_one)",
        "new = Cast <to = 11> (new_int)",
        "scale = Div (old, new)",
        "stretch = Max (scale, one)",  # smaller images average over more pixels
        "old_numbers = Range (zero, old, one)",
        "old_centres = Add (old_numbers, half)",
        "new_numbers = Range (zero, new, one)",
        "new_halves = Add (new_numbers, half)",
        "new_centres = Mul (new_halves, scale)",
        "last = Constant <value_ints = [1]> ()",
        "column = Unsqueeze (new_centres, last)",
        "offsets = Sub (old_centres, column)",
        "relative = Div (offsets, stretch)",
        "d = Abs (relative)",
        *_FILTERS[mode],
        "sums = ReduceSum <keepdims = 1> (weight, last)",
        "exact = Div (weight, sums)",
    ]
    own = [_named_after(line, name).replace("IMAGE", image).replace("SIDES", sides) for line in lines]
    return [*own, f"{name} = Cast <to = 1> ({name}_exact)"]


def _named_after(line: str, owner: str) -> str:
    """``line`` with each of its small-letter values, but no attribute, led by the name of its ``owner``."""
    target, _, rest = line.partition(" = ")
    head, bracket, values = rest.rpartition("(")
    return f"{owner}_{target} = {head}{bracket}" + re.sub(r"\b[a-z]\w*", rf"{owner}_\g<0>", values)


def _centre_crop(step: Any, n: int) -> list[str]:
    """The centre, of an image that black borders make large enough; a half is rounded to even, as Python does."""
    return [
        f"now{n} = Shape <start = 2, end = 4> (x{n})",
        f"wanted{n} = Constant <value_ints = {list(step.size)}> ()",
        f"zero{n} = Constant <value_ints = [0, 0]> ()",
        f"two{n} = Constant <value_ints = [2]> ()",
        f"difference{n} = Sub (wanted{n}, now{n})",
        f"missing{n} = Max (difference{n}, zero{n})",
        f"before{n} = Div (missing{n}, two{n})",
        f"after{n} = Sub (missing{n}, before{n})",
        f"pads{n} = Concat <axis = 0> (zero{n}, before{n}, zero{n}, after{n})",
        f"padded{n} = Pad (x{n}, pads{n})",
        f"enough{n} = Add (now{n}, missing{n})",
        f"spare{n} = Sub (enough{n}, wanted{n})",
        f"spare_float{n} = Cast <to = 1> (spare{n})",
        f"half{n} = Constant <value = float {{0.5}}> ()",
        f"start_float{n} = Mul (spare_float{n}, half{n})",
        f"start_round{n} = Round (start_float{n})",
        f"start{n} = Cast <to = 7> (start_round{n})",
        f"end{n} = Add (start{n}, wanted{n})",
        f"axes{n} = Constant <value_ints = [2, 3]> ()",
        f"x{n + 1} = Slice (padded{n}, start{n}, end{n}, axes{n})",
    ]
