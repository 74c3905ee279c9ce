"""The final picture of a frame: in the output's colour space, with the layers that were asked for, and its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fsgan_core.clips.inputs import JobInputs
from fsgan_core.contract import layers
from fsgan_core.contract.layers import RGB, RGBA
from fsgan_core.contract.version import __version__
from fsgan_core.plates.plate import Plate, Window, compute_slices
from fsgan_core.render.context import NO_FACE
from fsgan_core.render.frame_pictures import BlendResult, TargetFrame
from fsgan_core.render.frames import FrameRenderer, convert_plate

__all__ = [
    "EXTRA_CHANNELS",
    "STAGE_CHANNELS",
    "add_layers",
    "make_empty_picture",
    "make_passed_plate",
    "render_final_plate",
]

STAGE_CHANNELS: Mapping[str, tuple[str, ...]] = {
    "reenact": (
        *RGBA,
        *(layers.ST_U, layers.ST_V, layers.CONFIDENCE, layers.MATTE_KEPT),
        *(layers.UV_U, layers.UV_V),
    ),
    "mask": layers.MATTES,
    "inpaint": (*RGBA, layers.MATTE_COMPLETED, layers.MATTE_KEPT),
}

EXTRA_CHANNELS = (
    *layers.list_layer_channels(layers.LAYER_REENACTED),
    *layers.list_layer_channels(layers.LAYER_COMPLETED),
    *layers.MATTES,
    layers.MATTE_COMPLETED,
    layers.MATTE_KEPT,
    layers.MATTE_SOFT,
    layers.CONFIDENCE,
    layers.ST_U,
    layers.ST_V,
    layers.UV_U,
    layers.UV_V,
)
# Coordinates need more than half's 11 bits.
_FLOAT_CHANNELS = (layers.ST_U, layers.ST_V, layers.UV_U, layers.UV_V)


def render_final_plate(renderer: FrameRenderer, frame: int) -> Plate:
    """Renders the whole job for one frame; `output.layers = all` adds the picture of each stage as layers.

    Raises:
        PlateError: A picture cannot be read.
        EngineError: An engine or its weights are missing.
    """
    has_all_layers = renderer.context.inputs.stages.output.layers == "all"
    target = renderer.get_target(frame)
    pictures = renderer.render_stages_before_blend(frame)
    blend = renderer.render_blended(frame, pictures.completed, pictures.mattes)
    plate = to_output_space(renderer.context.inputs, target, blend.plate)
    if has_all_layers:
        plate = add_layers(
            plate, renderer.context.inputs, pictures.reenacted, pictures.mattes, pictures.completed, blend
        )
    return _tag_colorspace(plate, renderer.context.inputs)


def make_passed_plate(renderer: FrameRenderer, frame: int) -> Plate:
    """Makes the final picture of a frame without a face: the target's own, in the output's colour space."""
    target = renderer.get_target(frame)
    plate = to_output_space(renderer.context.inputs, target, target.plate)
    metadata = {
        layers.META_SYNTHETIC: plate.metadata.get(layers.META_SYNTHETIC, 0),
        layers.META_VERSION: __version__,
        layers.META_FLAGS: ", ".join(renderer.context.list_flags(frame)),
    }
    plate = replace(plate, metadata={**plate.metadata, **metadata})
    if renderer.context.inputs.stages.output.layers == "all":
        plate = add_layers(plate, renderer.context.inputs, None, None, None, None)
    return _tag_colorspace(plate, renderer.context.inputs)


def make_empty_picture(renderer: FrameRenderer, stage: str, frame: int) -> Plate:
    """Makes what a single stage writes for a frame without a face: one empty pixel in the plate's corner."""
    target = renderer.get_target(frame).plate
    corner = Window(target.display_window.x, target.display_window.y, 1, 1)
    channels = STAGE_CHANNELS[stage]
    metadata = {
        layers.META_FLAGS: NO_FACE,
        layers.META_VERSION: __version__,
        layers.META_COLORSPACE: renderer.context.inputs.working_space,
    }
    return Plate(
        np.zeros((1, 1, len(channels)), np.float32),
        channels,
        corner,
        target.display_window,
        target.pixel_aspect,
        metadata,
    )


