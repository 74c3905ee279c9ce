"""Two pictures into one: Merge2, Copy, Keymix, and the mask and mix that they share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.host.evaluate import Context
from tests.host.picture import Box, Picture

_Pixels = np.ndarray
# A and B: colour; a and b: their alphas.
_FORMULAS: dict[str, Callable[[_Pixels, _Pixels, _Pixels, _Pixels], _Pixels]] = {
    "over": lambda A, B, a, b: A + B * (1 - a),
    "under": lambda A, B, a, b: A * (1 - b) + B,
    "plus": lambda A, B, a, b: A + B,
    "minus": lambda A, B, a, b: A - B,
    "from": lambda A, B, a, b: B - A,
    "mask": lambda A, B, a, b: B * a,
    "stencil": lambda A, B, a, b: B * (1 - a),
    "in": lambda A, B, a, b: A * b,
    "out": lambda A, B, a, b: A * (1 - b),
    "atop": lambda A, B, a, b: A * b + B * (1 - a),
    "copy": lambda A, B, a, b: A + B * 0,
    "multiply": lambda A, B, a, b: A * B,
    "matte": lambda A, B, a, b: A * a + B * (1 - a),
    "xor": lambda A, B, a, b: A * (1 - b) + B * (1 - a),
    "max": lambda A, B, a, b: np.maximum(A, B),
    "min": lambda A, B, a, b: np.minimum(A, B),
    "difference": lambda A, B, a, b: np.abs(A - B),
    "average": lambda A, B, a, b: (A + B) / 2,
}


def mixed(before: np.ndarray, after: np.ndarray, amount: np.ndarray | float) -> np.ndarray:
    """`after` where amount is 1, `before` where it is 0, bit for bit at both ends."""
    if isinstance(amount, float) and amount in (0.0, 1.0):
        return after if amount else before
    amount = np.asarray(amount, np.float32)
    between = before + (after - before) * amount
    return np.where(amount == 0, before, np.where(amount == 1, after, between)).astype(np.float32)


def mask_amount(context: Context, taken: Picture, box: Box, pipe: int) -> np.ndarray | float:
    """mix times the mask. With the mask pipe connected its channel maskChannelMask counts; else maskChannelInput
    of the picture itself, where "none" is no mask."""
    mix = np.float32(context.number("mix")) if "mix" in context.node._knobs else np.float32(1)
    if context.has(pipe):
        mask = context.input(pipe).over(context.channel("maskChannelMask"), box)
    else:
        name = context.channel("maskChannelInput")
        if not name:
            return float(mix)
        mask = taken.over(name, box)
    mask = np.clip(mask, 0, 1)
    return (1 - mask if context.flag("invert_mask") else mask) * mix


def _box(context: Context, a: Picture, b: Picture) -> Box:
    choice = context.word("bbox")
    return {"union": a.bbox.union(b.bbox), "intersection": a.bbox.intersect(b.bbox), "A": a.bbox, "B": b.bbox}[choice]


def merge(context: Context) -> Picture:
    """B is input 0, A input 1, then 3, 4, ...; the mask is input 2."""
    b = context.input(0)
    operation = context.word("operation")
    if operation not in _FORMULAS:
        raise context.fail(f"the stand-in does not do the operation {operation}")
    if context.flag("sRGB") or context.flag("screen_alpha"):
        raise context.fail("the stand-in merges in linear only, with alpha like colour")
    for place in [1, *range(3, context.node.inputs())]:
        if context.has(place):
            b = _merged(context, context.input(place), b, operation)
    return b


def _merged(context: Context, a: Picture, b: Picture, operation: str) -> Picture:
    box = _box(context, a, b)
    amount = mask_amount(context, b, box, 2)
    planes = {name: b.over(name, box) for name in b.planes}
    formula = _FORMULAS[operation]
    alpha_a, alpha_b = a.over("rgba.alpha", box), b.over("rgba.alpha", box)
    triples = list(
        zip(context.channels("Achannels"), context.channels("Bchannels"), context.channels("output"), strict=False)
    )
    triples += [(name, name, name) for name in context.channels("also_merge") if name in a.planes or name in b.planes]
    results = {}
    for from_a, from_b, target in triples:
        below = b.over(from_b, box)
        results[target] = mixed(b.over(target, box), formula(a.over(from_a, box), below, alpha_a, alpha_b), amount)
    planes.update(results)
    outside = "black" if a.outside == b.outside == "black" else "repeat"
    metadata = {"B": b.metadata, "A": a.metadata, "All": {**b.metadata, **a.metadata}}[context.word("metainput")]
    return Picture(planes, box, b.format, metadata, outside)


def copy(context: Context) -> Picture:
    """Channels of A (input 1) into B (input 0), one by one or by layer; the mask is input 2."""
    b, a = context.input(0), context.input(1)
    if not context.has(1):
        return b
    pairs = [(context.channel(f"from{i}"), context.channel(f"to{i}")) for i in range(4)]
    # "all" is what is there, not what the session knows.
    pairs += [(name, name) for name in context.channels("channels") if name in a.planes or name in b.planes]
    pairs = [(source, target) for source, target in pairs if source and target]
    box = _box(context, a, b)
    amount = mask_amount(context, b, box, 2)
    planes = {name: b.over(name, box) for name in b.planes}
    for source, target in pairs:
        planes[target] = mixed(b.over(target, box), a.over(source, box), amount)
    metadata = {"B": b.metadata, "A": a.metadata, "All": {**b.metadata, **a.metadata}}[context.word("metainput")]
    return Picture(planes, box, b.format, metadata, "black" if a.outside == b.outside == "black" else "repeat")


def keymix(context: Context) -> Picture:
    """A (input 1) over B (input 0) by the mask (input 2)."""
    b, a = context.input(0), context.input(1)
    if not context.has(2):
        raise context.fail("what Keymix does without a mask is not confirmed; connect one")
    box = _box(context, a, b)
    mask = np.clip(context.input(2).over(context.channel("maskChannel"), box), 0, 1)
    if context.flag("invertMask"):
        mask = 1 - mask
    amount = mask * np.float32(context.number("mix"))
    planes = {name: b.over(name, box) for name in b.planes}
    for name in context.channels("channels"):
        if name in a.planes or name in b.planes:
            planes[name] = mixed(b.over(name, box), a.over(name, box), amount)
    return Picture(planes, box, b.format, b.metadata, "black" if a.outside == b.outside == "black" else "repeat")
