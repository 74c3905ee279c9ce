"""Metadata that describe how a picture was made. Each stage adds to the metadata of the stages before it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fsgan_core.clips.presets import describe_preset
from fsgan_core.contract import layers
from fsgan_core.contract.consent import describe_consent
from fsgan_core.contract.errors import FsganError
from fsgan_core.contract.version import __version__
from fsgan_core.plates.exr_checksum import find_damage
from fsgan_core.plates.image_reader import read_frame_metadata
from fsgan_core.render.context import QUICK, RenderContext
from fsgan_core.render.engines import ResolvedEngine
from fsgan_core.render.shared_dependencies import get_view_name
from fsgan_core.stages.drive import DRIVER_CLIP

__all__ = [
    "collect_provenance",
    "is_full_frame",
    "make_provenance",
    "read_finished_metadata",
    "read_flags",
    "read_other_parts",
    "strip_foreign_prefixes",
]

log = logging.getLogger(__name__)


def make_provenance(
    engine: ResolvedEngine[Any],
    *,
    box: Sequence[float],
    space: str,
    flags: Iterable[str],
    input_metadata: Sequence[Mapping[str, Any]] = (),
    sources: Iterable[str] = (),
    leading_view: str = "",
    driver: str = "",
    preset: str = "",
    consent: str = "",
) -> dict[str, Any]:
    """Makes the metadata of a stage's picture.

    Args:
        engine: What made the picture.
        box: The face's x, y, width and height in pixels of the plate.
        space: Colour space of the pixels.
        flags: Flags of the frame.
        input_metadata: Metadata of the pictures that it was made from.
        sources: Names of the clips whose pixels this stage adds.
        leading_view: Clip and frame of the source view that gives the picture its detail; empty: none.
        driver: Name of the clip whose expression this stage adds; empty: none.
        preset: The preset that the parameters started from; empty: none.
        consent: The release that allows the use of the face; empty: none is named.
    """
    own_weights = [f"{name}:{sha[:12]}" for name, sha in sorted(engine.get_weight_hashes().items())]
    values: dict[str, Any] = {
        layers.META_ENGINE: _join_lists(input_metadata, layers.META_ENGINE, [f"{engine.stage}={engine.name}"]),
        layers.META_WEIGHTS: _join_lists(input_metadata, layers.META_WEIGHTS, own_weights) or "none",
        layers.META_VERSION: __version__,
        layers.META_COLORSPACE: space,
        layers.META_FACE: " ".join(f"{value:.2f}" for value in box),
    }
    licences = sorted({weights.info.licence for weights in engine.installed_weights.values()})
    optional = {
        layers.META_LICENCE: _join_lists(input_metadata, layers.META_LICENCE, licences),
        layers.META_FLAGS: _join_lists(input_metadata, layers.META_FLAGS, flags),
        layers.META_SOURCE: _join_lists(input_metadata, layers.META_SOURCE, sources),
        layers.META_LEADING_VIEW: _join_lists(
            input_metadata, layers.META_LEADING_VIEW, [leading_view] if leading_view else []
        ),
        layers.META_PRESET: preset,
        layers.META_CONSENT: consent,
        layers.META_DRIVER: _join_lists(input_metadata, layers.META_DRIVER, [driver] if driver else []),
    }
    values.update({name: text for name, text in optional.items() if text})
    if engine.stage != "mask":
        values[layers.META_SYNTHETIC] = 1
    return values


def collect_provenance(
    context: RenderContext, stage: str, frame: int, input_metadata: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Collects the metadata of a stage's picture.

    Args:
        context: The job.
        stage: The stage that made the picture.
        frame: A frame with a face.
        input_metadata: Metadata of the pictures that it was made from.
    """
    scene = context.get_scene(frame)
    sources: list[str] = []
    leading_view = driver = ""
    engine = context.engines[stage]
    if stage == "reenact":
        views = [get_view_name(scene, view_choice.view) for view_choice in scene.frame_plans[frame].views]
        sources = [clip for clip, _ in views]
        if views:
            leading_view = "{} {}".format(*views[0])
        if context.is_driven(frame):
            driver = scene.view_clips[DRIVER_CLIP].clip_input.name
            engine = context.engines.drive
    return make_provenance(
        engine,
        box=scene.faces[frame].box,
        space=context.inputs.working_space,
        flags=context.list_flags(frame),
        input_metadata=input_metadata,
        sources=sources,
        leading_view=leading_view,
        driver=driver,
        preset=describe_preset(context.inputs.stages),
        consent=describe_consent(context.inputs.stages.consent) if stage == "blend" else "",
    )


def read_flags(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Reads the flags of a frame from its metadata."""
    return _read_name_list(metadata, layers.META_FLAGS)


def holds_synthesised_pixels(metadata: Mapping[str, Any]) -> bool:
    """Tells whether a rendered frame may hold synthesised pixels: all do that do not say that they hold none.

    >>> [holds_synthesised_pixels(one) for one in ({"fsgan/synthetic": 1}, {"fsgan/synthetic": 0}, {})]
    [True, False, True]
    """
    return bool(strip_foreign_prefixes(metadata).get(layers.META_SYNTHETIC) != 0)


def strip_foreign_prefixes(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Removes the prefixes that other programs put before our metadata names ("exr/fsgan/key").

    >>> strip_foreign_prefixes({"exr/fsgan/key": "12ab", "exr/owner": "me"})
    {'fsgan/key': '12ab', 'exr/owner': 'me'}
    """
    prefix = layers.META_PREFIX
    return {name[name.index(prefix) :] if prefix in name else name: value for name, value in metadata.items()}


def _read_name_list(metadata: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(part for part in str(metadata.get(name, "")).split(", ") if part and part != "none")


def _join_lists(input_metadata: Sequence[Mapping[str, Any]], name: str, new_parts: Iterable[str]) -> str:
    """Joins the parts of earlier lists and new parts, each once, in order."""
    earlier = [part for metadata in input_metadata for part in _read_name_list(metadata, name)]
    return ", ".join(dict.fromkeys([*earlier, *new_parts]))


def read_finished_metadata(path: Path, key: str) -> Mapping[str, Any] | None:
    """Reads the metadata of a finished frame. If the key is right, the whole file is checked.

    Args:
        path: File of the frame.
        key: What the frame must have been rendered with.

    Returns:
        None if the file is missing or damaged, or has another key.
    """
    if not path.is_file():
        return None
    try:
        metadata = read_frame_metadata(path)
    except FsganError as error:
        log.info("%s is rendered again: %s", path, error)
        return None
    if metadata.get(layers.META_KEY) != key:
        return None
    damage = find_damage(path)
    if damage:
        log.warning("%s is rendered again: %s", path, damage)
        return None
    return metadata


def is_full_frame(path: Path) -> bool:
    """Tells whether a file is a rendered frame, and not one of a quick look."""
    try:
        metadata = read_frame_metadata(path) if path.is_file() else {}
    except FsganError:
        return False
    return layers.META_KEY in metadata and QUICK not in read_flags(metadata)


def read_other_parts(path: Path, key: str) -> str | None:
    """Reads the parts of the key of a frame that was rendered with another key.

    Args:
        path: File of the frame.
        key: What it should have been rendered with.

    Returns:
        None if the file is missing, damaged, not a rendered frame, or has this key.
    """
    try:
        metadata = read_frame_metadata(path) if path.is_file() else {}
    except FsganError:
        return None
    if metadata.get(layers.META_KEY) in (None, key):
        return None
    return str(metadata.get(layers.META_PARTS, ""))