def to_output_space(inputs: JobInputs, target: TargetFrame, result: Plate) -> Plate:
    """Converts a result from the working space to the output's colour space.

    If the target is in the output's space too, pixels that no stage changed keep the target's values: converting them
    there and back would change their last bit.
    """
    space = inputs.output_space
    if space == inputs.working_space:
        return result
    if space != inputs.target.space:
        return convert_plate(result, inputs, inputs.working_space, space)
    rgb = result.find_channels(RGB)
    target_values, result_values = target.plate.get(*RGB), result.get(*RGB)
    differs = target_values.view(np.uint32) != result_values.view(np.uint32)
    changed = differs[..., 0] | differs[..., 1] | differs[..., 2]
    pixels = result.pixels.copy()
    picture = target.original.get(*RGB)
    picture[changed] = inputs.config.convert(result_values[changed][None], inputs.working_space, space)[0]
    pixels[..., rgb] = picture
    return replace(result, pixels=pixels, metadata={**target.original.metadata, **result.metadata})


def add_layers(
    plate: Plate,
    inputs: JobInputs,
    reenacted: Plate | None,
    mattes: Plate | None,
    completed: Plate | None,
    blend: BlendResult | None,
) -> Plate:
    """Adds the picture of every stage to a plate as further channels; replaces channels of the same name.

    Args:
        plate: The final picture, in the output's colour space.
        inputs: The job.
        reenacted: Picture of `reenact`, in the working space. As for all others: None adds zeros.
        mattes: Picture of `mask`.
        completed: Picture of `inpaint`, in the working space.
        blend: Result of `blend`.

    Returns:
        A plate with the same data window; the layers are zero outside their own pictures.
    """
    kept_indices = [index for index, name in enumerate(plate.channels) if name not in EXTRA_CHANNELS]
    channels = tuple(plate.channels[index] for index in kept_indices) + EXTRA_CHANNELS
    # A 4K frame with all layers is 850 MB: it is filled in place.
    pixels = np.zeros((*plate.pixels.shape[:2], len(channels)), np.float32)
    for position, index in enumerate(kept_indices):
        pixels[..., position] = plate.pixels[..., index]

    def put_channels(picture: Plate | None, names: tuple[str, ...], picture_names: tuple[str, ...]) -> None:
        if picture is None:
            return
        common = picture.data_window.intersect(plate.data_window)
        if common.empty:
            return
        into, out_of = compute_slices(common, plate.data_window), compute_slices(common, picture.data_window)
        for name, channel in zip(names, picture_names, strict=True):
            pixels[(*into, channels.index(name))] = picture.get_matte(channel)[out_of]

    for picture, layer in ((reenacted, layers.LAYER_REENACTED), (completed, layers.LAYER_COMPLETED)):
        converted = (
            convert_plate(picture, inputs, inputs.working_space, inputs.output_space) if picture is not None else None
        )
        put_channels(converted, layers.list_layer_channels(layer), RGBA)
    data = (layers.CONFIDENCE, *_FLOAT_CHANNELS)
    put_channels(reenacted, data, data)
    put_channels(mattes, layers.MATTES, layers.MATTES)
    own = (layers.MATTE_COMPLETED, layers.MATTE_KEPT)
    put_channels(completed, own, own)
    if blend is not None:
        soft = Plate(blend.matte[..., None].astype(np.float32), (layers.MATTE_SOFT,), blend.region, blend.region)
        put_channels(soft, (layers.MATTE_SOFT,), (layers.MATTE_SOFT,))
    formats = plate.formats or ("half",) * len(plate.channels)
    extra_formats = tuple("float" if name in _FLOAT_CHANNELS else "half" for name in EXTRA_CHANNELS)
    return replace(
        plate,
        pixels=pixels,
        channels=channels,
        formats=tuple(formats[index] for index in kept_indices) + extra_formats,
        integers={name: exact for name, exact in plate.integers.items() if name not in EXTRA_CHANNELS},
    )


def _tag_colorspace(plate: Plate, inputs: JobInputs) -> Plate:
    metadata: dict[str, Any] = {**plate.metadata, layers.META_COLORSPACE: inputs.output_space}
    return replace(plate, metadata=metadata)
