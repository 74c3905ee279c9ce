"""Colour spaces of an OCIO config: which one a file is in, conversions between them, and what these depend on.

Files are in a named space of an OCIO config ($OCIO, a path, or a config built into OCIO). Face analysis and networks
were trained on sRGB pictures, so they get plates that a `Codec` has encoded (display_values.py).
"""

from __future__ import annotations

import contextlib
import logging
import os
import zipfile
from functools import cache
from itertools import permutations
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import PyOpenColorIO as ocio

from fsgan_core.contract.errors import ColourError
from fsgan_core.plates import curve
from fsgan_core.plates.display_values import SCENE_LIMIT, Codec, copy_rgb
from fsgan_core.plates.rec709 import (
    DEFAULT_CONFIG,
    OCIO_ERRORS,
    OPTIMIZATION_FLAGS,
    SCENE_LINEAR_ROLE,
    Rec709Conversion,
    apply_processor,
    make_rec709_conversion,
)
from fsgan_core.plates.space_search import SRGB, find_space_by_rule, find_stated_space, suggest_spaces
from fsgan_core.plates.srgb8 import encode_srgb8
from fsgan_core.plates.stated_colour import NOTHING_STATED, StatedColour
from fsgan_core.runtime.arrays import Image, Image8
from fsgan_core.runtime.cache import compute_digest
from fsgan_core.runtime.user_paths import is_plain_file

__all__ = ["SRGB", "Codec", "ColourConfig", "open_config"]

log = logging.getLogger(__name__)

FILM_SCANS = (".dpx", ".cin")
_ARCHIVE_SUFFIX = ".ocioz"
_PROBE_COLOURS = np.array([[0.02, 0.02, 0.02], [0.2, 0.5, 0.8], [0.9, 0.4, 0.1]], np.float32)
_LIGHT_TOLERANCE = 0.01


def open_config(text: str = "") -> ColourConfig:
    """Opens an OCIO config.

    Args:
        text: A path, or ocio://NAME for a config built into OCIO. Empty is $OCIO if set, else OCIO's default config.

    Raises:
        ColourError: The config does not exist, cannot be read, or refers to something that it does not have.
    """
    config_path = text.strip()
    origin = "the parameter colour.config"
    if not config_path:
        config_path, origin = os.environ.get("OCIO", "").strip(), "the environment variable OCIO"
    if not config_path:
        config_path, origin = DEFAULT_CONFIG, "the default"
    builtin = [entry[0] for entry in ocio.BuiltinConfigRegistry().getBuiltinConfigs()]
    if config_path in builtin:
        config_path = f"ocio://{config_path}"
    remedy = f"It comes from {origin}; give a path to a config, or ocio://default for the one that ships with OCIO."
    if not config_path.startswith("ocio://") and not is_plain_file(config_path):
        what = "is a folder, not a config file" if Path(config_path).is_dir() else "does not exist"
        raise ColourError(f"OCIO config '{config_path}' {what}. {remedy}")
    try:
        config = _make_builtin(config_path) if config_path.startswith("ocio://") else _read_config(config_path)
        name = config.getName() or Path(config_path).name
    except (*OCIO_ERRORS, UnicodeDecodeError) as error:
        hint = f" Built-in configs: {', '.join(builtin)}." if config_path.startswith("ocio://") else ""
        raise ColourError(f"OCIO config '{config_path}' cannot be used: {error} {remedy}{hint}") from error
    archive = Path(config_path) if config_path.lower().endswith(_ARCHIVE_SUFFIX) else None
    return ColourConfig(config, name, archive)


@cache
def _make_builtin(name: str) -> ocio.Config:
    """A config that is part of OCIO; it and all that it refers to never change."""
    config = ocio.Config.CreateFromFile(name)
    config.validate()
    return config


def _read_config(path: str) -> ocio.Config:
    # OCIO keeps the contents of files by their names; a LUT may have been replaced since.
    ocio.ClearAllCaches()
    config = ocio.Config.CreateFromFile(path)
    config.validate()
    return config


