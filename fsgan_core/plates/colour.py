"""Colour: spaces by OCIO, and the one invertible way from a plate to display-like values and back.

Files are in a named space of an OCIO config ($OCIO, a path, or one of the configs that OCIO carries inside). Face
analysis and networks were trained on sRGB pictures, so they see a plate as a `Codec` encodes it:

    space -> linear Rec.709 with D65 white (OCIO) -> exposure gain -> curve -> display-like RGB

The curve (curve.py) is sRGB's up to 0.8 and has a soft shoulder above. Every step has an exact inverse. Matrices and
curve are computed in double precision: a dark component beside a bright one must survive gamut matrices and back.

No colour space of a config is known here by its name: linear Rec.709 is reached through the roles that OCIO reserves
for exchange between configs, or through OCIO's own search for a known space.
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

__all__ = ["SRGB", "Codec", "ColourConfig", "open_config"]

log = logging.getLogger(__name__)

SRGB = "sRGB"
"""Always understood, whatever the config: IEC 61966-2-1, Rec.709 primaries, the curve continued below 0 and above 1."""

DEFAULT_CONFIG = "ocio://default"
ACES_ROLE = "aces_interchange"  # reserved by OCIO for ACES2065-1
XYZ_ROLE = "cie_xyz_d65_interchange"  # reserved by OCIO for CIE XYZ relative to D65
SCENE_LINEAR_ROLE = "scene_linear"

# Linear Rec.709 (ITU-R BT.709, D65) from ACES2065-1 (SMPTE ST 2065-1) by the primaries and whites in these standards,
# white adapted by Bradford's matrix; and from CIE XYZ relative to D65. test_colour.py computes both again.
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
"""What encode takes infinity, and anything beyond, for: the largest half float."""

# Exact operations only: OCIO's default set allows fast, inexact powers.
_OPTIMIZATION_FLAGS = ocio.OptimizationFlags(int(ocio.OPTIMIZATION_LOSSLESS) | int(ocio.OPTIMIZATION_COMP_MATRIX))
_OCIO_ERRORS = (ocio.Exception, ocio.ExceptionMissingFile)


def open_config(text: str = "") -> ColourConfig:
    """The config at a path, or inside OCIO (ocio://NAME); empty: $OCIO if set, else OCIO's default.

    Raises ColourError: no such file or name, a config that OCIO cannot read or that refers to what it does not have.
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
    """An OCIO config. May be used from several threads at once. Made by `open_config`."""

    def __init__(self, config: ocio.Config, name: str) -> None:
        self.name = name
        self._config = config
        self._lock = Lock()
        self._processors: dict[tuple[str, str], ocio.CPUProcessor] = {}
        self._conversions: dict[str, _Rec709Conversion] = {}
        self._warned_messages: set[str] = set()

    @cached_property
    def digest(self) -> str:
        """Hex digest of the config's text and OCIO's version, equal on every machine (LUT files are not read)."""
        content = f"{ocio.__version__}\n{self._config.serialize()}"
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    @property
    def scene_linear(self) -> str:
        """The space of the role `scene_linear`. Raises ColourError where the config has none."""
        space = self._config.getColorSpace(SCENE_LINEAR_ROLE)
        if space is None:
            raise ColourError(
                f"OCIO config '{self.name}' has no role {SCENE_LINEAR_ROLE}; name the colour space of each clip."
            )
        return str(space.getName())

    def resolve_space(self, name: str, path: str = "", kind: str = "exr") -> str:
        """The canonical name of a space.

        name: a space, an alias or a role; sRGB is always known. Empty: a movie or an 8/16-bit picture (kind "movie"
        or "image") is sRGB; for any other kind a file rule of the config says, where one is particular about `path`,
        else it is the role scene_linear. Raises ColourError with near matches.
        """
        wanted = name.strip()
        if wanted.casefold() == SRGB.casefold():
            self._warn_if_srgb_differs()
            return SRGB
        if wanted:
            space = self._config.getColorSpace(wanted)
            if space is None:
                raise ColourError(
                    f"'{wanted}' is no colour space of OCIO config '{self.name}'; {self._suggest_spaces(wanted)}"
                )
            if space.getName() == SRGB:
                self._warn_if_srgb_differs()
            return str(space.getName())
        if kind in ("image", "movie"):
            return SRGB
        return self._find_space_by_rule(path) or self.scene_linear

    def is_scene_linear(self, space: str) -> bool:
        """Whether values are proportional to light in the scene."""
        if space == SRGB:
            return False
        resolved = self._get_space(space)
        if resolved.isData() or resolved.getReferenceSpaceType() == ocio.REFERENCE_SPACE_DISPLAY:
            return False
        if resolved.getEncoding():
            return bool(resolved.getEncoding() == "scene-linear")
        return bool(self._config.isColorSpaceLinear(resolved.getName(), ocio.REFERENCE_SPACE_SCENE))

    def convert(self, rgb: np.ndarray, source: str, destination: str) -> np.ndarray:
        """float32 (..., 3) from one space to another; a new array. Raises ColourError.

        Between two spaces of the config OCIO does all of it, data spaces included (they stay as they are).
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
        """The invertible way from `space` to display-like values, `exposure` stops brighter. Raises ColourError
        where the space is data, or has no way back."""
        return Codec(self.resolve_space(space), exposure, self._get_conversion(self.resolve_space(space)))

    def to_srgb8(self, rgb: np.ndarray, space: str) -> np.ndarray:
        """uint8 (..., 3): the plain sRGB curve without exposure or shoulder, clipped and rounded; NaN is 0.

        8-bit sRGB that went through a scene-linear half file comes back equal, except that in a space of other
        primaries the smallest component of a very saturated pixel may miss by a step or more (half floats).
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
        """What a rule that is particular about the path says; empty where none does.

        A rule for all EXR files is not: the built-in configs have one, to the ACES exchange space, while plates on
        their way through compositing are in the working space. Configs of version 1 have no rules: OCIO would look
        for any colour space's name anywhere in the path.
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
        """Between a resolved space and linear Rec.709, both ways."""
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
                f"OCIO config '{self.name}' has no way from '{space}' to linear Rec.709 and back: {error}"
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
                f"OCIO config '{self.name}' has no way from '{source}' to '{destination}': {error}"
            ) from error
        with self._lock:
            return self._processors.setdefault((source, destination), made)

    def _build_rec709_transform(self, space: str) -> ocio.GroupTransform:
        """From `space` to linear Rec.709."""
        resolved = self._config.getColorSpace(space)
        if resolved.isData():
            raise ColourError(
                f"'{space}' of OCIO config '{self.name}' holds data, not colour; name the space the pixels are in."
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
                f"OCIO config '{self.name}' has no role {ACES_ROLE}, and OCIO knows none of its spaces ({error}); its "
                f"{SCENE_LINEAR_ROLE} space '{linear}' is taken as linear Rec.709. Add the role if that is wrong."
            )
            return [ocio.ColorSpaceTransform(src=space, dst=linear)]

    def _warn_if_srgb_differs(self) -> None:
        """Says so when a config gives the name sRGB to something else."""
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
    """From a space to linear Rec.709 and back: an OCIO processor (float32) or sRGB's curve, and a matrix (float64).

    `enter` and `leave` work in place on the float32 picture; the others on (3, n) float64 of linear Rec.709.
    """

    def __init__(
        self,
        forward: ocio.CPUProcessor | None = None,
        backward: ocio.CPUProcessor | None = None,
        matrix: np.ndarray | None = None,
        curved: bool = False,
    ) -> None:
        self._forward_processor = forward
        self._backward_processor = backward
        self._matrix = matrix
        self._inverse_matrix = None if matrix is None else np.linalg.inv(matrix)
        self._has_srgb_curve = curved

    def apply_forward(self, rgb: np.ndarray) -> None:
        if self._forward_processor is not None:
            _apply_processor(self._forward_processor, rgb)

    def to_rec709(self, planes: np.ndarray) -> np.ndarray:
        if self._has_srgb_curve:
            return curve.decode_srgb(planes)
        return planes if self._matrix is None else _multiply_planes(self._matrix, planes)

    def from_rec709(self, planes: np.ndarray) -> np.ndarray:
        if self._has_srgb_curve:
            return curve.encode_srgb(planes)
        return planes if self._inverse_matrix is None else _multiply_planes(self._inverse_matrix, planes)

    def apply_backward(self, rgb: np.ndarray) -> None:
        if self._backward_processor is not None:
            _apply_processor(self._backward_processor, rgb)


class Codec:
    """From a space to display-like values and back. Made by `ColourConfig.codec`; may be used from several threads."""

    def __init__(self, space: str, exposure: float, way: _Rec709Conversion) -> None:
        self.space = space
        self.exposure = exposure
        self._conversion = way
        self._gain = 2.0**exposure

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        """Display-like float32 (..., 3) of `rgb` in `space`; a new array.

        0 stays 0, linear 0.18 becomes 0.46, 1.0 becomes 0.88, 64 becomes 0.994 (all after exposure); beyond that it
        passes 1 slowly. Negative values stay negative. NaN is taken as 0, and what exceeds the largest half float
        (infinity too) as that.
        """
        display = _copy_rgb(rgb)
        _clamp_values(display, SCENE_LIMIT)
        self._conversion.apply_forward(display)
        curve.apply_in_chunks(display, self._conversion.to_rec709, self._apply_exposure, curve.encode)
        return display

    def decode(self, display: np.ndarray) -> np.ndarray:
        """float32 (..., 3) in `space` of display-like values: the inverse of `encode`; a new array.

        Defined, finite and monotone for every value: above 1 light grows as the 2.4th power, below 0 the curve is
        mirrored. NaN is taken as 0.
        """
        rgb = _copy_rgb(display)
        _clamp_values(rgb, curve.DISPLAY_LIMIT)
        curve.apply_in_chunks(rgb, curve.decode, self._remove_exposure, self._conversion.from_rec709)
        self._conversion.apply_backward(rgb)
        return rgb

    def _apply_exposure(self, planes: np.ndarray) -> np.ndarray:
        limit = curve.LINEAR_LIMIT  # a log space makes absurd values, and infinity, of large ones
        planes = np.nan_to_num(planes, nan=0.0, posinf=limit, neginf=-limit) * self._gain
        return np.clip(planes, -limit, limit, out=planes)

    def _remove_exposure(self, planes: np.ndarray) -> np.ndarray:
        return planes / self._gain


def _copy_rgb(rgb: np.ndarray) -> np.ndarray:
    if rgb.shape[-1:] != (3,):
        raise ValueError(f"expected (..., 3) RGB, got shape {rgb.shape}")
    return np.array(rgb, np.float32, order="C", copy=True)


def _apply_processor(processor: ocio.CPUProcessor, rgb: np.ndarray) -> None:
    """In place, on C-contiguous float32."""
    if rgb.size:
        processor.applyRGB(rgb)


def _clamp_values(values: np.ndarray, limit: float) -> None:
    """NaN to 0 and everything into [-limit, limit], in place."""
    np.copyto(values, np.float32(0.0), where=np.isnan(values))
    np.clip(values, -limit, limit, out=values)


def _make_matrix_transform(rows: tuple[tuple[float, ...], ...]) -> ocio.MatrixTransform:
    full = np.eye(4)
    full[:3, :3] = rows
    return ocio.MatrixTransform(matrix=full.ravel().tolist())


def _extract_matrix(processor: ocio.Processor) -> np.ndarray | None:
    """float64 (3, 3) where that is all that a processor does, else None."""
    matrix = np.eye(3)
    for step in processor.getOptimizedProcessor(_OPTIMIZATION_FLAGS).createGroupTransform():
        if not isinstance(step, ocio.MatrixTransform) or any(step.getOffset()):
            return None
        part = np.array(step.getMatrix()).reshape(4, 4)[:3, :3]
        inverse = step.getDirection() == ocio.TRANSFORM_DIR_INVERSE
        matrix = (np.linalg.inv(part) if inverse else part) @ matrix
    return matrix


def _multiply_planes(matrix: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Not by matmul, whose last bit may depend on where in the array a pixel lies."""
    return np.stack([row[0] * planes[0] + row[1] * planes[1] + row[2] * planes[2] for row in matrix])
