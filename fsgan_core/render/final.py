"""The final picture of a frame: in the output's colour space, with the layers that were asked for, and its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fsgan_core.clips.inputs import Inputs
from fsgan_core.contract import layers
from fsgan_core.contract.layers import RGB, RGBA
from fsgan_core.contract.version import __version__
from fsgan_core.plates.plate import Plate, Window, slices
from fsgan_core.render.frames import NO_FACE, Blend, FrameMaker, TargetFrame, converted

__all__ = ["EXTRA_CHANNELS", "STAGE_CHANNELS", "empty_stage_picture", "final_plate", "passed_plate", "with_layers"]

STAGE_CHANNELS: Mapping[str, tuple[str, ...]] = {
    "reenact": (*RGBA, layers.ST_U, layers.ST_V, layers.CONFIDENCE),
    "mask": layers.MATTES,
    "inpaint": (*RGBA, layers.MATTE_COMPLETED),
}

EXTRA_CHANNELS = (
    *layers.layer(layers.LAYER_REENACTED), *layers.layer(layers.LAYER_COMPLETED), *layers.MATTES,
    layers.MATTE_COMPLETED, layers.MATTE_SOFT, layers.CONFIDENCE, layers.ST_U, layers.ST_V,
)
# Coordinates need more than half's 11 bits.
_FLOAT = (layers.ST_U, layers.ST_V)


def final_plate(maker: FrameMaker, frame: int) -> Plate:
    """The whole job for one frame. With output.layers = all, what each stage made stands beside it."""
    everything = maker.stages.output.layers == "all"
    target = maker.target(frame)
    mattes = maker.mattes(frame)
    reenacted = maker.reenacted(frame) if "inpaint" not in maker.upstream else None
    completed = maker.completed(frame, reenacted, mattes)
    blend = maker.blended(frame, completed, mattes)
    plate = in_output_space(maker.inputs, target, blend.plate)
    if everything:
        plate = with_layers(plate, maker.inputs, reenacted, mattes, completed, blend)
    return _named(plate, maker.inputs)


def passed_plate(maker: FrameMaker, frame: int) -> Plate:
    """A frame without a face: the target's own, in the output's space."""
    target = maker.target(frame)
    plate = in_output_space(maker.inputs, target, target.plate)
    metadata = {
        layers.META_SYNTHETIC: plate.metadata.get(layers.META_SYNTHETIC, 0),
        layers.META_VERSION: __version__,
        layers.META_FLAGS: ", ".join(maker.flags(frame)),
    }
    plate = replace(plate, metadata={**plate.metadata, **metadata})
    if maker.stages.output.layers == "all":
        plate = with_layers(plate, maker.inputs, None, None, None, None)
    return _named(plate, maker.inputs)


def empty_stage_picture(maker: FrameMaker, stage: str, frame: int) -> Plate:
    """What a single stage writes for a frame without a face: one empty pixel in the plate's corner."""
    target = maker.target(frame).plate
    corner = Window(target.display_window.x, target.display_window.y, 1, 1)
    channels = STAGE_CHANNELS[stage]
    metadata = {layers.META_FLAGS: NO_FACE, layers.META_VERSION: __version__,
                layers.META_COLORSPACE: maker.inputs.working}
    return Plate(np.zeros((1, 1, len(channels)), np.float32), channels, corner, target.display_window,
                 target.pixel_aspect, metadata)


def in_output_space(inputs: Inputs, target: TargetFrame, result: Plate) -> Plate:
    """`result` (working space) in the output's space.

    Where the target itself is in the output's space, its own values stay wherever the result equals the plate that
    the stages saw: a way there and back through another space would change their last bit.
    """
    space = inputs.output_space
    if space == inputs.working:
        return result
    if space != inputs.target.space:
        return converted(result, inputs, inputs.working, space)
    rgb = result.index(RGB)
    seen, made = target.plate.get(*RGB), result.pixels[..., rgb]
    changed = (seen.view(np.uint32) != np.ascontiguousarray(made).view(np.uint32)).any(-1)
    pixels = result.pixels.copy()
    picture = target.original.get(*RGB)
    picture[changed] = inputs.config.convert(made[changed][None], inputs.working, space)[0]
    pixels[..., rgb] = picture
    return replace(result, pixels=pixels)


def with_layers(plate: Plate, inputs: Inputs, reenacted: Plate | None, mattes: Plate | None, completed: Plate | None,
                blend: Blend | None) -> Plate:
    """`plate` with every stage's picture as further channels, cut to its data window; zero where there is none.
    Channels of the same name that the target had are replaced."""
    kept = [index for index, name in enumerate(plate.channels) if name not in EXTRA_CHANNELS]
    channels = tuple(plate.channels[index] for index in kept) + EXTRA_CHANNELS
    # A 4K frame with all layers is 850 MB: it is filled in place.
    pixels = np.zeros((*plate.pixels.shape[:2], len(channels)), np.float32)
    for place, index in enumerate(kept):
        pixels[..., place] = plate.pixels[..., index]

    def put(picture: Plate | None, names: tuple[str, ...], given: tuple[str, ...]) -> None:
        if picture is None:
            return
        common = picture.data_window.intersect(plate.data_window)
        if common.empty:
            return
        into, out_of = slices(common, plate.data_window), slices(common, picture.data_window)
        for name, channel in zip(names, given, strict=True):
            pixels[(*into, channels.index(name))] = picture.matte(channel)[out_of]

    for picture, layer in ((reenacted, layers.LAYER_REENACTED), (completed, layers.LAYER_COMPLETED)):
        shown = converted(picture, inputs, inputs.working, inputs.output_space) if picture is not None else None
        put(shown, layers.layer(layer), RGBA)
    data = (layers.CONFIDENCE, layers.ST_U, layers.ST_V)
    put(reenacted, data, data)
    put(mattes, layers.MATTES, layers.MATTES)
    put(completed, (layers.MATTE_COMPLETED,), (layers.MATTE_COMPLETED,))
    if blend is not None:
        soft = Plate(blend.matte[..., None].astype(np.float32), (layers.MATTE_SOFT,), blend.region, blend.region)
        put(soft, (layers.MATTE_SOFT,), (layers.MATTE_SOFT,))
    formats = plate.formats or ("half",) * len(plate.channels)
    extra_formats = tuple("float" if name in _FLOAT else "half" for name in EXTRA_CHANNELS)
    return replace(
        plate,
        pixels=pixels,
        channels=channels,
        formats=tuple(formats[index] for index in kept) + extra_formats,
        integers={name: exact for name, exact in plate.integers.items() if name not in EXTRA_CHANNELS},
    )


def _named(plate: Plate, inputs: Inputs) -> Plate:
    metadata: dict[str, Any] = {**plate.metadata, layers.META_COLORSPACE: inputs.output_space}
    return replace(plate, metadata=metadata)
