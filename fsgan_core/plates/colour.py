"""Colour spaces through OCIO, and the one invertible transform from a plate to display-like values and back.

Files are in a named space of an OCIO config ($OCIO, a path, or a config built into OCIO). Face analysis and networks
were trained on sRGB pictures, so they get plates that a `Codec` has encoded:

    space -> linear Rec.709 with D65 white (OCIO) -> exposure gain -> curve -> display-like RGB

The curve (curve.py) is that of sRGB up to 0.8 and has a soft shoulder above. Every step has an exact inverse. Matrices
and curve are computed in double precision, so that a dark component beside a bright one survives the gamut matrices.

No space is found by a fixed name: linear Rec.709 is reached through the roles that OCIO reserves for exchange between
configs, or through OCIO's own search for a known space.
"""

from __future__ import annotations

import hashlib
import logging
import os
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np
import PyOpenColorIO as ocio

from fsgan_core.contract.errors import ColourError
from fsgan_core.plates import curve
from fsgan_core.runtime.arrays import ColourPlanes, Image, Image8, Matrix

__all__ = ["SRGB", "Codec", "ColourConfig", "open_config"]

log = logging.getLogger(__name__)

SRGB = "sRGB"
"""Valid with every config: IEC 61966-2-1, Rec.709 primaries, with the curve continued below 0 and above 1."""

DEFAULT_CONFIG = "ocio://default"
ACES_ROLE = "aces_interchange"  # reserved by OCIO for ACES2065-1
XYZ_ROLE = "cie_xyz_d65_interchange"  # reserved by OCIO for CIE XYZ relative to D65
SCENE_LINEAR_ROLE = "scene_linear"

# To linear Rec.709 (ITU-R BT.709, D65): from ACES2065-1 (SMPTE ST 2065-1) by the primaries and whites of these
# standards, with Bradford's white adaptation; and from CIE XYZ relative to D65. test_colour.py computes both.
ACES_TO_REC709 = (
    (2.521686186744, -1.134130988240, -0.387555198504),
    (-0.276479914230, 1.372719087668, -0.096239173438),
    (-0.015378064966, -0.152975335867, 1.168353400833),
)
XYZ_TO_REC709 = (
    (3.240969941905, -1.537383177570, -0.498610760293),
    (-0.969243636281, 1.875967501508, 0.041555057407),
    (0.055630079697, -0.203976958889, 1.056971514243),
)

SCENE_LIMIT = 65504.0
"""Scene value that replaces infinity and everything above it: the largest half float."""

# Exact operations only: OCIO's default set allows fast, inexact powers.
_OPTIMIZATION_FLAGS = ocio.OptimizationFlags(int(ocio.OPTIMIZATION_LOSSLESS) | int(ocio.OPTIMIZATION_COMP_MATRIX))
_OCIO_ERRORS = (ocio.Exception, ocio.ExceptionMissingFile)


def open_config(text: str = "") -> ColourConfig:
    """Opens an OCIO config.

    Args:
        text: A path, or ocio://NAME for a config built into OCIO. Empty is $OCIO if set, else OCIO's default config.

    Raises:
        ColourError: The config does not exist, cannot be read, or refers to something that it does not have.
    """
    wanted = text.strip()
    origin = "the parameter colour.config"
    if not wanted:
        wanted, origin = os.environ.get("OCIO", "").strip(), "the environment variable OCIO"
    if not wanted:
        wanted, origin = DEFAULT_CONFIG, "the default"
    builtin = [entry[0] for entry in ocio.BuiltinConfigRegistry().getBuiltinConfigs()]
    if wanted in builtin:
        wanted = f"ocio://{wanted}"
    remedy = f"It comes from {origin}; give a path to a config, or ocio://default for the one that ships with OCIO."
    if not wanted.startswith("ocio://") and not Path(wanted).is_file():
        what = "is a folder, not a config file" if Path(wanted).is_dir() else "does not exist"
        raise ColourError(f"OCIO config '{wanted}' {what}. {remedy}")
    try:
        config = ocio.Config.CreateFromFile(wanted)
        config.validate()
    except _OCIO_ERRORS as error:
        hint = f" Built-in configs: {', '.join(builtin)}." if wanted.startswith("ocio://") else ""
        raise ColourError(f"OCIO config '{wanted}' cannot be used: {error} {remedy}{hint}") from error
    return ColourConfig(config, config.getName() or Path(wanted).name)