class ColourConfig:
    """An OCIO config, made by `open_config`. Safe to use from several threads."""

    def __init__(self, config: ocio.Config, name: str, archive: Path | None = None) -> None:
        self.name = name
        self._config = config
        self._archive = archive
        self._lock = Lock()
        self._processors: dict[tuple[str, str], tuple[ocio.Processor, ocio.CPUProcessor]] = {}
        self._conversions: dict[str, Rec709Conversion] = {}
        self._digests: dict[tuple[str, ...], str] = {}
        self._warned_messages: set[str] = set()

    def compute_digest(self, *spaces: str) -> str:
        """Digests what the pixels of a job depend on that converts between these spaces.

        That is what OCIO does between each two of them and between each and Rec.709, with the contents of its files.
        The config's name and its other spaces do not count. The digest is the same on every machine.

        Args:
            spaces: Spaces, aliases or roles, or sRGB.

        Raises:
            ColourError: A space is unknown.
        """
        names = tuple(sorted({self.resolve_space(space) for space in spaces}))
        known = self._digests.get(names)
        if known is not None:
            return known
        steps: dict[str, list[Any]] = {}
        for name in names:
            # What cannot be converted fails when its pixels are.
            with contextlib.suppress(ColourError):
                steps[name] = [self._describe_processor(one) for one in self._get_conversion(name).processors]
        for source, destination in permutations([name for name in names if name != SRGB], 2):
            with contextlib.suppress(ColourError):
                processor = self._get_processor(source, destination)[0]
                steps[f"{source} > {destination}"] = self._describe_processor(processor)
        self._digests[names] = compute_digest(ocio.__version__, steps)
        return self._digests[names]

    @property
    def scene_linear(self) -> str:
        """Space of the role scene_linear. Raises ColourError if the config has no such role."""
        space = self._config.getColorSpace(SCENE_LINEAR_ROLE)
        if space is None:
            raise ColourError(
                f"OCIO config '{self.name}' has no role {SCENE_LINEAR_ROLE}; name the colour space of each clip."
            )
        return str(space.getName())

    def resolve_space(self, name: str, path: str = "", kind: str = "exr", stated: StatedColour = NOTHING_STATED) -> str:
        """Finds the canonical name of a space.

        What contradicts the result is logged as a warning: the file's own statement or a file rule.

        Args:
            name: A space, alias or role, or sRGB. Empty chooses by the file: what it states; else the file rule of the
                config that matches `path`; else sRGB for a movie or a picture; else the role scene_linear.
            path: Path of the file, for file rules and messages.
            kind: "exr", "image" or "movie".
            stated: What the file says about its colour.

        Raises:
            ColourError: The config has no such space; the message has similar names.
        """
        stated_space = find_stated_space(self._config, stated, self._get_conversion)
        if name.strip():
            space = self._find_named_space(name.strip())
            if (stated_space or stated.is_log) and self._contradicts(space, stated, stated_space):
                self._warn_once(
                    f"{path} is read as {space}, but the file says {stated.text}"
                    f"{f' ({stated_space})' if stated_space not in ('', stated.name) else ''}"
                )
            return space
        ruled_space = find_space_by_rule(self._config, path)
        if stated_space:
            if ruled_space and not self._is_same_colour(ruled_space, stated_space):
                self._warn_once(
                    f"{path} is read as {stated_space}, because the file says {stated.text}; a file rule of OCIO "
                    f"config '{self.name}' says {ruled_space}. Name the colour space if that is right"
                )
            return stated_space
        space = ruled_space or (SRGB if kind in ("image", "movie") else self.scene_linear)
        if stated.text and self._contradicts(space, stated, ""):
            self._warn_once(
                f"{path} is read as {space}, but the file says {stated.text}, and OCIO config '{self.name}' has no "
                "space that is known to mean that. Name the colour space of the clip"
            )
        if not (ruled_space or stated.text) and path.casefold().endswith(FILM_SCANS):
            self._warn_once(
                f"{path} is read as {space}, because the file says nothing of its colours. Files of this kind are "
                "often logarithmic; if it is, name the colour space of the clip"
            )
        return space

    def _find_named_space(self, name: str) -> str:
        if name.casefold() == SRGB.casefold():
            self._warn_if_srgb_differs()
            return SRGB
        space = self._config.getColorSpace(name)
        if space is None:
            raise ColourError(
                f"OCIO config '{self.name}' has no colour space '{name}'; {suggest_spaces(self._config, name)}"
            )
        if space.getName() == SRGB:
            self._warn_if_srgb_differs()
        return str(space.getName())

    def _contradicts(self, space: str, stated: StatedColour, stated_space: str) -> bool:
        """Whether a space is known to be another one than a file states."""
        if stated.is_log:
            resolved = None if space == SRGB else self._config.getColorSpace(space)
            return resolved is None or resolved.getEncoding() not in ("log", "")
        if not stated_space:
            return bool(stated.text)
        return not self._is_same_colour(space, stated_space)

    def is_scene_linear(self, space: str) -> bool:
        """Whether values in the space are proportional to scene light. Raises ColourError for an unknown space."""
        if space == SRGB:
            return False
        resolved = self._get_space(space)
        if resolved.isData() or resolved.getReferenceSpaceType() == ocio.REFERENCE_SPACE_DISPLAY:
            return False
        if resolved.getEncoding():
            return bool(resolved.getEncoding() == "scene-linear")
        return bool(self._config.isColorSpaceLinear(resolved.getName(), ocio.REFERENCE_SPACE_SCENE))

    def convert(self, rgb: Image, source: str, destination: str) -> Image:
        """Converts pixels from one space to another.

        Between two spaces of the config OCIO does the whole conversion; data spaces are not changed.

        Args:
            rgb: (..., 3) in `source`.
            source: A space, alias or role, or sRGB.
            destination: The same.

        Returns:
            A new array of the same shape.

        Raises:
            ColourError: A space is unknown, or OCIO cannot convert between the two.
        """
        source, destination = self.resolve_space(source), self.resolve_space(destination)
        result = copy_rgb(rgb)
        if source == destination:
            return result
        if SRGB in (source, destination):
            there, back = self._get_conversion(source), self._get_conversion(destination)
            there.apply_forward(result)
            curve.apply_in_chunks(result, there.to_rec709, back.from_rec709)
            back.apply_backward(result)
        else:
            apply_processor(self._get_processor(source, destination)[1], result)
        return result

    def make_codec(self, space: str, exposure: float = 0.0) -> Codec:
        """Makes the invertible transform from a space to display-like values.

        Args:
            space: A space, alias or role, or sRGB.
            exposure: Stops added before the curve.

        Raises:
            ColourError: The space is unknown, holds data, or has no inverse.
        """
        return Codec(self.resolve_space(space), exposure, self._get_conversion(self.resolve_space(space)))

    def to_srgb8(self, rgb: Image, space: str) -> Image8:
        """Converts pixels to 8-bit sRGB: the plain curve without exposure or shoulder, clipped and rounded; NaN is 0.

        8-bit sRGB survives a scene-linear half file, except that in a space with other primaries the smallest component
        of a very saturated pixel may be off by a step or more.

        Args:
            rgb: (..., 3) in `space`.
            space: A space, alias or role, or sRGB.

        Returns:
            (..., 3), 0..255.
        """
        values = copy_rgb(rgb)
        values[np.isnan(values)] = 0.0
        np.clip(values, -SCENE_LIMIT, SCENE_LIMIT, out=values)
        space = self.resolve_space(space)
        if space == SRGB:
            values *= np.float32(255.0)
            return np.clip(np.rint(values), 0.0, 255.0).astype(np.uint8)
        return encode_srgb8(self._get_conversion(space).to_linear_rec709(values))

    def _get_space(self, name: str) -> ocio.ColorSpace:
        return self._config.getColorSpace(self.resolve_space(name))

    def _get_conversion(self, space: str) -> Rec709Conversion:
        """Gives the conversion between a resolved space and linear Rec.709."""
        with self._lock:
            cached = self._conversions.get(space)
        if cached is not None:
            return cached
        conversion = Rec709Conversion(curved=True) if space == SRGB else self._make_conversion(space)
        with self._lock:
            return self._conversions.setdefault(space, conversion)

    def _make_conversion(self, space: str) -> Rec709Conversion:
        return make_rec709_conversion(self._config, self.name, space, self._warn_once)

    def _get_processor(self, source: str, destination: str) -> tuple[ocio.Processor, ocio.CPUProcessor]:
        """Gives OCIO's conversion between two resolved spaces: what it is, and what applies it."""
        with self._lock:
            cached = self._processors.get((source, destination))
        if cached is not None:
            return cached
        try:
            processor = self._config.getProcessor(source, destination)
            processors = (processor, processor.getOptimizedCPUProcessor(OPTIMIZATION_FLAGS))
        except OCIO_ERRORS as error:
            raise ColourError(
                f"OCIO config '{self.name}' cannot convert '{source}' to '{destination}': {error}"
            ) from error
        with self._lock:
            return self._processors.setdefault((source, destination), processors)

    def _describe_processor(self, processor: ocio.Processor) -> list[str]:
        """Describes a conversion: OCIO's digest of its steps, and the contents of its files."""
        files = [str(name) for name in processor.getProcessorMetadata().getFiles()]
        return [processor.getCacheID(), *(self._digest_file(name) for name in files)]

    def _digest_file(self, name: str) -> str:
        """Digests a file that a conversion reads; empty if it cannot be read."""
        try:
            if self._archive is not None:
                with zipfile.ZipFile(self._archive) as archive:
                    return compute_digest(archive.read(name))
            return compute_digest(Path(name).read_bytes())
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return ""

    def _is_same_colour(self, one: str, other: str) -> bool:
        """Whether two resolved spaces have the same colours; they may be two names of one space."""
        if one == other:
            return True
        try:
            return _is_same_light(self._get_conversion(one), self._get_conversion(other))
        except ColourError:
            return False

    def _warn_if_srgb_differs(self) -> None:
        """Logs a warning if the config has another space under the name sRGB."""
        own = self._config.getColorSpace(SRGB)
        if own is None or own.isData():
            return
        try:
            theirs = self._make_conversion(str(own.getName()))
        except ColourError:
            return
        if not _is_same_light(theirs, self._get_conversion(SRGB)):
            self._warn_once(
                f"OCIO config '{self.name}' has a space '{own.getName()}' that is not IEC 61966-2-1; '{SRGB}' means "
                "the standard here."
            )

    def _warn_once(self, message: str) -> None:
        with self._lock:
            if message in self._warned_messages:
                return
            self._warned_messages.add(message)
        log.warning(message)


def _is_same_light(one: Rec709Conversion, other: Rec709Conversion) -> bool:
    """Whether two conversions make the same light of a few colours."""
    lights = []
    for conversion in (one, other):
        colours = _PROBE_COLOURS.copy()
        conversion.apply_forward(colours)
        curve.apply_in_chunks(colours, conversion.to_rec709)
        lights.append(colours)
    return bool(np.abs(lights[0] - lights[1]).max() <= _LIGHT_TOLERANCE)