class ColourConfig:
    """An OCIO config, made by `open_config`. Safe to use from several threads."""

    def __init__(self, config: ocio.Config, name: str) -> None:
        self.name = name
        self._config = config
        self._lock = Lock()
        self._processors: dict[tuple[str, str], ocio.CPUProcessor] = {}
        self._conversions: dict[str, _Rec709Conversion] = {}
        self._warned_messages: set[str] = set()

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digest of the config's text and OCIO's version, without the contents of LUT files."""
        content = f"{ocio.__version__}\n{self._config.serialize()}"
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    @property
    def scene_linear(self) -> str:
        """Space of the role scene_linear. Raises ColourError if the config has no such role."""
        space = self._config.getColorSpace(SCENE_LINEAR_ROLE)
        if space is None:
            raise ColourError(
                f"OCIO config '{self.name}' has no role {SCENE_LINEAR_ROLE}; name the colour space of each clip."
            )
        return str(space.getName())

    def resolve_space(self, name: str, path: str = "", kind: str = "exr") -> str:
        """Finds the canonical name of a space.

        Args:
            name: A space, alias or role, or sRGB. Empty chooses by the file: sRGB for a movie or an 8/16-bit picture;
                else the file rule of the config that matches `path` specifically; else the role scene_linear.
            path: Path of the file, for file rules.
            kind: "exr", "image" or "movie".

        Raises:
            ColourError: The config has no such space; the message has similar names.
        """
        wanted = name.strip()
        if wanted.casefold() == SRGB.casefold():
            self._warn_if_srgb_differs()
            return SRGB
        if wanted:
            space = self._config.getColorSpace(wanted)
            if space is None:
                raise ColourError(
                    f"OCIO config '{self.name}' has no colour space '{wanted}'; {self._suggest_spaces(wanted)}"
                )
            if space.getName() == SRGB:
                self._warn_if_srgb_differs()
            return str(space.getName())
        if kind in ("image", "movie"):
            return SRGB
        return self._find_space_by_rule(path) or self.scene_linear

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
        result = _copy_rgb(rgb)
        if source == destination:
            return result
        if SRGB in (source, destination):
            there, back = self._get_conversion(source), self._get_conversion(destination)
            there.apply_forward(result)
            curve.apply_in_chunks(result, there.to_rec709, back.from_rec709)
            back.apply_backward(result)
        else:
            _apply_processor(self._get_processor(source, destination), result)
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
        display = _copy_rgb(rgb)
        np.nan_to_num(display, copy=False, nan=0.0, posinf=SCENE_LIMIT, neginf=-SCENE_LIMIT)
        space = self.resolve_space(space)
        if space != SRGB:
            way = self._get_conversion(space)
            way.apply_forward(display)
            curve.apply_in_chunks(display, way.to_rec709, curve.encode_srgb)
        display *= np.float32(255.0)
        return np.clip(np.rint(display), 0.0, 255.0).astype(np.uint8)

    def _get_space(self, name: str) -> ocio.ColorSpace:
        return self._config.getColorSpace(self.resolve_space(name))

    def _find_space_by_rule(self, path: str) -> str:
        """Finds the space of a file rule that matches this path specifically; empty if there is none.

        A rule for all EXR files does not count: the built-in configs have one, to the ACES exchange space, but plates
        in compositing are in the working space. Configs of version 1 have no rules; OCIO would search the path for the
        name of any space.
        """
        if not path or self._config.getMajorVersion() < 2 or self._config.filepathOnlyMatchesDefaultRule(path):
            return ""
        name, index = self._config.getColorSpaceFromFilepath(path)
        rules = self._config.getFileRules()
        if rules.getPattern(index) == "*" and not rules.getRegex(index):
            return ""
        space = self._config.getColorSpace(name)
        return "" if space is None or space.isData() else str(space.getName())

    def _suggest_spaces(self, wanted: str) -> str:
        roles = [str(role) for role in self._config.getRoleNames()]
        known = {SRGB.casefold(): SRGB, **{role.casefold(): role for role in roles}}
        spaces = []
        for space in self._config.getColorSpaces():
            spaces.append(str(space.getName()))
            for alias in (space.getName(), *space.getAliases()):
                known[alias.casefold()] = alias
        text = wanted.casefold()
        near = [known[match] for match in get_close_matches(text, known, n=4)]
        near += [full for key, full in known.items() if text in key and full not in near][: 4 - len(near)]
        if near:
            return f"did you mean {', '.join(repr(match) for match in near)}?"
        return f"spaces: {', '.join(spaces)}; roles: {', '.join(roles)}."

    def _get_conversion(self, space: str) -> _Rec709Conversion:
        """Gives the conversion between a resolved space and linear Rec.709."""
        with self._lock:
            found = self._conversions.get(space)
        if found is not None:
            return found
        made = _Rec709Conversion(curved=True) if space == SRGB else self._make_conversion(space)
        with self._lock:
            return self._conversions.setdefault(space, made)

    def _make_conversion(self, space: str) -> _Rec709Conversion:
        try:
            transform = self._build_rec709_transform(space)
            forward = self._config.getProcessor(transform, ocio.TRANSFORM_DIR_FORWARD)
            matrix = _extract_matrix(forward)
            if matrix is not None:
                return _Rec709Conversion(matrix=matrix)
            backward = self._config.getProcessor(transform, ocio.TRANSFORM_DIR_INVERSE)
            return _Rec709Conversion(
                forward.getOptimizedCPUProcessor(_OPTIMIZATION_FLAGS),
                backward.getOptimizedCPUProcessor(_OPTIMIZATION_FLAGS),
            )
        except _OCIO_ERRORS as error:
            raise ColourError(
                f"OCIO config '{self.name}' cannot convert '{space}' to linear Rec.709 and back: {error}"
            ) from error

    def _get_processor(self, source: str, destination: str) -> ocio.CPUProcessor:
        with self._lock:
            found = self._processors.get((source, destination))
        if found is not None:
            return found
        try:
            made = self._config.getProcessor(source, destination).getOptimizedCPUProcessor(_OPTIMIZATION_FLAGS)
        except _OCIO_ERRORS as error:
            raise ColourError(
                f"OCIO config '{self.name}' cannot convert '{source}' to '{destination}': {error}"
            ) from error
        with self._lock:
            return self._processors.setdefault((source, destination), made)

    def _build_rec709_transform(self, space: str) -> ocio.GroupTransform:
        """Builds the transform from a space to linear Rec.709."""
        resolved = self._config.getColorSpace(space)
        if resolved.isData():
            raise ColourError(
                f"'{space}' of OCIO config '{self.name}' holds data, not colour; name the colour space of the pixels."
            )
        display = resolved.getReferenceSpaceType() == ocio.REFERENCE_SPACE_DISPLAY
        if display and self._config.hasRole(XYZ_ROLE):
            steps = [ocio.ColorSpaceTransform(src=space, dst=XYZ_ROLE), _make_matrix_transform(XYZ_TO_REC709)]
        elif self._config.hasRole(ACES_ROLE):
            steps = [ocio.ColorSpaceTransform(src=space, dst=ACES_ROLE), _make_matrix_transform(ACES_TO_REC709)]
        else:
            steps = self._build_fallback_transforms(space)
        return ocio.GroupTransform(steps)

    def _build_fallback_transforms(self, space: str) -> list[ocio.Transform]:
        builtin = ocio.Config.CreateFromFile(DEFAULT_CONFIG)
        aces = builtin.getColorSpace(ACES_ROLE).getName()
        try:
            to_aces = ocio.Config.GetProcessorToBuiltinColorSpace(self._config, space, aces)
            return [to_aces.createGroupTransform(), _make_matrix_transform(ACES_TO_REC709)]
        except ocio.Exception as error:
            linear = self.scene_linear
            self._warn_once(
                f"OCIO config '{self.name}' has no role {ACES_ROLE}, and OCIO recognises none of its spaces ({error}); "
                f"its {SCENE_LINEAR_ROLE} space '{linear}' is assumed to be linear Rec.709. Add the role if that is "
                "wrong."
            )
            return [ocio.ColorSpaceTransform(src=space, dst=linear)]

    def _warn_if_srgb_differs(self) -> None:
        """Logs a warning if the config has another space under the name sRGB."""
        own = self._config.getColorSpace(SRGB)
        if own is None or own.isData():
            return
        theirs = np.array([[0.02, 0.02, 0.02], [0.2, 0.5, 0.8], [0.9, 0.4, 0.1]], np.float32)
        ours = theirs.T.astype(np.float64)
        try:
            way = self._make_conversion(str(own.getName()))
        except ColourError:
            return
        way.apply_forward(theirs)
        curve.apply_in_chunks(theirs, way.to_rec709)
        if np.abs(theirs.T - curve.decode_srgb(ours)).max() > 0.01:
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


class _Rec709Conversion:
    """Converts between a space and linear Rec.709, by an OCIO processor (float32), the curve of sRGB, or a matrix.

    `apply_forward` and `apply_backward` change the float32 picture in place; the others work on float64 planes.
    """

    def __init__(
        self,
        forward: ocio.CPUProcessor | None = None,
        backward: ocio.CPUProcessor | None = None,
        matrix: Matrix | None = None,
        curved: bool = False,
    ) -> None:
        self._forward_processor = forward
        self._backward_processor = backward
        self._matrix = matrix
        self._inverse_matrix = None if matrix is None else np.linalg.inv(matrix)
        self._has_srgb_curve = curved

    def apply_forward(self, rgb: Image) -> None:
        if self._forward_processor is not None:
            _apply_processor(self._forward_processor, rgb)

    def to_rec709(self, planes: ColourPlanes) -> ColourPlanes:
        if self._has_srgb_curve:
            return curve.decode_srgb(planes)
        return planes if self._matrix is None else _multiply_planes(self._matrix, planes)

    def from_rec709(self, planes: ColourPlanes) -> ColourPlanes:
        if self._has_srgb_curve:
            return curve.encode_srgb(planes)
        return planes if self._inverse_matrix is None else _multiply_planes(self._inverse_matrix, planes)

    def apply_backward(self, rgb: Image) -> None:
        if self._backward_processor is not None:
            _apply_processor(self._backward_processor, rgb)


class Codec:
    """Converts between a space and display-like values. Safe to use from several threads.

    Made by `ColourConfig.make_codec`.

    Attributes:
        space: Canonical name of the space.
        exposure: Stops added before the curve.
    """

    def __init__(self, space: str, exposure: float, way: _Rec709Conversion) -> None:
        self.space = space
        self.exposure = exposure
        self._conversion = way
        self._gain = 2.0**exposure

    def encode(self, rgb: Image) -> Image:
        """Converts pixels to display-like values.

        Linear 0 becomes 0, 0.18 becomes 0.46, 1.0 becomes 0.88 and 64 becomes 0.994 (after exposure); brighter light
        passes 1 slowly. Negative values stay negative. NaN becomes 0; values beyond the largest half float, and
        infinity, are limited to it.

        Args:
            rgb: (..., 3) in `space`.

        Returns:
            A new array of the same shape.
        """
        display = _copy_rgb(rgb)
        _clamp_values(display, SCENE_LIMIT)
        self._conversion.apply_forward(display)
        curve.apply_in_chunks(display, self._conversion.to_rec709, self._apply_exposure, curve.encode)
        return display

    def decode(self, display: Image) -> Image:
        """Converts display-like values back to `space`: the inverse of `encode`.

        Finite and monotone for every value: above 1 light grows with the power 2.4, below 0 the curve is mirrored. NaN
        becomes 0.

        Args:
            display: (..., 3).

        Returns:
            A new array of the same shape.
        """
        rgb = _copy_rgb(display)
        _clamp_values(rgb, curve.DISPLAY_LIMIT)
        curve.apply_in_chunks(rgb, curve.decode, self._remove_exposure, self._conversion.from_rec709)
        self._conversion.apply_backward(rgb)
        return rgb

    def _apply_exposure(self, planes: ColourPlanes) -> ColourPlanes:
        limit = curve.LINEAR_LIMIT  # a log space can turn large values into extreme ones, or infinity
        planes = np.nan_to_num(planes, nan=0.0, posinf=limit, neginf=-limit) * self._gain
        return np.clip(planes, -limit, limit, out=planes)

    def _remove_exposure(self, planes: ColourPlanes) -> ColourPlanes:
        result: ColourPlanes = planes / self._gain
        return result


def _copy_rgb(rgb: Image) -> Image:
    if rgb.shape[-1:] != (3,):
        raise ValueError(f"expected (..., 3) RGB, got shape {rgb.shape}")
    return np.array(rgb, np.float32, order="C", copy=True)


def _apply_processor(processor: ocio.CPUProcessor, rgb: Image) -> None:
    """Changes a C-contiguous picture in place."""
    if rgb.size:
        processor.applyRGB(rgb)


def _clamp_values(values: Image, limit: float) -> None:
    """Replaces NaN by 0 and limits all values to [-limit, limit], in place."""
    np.copyto(values, np.float32(0.0), where=np.isnan(values))
    np.clip(values, -limit, limit, out=values)


def _make_matrix_transform(rows: tuple[tuple[float, ...], ...]) -> ocio.MatrixTransform:
    full = np.eye(4)
    full[:3, :3] = rows
    return ocio.MatrixTransform(matrix=full.ravel().tolist())


def _extract_matrix(processor: ocio.Processor) -> Matrix | None:
    """Gives the (3, 3) matrix of a processor that does nothing else; None for others."""
    matrix = np.eye(3)
    for step in processor.getOptimizedProcessor(_OPTIMIZATION_FLAGS).createGroupTransform():
        if not isinstance(step, ocio.MatrixTransform) or any(step.getOffset()):
            return None
        part = np.array(step.getMatrix()).reshape(4, 4)[:3, :3]
        inverse = step.getDirection() == ocio.TRANSFORM_DIR_INVERSE
        matrix = (np.linalg.inv(part) if inverse else part) @ matrix
    return matrix


def _multiply_planes(matrix: Matrix, planes: ColourPlanes) -> ColourPlanes:
    """Multiplies without matmul, whose last bit may depend on the position of a pixel in the array."""
    return np.stack([row[0] * planes[0] + row[1] * planes[1] + row[2] * planes[2] for row in matrix])
