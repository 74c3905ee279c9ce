"""Converts between a colour space of an OCIO config and linear Rec.709.

Linear Rec.709 is reached through the roles that OCIO reserves for exchange between configs, or through OCIO's own
search for a known space. No space is found by a fixed name. Matrices are computed in double precision, so that a dark
component beside a bright one survives them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import PyOpenColorIO as ocio

from fsgan_core.contract.errors import ColourError
from fsgan_core.plates import curve
from fsgan_core.runtime.arrays import ColourPlanes, Image, Matrix

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
BRADFORD = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
"""XYZ to the cone responses of Bradford's white adaptation (Lam, 1985)."""
D65 = (0.3127, 0.3290)

# Exact operations only: OCIO's default set allows fast, inexact powers.
OPTIMIZATION_FLAGS = ocio.OptimizationFlags(int(ocio.OPTIMIZATION_LOSSLESS) | int(ocio.OPTIMIZATION_COMP_MATRIX))
OCIO_ERRORS = (ocio.Exception, ocio.ExceptionMissingFile)


class Rec709Conversion:
    """Converts between a space and linear Rec.709, by an OCIO processor (float32), the curve of sRGB, or a matrix.

    `apply_forward` and `apply_backward` change the float32 picture in place; the others work on float64 planes.

    Attributes:
        matrix: To Rec.709, (3, 3), if the conversion is nothing else; else None.
        processors: What it was made from.
    """

    def __init__(
        self,
        forward: ocio.CPUProcessor | None = None,
        backward: ocio.CPUProcessor | None = None,
        matrix: Matrix | None = None,
        curved: bool = False,
        processors: tuple[ocio.Processor, ...] = (),
    ) -> None:
        self._forward_processor = forward
        self._backward_processor = backward
        self.matrix = matrix
        self._inverse_matrix = None if matrix is None else np.linalg.inv(matrix)
        self._has_srgb_curve = curved
        self.processors = processors

    def apply_forward(self, rgb: Image) -> None:
        """Does the first step to Rec.709."""
        if self._forward_processor is not None:
            apply_processor(self._forward_processor, rgb)

    def to_rec709(self, planes: ColourPlanes) -> ColourPlanes:
        """Does the second step to Rec.709."""
        if self._has_srgb_curve:
            return curve.decode_srgb(planes)
        return planes if self.matrix is None else _multiply_planes(self.matrix, planes)

    def to_linear_rec709(self, rgb: Image) -> Image:
        """Does both steps to Rec.709 in float32, for pictures of 8 bits; `rgb` is (..., 3) and may be changed."""
        self.apply_forward(rgb)
        if self._has_srgb_curve:
            curve.apply_in_chunks(rgb, curve.decode_srgb)
        if self.matrix is None or rgb.size == 0:
            return rgb
        turned = cv2.transform(rgb.reshape(1, -1, 3), self.matrix.astype(np.float32))
        return np.asarray(turned, np.float32).reshape(rgb.shape)

    def from_rec709(self, planes: ColourPlanes) -> ColourPlanes:
        """Does the first step back."""
        if self._has_srgb_curve:
            return curve.encode_srgb(planes)
        return planes if self._inverse_matrix is None else _multiply_planes(self._inverse_matrix, planes)

    def apply_backward(self, rgb: Image) -> None:
        """Does the second step back."""
        if self._backward_processor is not None:
            apply_processor(self._backward_processor, rgb)


def make_rec709_conversion(config: ocio.Config, name: str, space: str, warn: Callable[[str], Any]) -> Rec709Conversion:
    """Makes the conversion between a space and linear Rec.709.

    Args:
        config: The config.
        name: Its name, for messages.
        space: Canonical name of a space of the config.
        warn: Called with a text if the result is an assumption.

    Raises:
        ColourError: The space holds data, or has no conversion or no inverse.
    """
    try:
        transform = _build_rec709_transform(config, name, space, warn)
        forward = config.getProcessor(transform, ocio.TRANSFORM_DIR_FORWARD)
        matrix = _extract_matrix(forward)
        if matrix is not None:
            return Rec709Conversion(matrix=matrix, processors=(forward,))
        backward = config.getProcessor(transform, ocio.TRANSFORM_DIR_INVERSE)
        return Rec709Conversion(
            forward.getOptimizedCPUProcessor(OPTIMIZATION_FLAGS),
            backward.getOptimizedCPUProcessor(OPTIMIZATION_FLAGS),
            processors=(forward, backward),
        )
    except OCIO_ERRORS as error:
        raise ColourError(
            f"OCIO config '{name}' cannot convert '{space}' to linear Rec.709 and back: {error}"
        ) from error


def compute_chromaticity_matrix(chromaticities: tuple[float, ...]) -> Matrix:
    """Computes the matrix from linear light of any primaries to linear Rec.709, with Bradford's white adaptation.

    Args:
        chromaticities: CIE x and y of red, green, blue and white.

    Returns:
        (3, 3).

    Raises:
        ValueError: They are no primaries.
    """
    points = np.array(chromaticities, np.float64).reshape(4, 2)
    if not np.isfinite(points).all() or (points[:, 1] == 0).any():
        raise ValueError(f"{chromaticities} are no chromaticities")
    *primaries, white = [np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in points]
    columns = np.array(primaries).T
    try:
        to_xyz = columns * np.linalg.solve(columns, white)
    except np.linalg.LinAlgError as error:
        raise ValueError(f"{chromaticities} are no primaries") from error
    d65 = np.array([D65[0] / D65[1], 1.0, (1 - sum(D65)) / D65[1]])
    bradford = np.array(BRADFORD)
    adaptation = np.linalg.inv(bradford) @ np.diag((bradford @ d65) / (bradford @ white)) @ bradford
    result: Matrix = np.array(XYZ_TO_REC709) @ adaptation @ to_xyz
    return result


def _build_rec709_transform(
    config: ocio.Config, name: str, space: str, warn: Callable[[str], Any]
) -> ocio.GroupTransform:
    resolved = config.getColorSpace(space)
    if resolved.isData():
        raise ColourError(
            f"'{space}' of OCIO config '{name}' holds data, not colour; name the colour space of the pixels."
        )
    display = resolved.getReferenceSpaceType() == ocio.REFERENCE_SPACE_DISPLAY
    if display and config.hasRole(XYZ_ROLE):
        steps = [ocio.ColorSpaceTransform(src=space, dst=XYZ_ROLE), _make_matrix_transform(XYZ_TO_REC709)]
    elif config.hasRole(ACES_ROLE):
        steps = [ocio.ColorSpaceTransform(src=space, dst=ACES_ROLE), _make_matrix_transform(ACES_TO_REC709)]
    else:
        steps = _build_fallback_transforms(config, name, space, warn)
    return ocio.GroupTransform(steps)


def _build_fallback_transforms(
    config: ocio.Config, name: str, space: str, warn: Callable[[str], Any]
) -> list[ocio.Transform]:
    try:
        to_aces = _find_known_space(config, space)
        return [to_aces.createGroupTransform(), _make_matrix_transform(ACES_TO_REC709)]
    except OCIO_ERRORS as error:
        linear = config.getColorSpace(SCENE_LINEAR_ROLE)
        if linear is None:
            raise ColourError(
                f"OCIO config '{name}' has neither the role {ACES_ROLE} nor {SCENE_LINEAR_ROLE}"
            ) from error
        warn(
            f"OCIO config '{name}' has no role {ACES_ROLE}, and OCIO recognises none of its spaces; "
            f"its {SCENE_LINEAR_ROLE} space '{linear.getName()}' is assumed to be linear Rec.709. Add the role if that "
            "is wrong."
        )
        return [ocio.ColorSpaceTransform(src=space, dst=linear.getName())]


def _find_known_space(config: ocio.Config, space: str) -> ocio.Processor:
    """Finds a conversion to ACES2065-1 by a space that OCIO recognises. Raises one of `OCIO_ERRORS`."""
    aces = ocio.Config.CreateFromFile(DEFAULT_CONFIG).getColorSpace(ACES_ROLE).getName()
    try:
        return ocio.Config.GetProcessorToBuiltinColorSpace(config, space, aces)
    except ocio.ExceptionMissingFile:
        # OCIO gives up at the first space whose LUT is missing, also if that space has nothing to do with this one.
        return ocio.Config.GetProcessorToBuiltinColorSpace(_remove_broken_spaces(config, keep=space), space, aces)


def _remove_broken_spaces(config: ocio.Config, keep: str) -> ocio.Config:
    """Copies a config without the spaces, other than `keep`, whose files are missing."""
    rest = copy.deepcopy(config)
    for space in list(config.getColorSpaces()):
        try:
            for direction in (ocio.COLORSPACE_DIR_TO_REFERENCE, ocio.COLORSPACE_DIR_FROM_REFERENCE):
                transform = space.getTransform(direction)
                if transform is not None:
                    config.getProcessor(transform)
        except OCIO_ERRORS:
            if space.getName() != keep:
                rest.removeColorSpace(space.getName())
    return rest


def apply_processor(processor: ocio.CPUProcessor, rgb: Image) -> None:
    """Changes a C-contiguous picture in place."""
    if rgb.size:
        processor.applyRGB(rgb)


def _make_matrix_transform(rows: tuple[tuple[float, ...], ...]) -> ocio.MatrixTransform:
    full = np.eye(4)
    full[:3, :3] = rows
    return ocio.MatrixTransform(matrix=full.ravel().tolist())


def _extract_matrix(processor: ocio.Processor) -> Matrix | None:
    """Gives the (3, 3) matrix of a processor that does nothing else; None for others."""
    matrix = np.eye(3)
    for step in processor.getOptimizedProcessor(OPTIMIZATION_FLAGS).createGroupTransform():
        if not isinstance(step, ocio.MatrixTransform) or any(step.getOffset()):
            return None
        part = np.array(step.getMatrix()).reshape(4, 4)[:3, :3]
        inverse = step.getDirection() == ocio.TRANSFORM_DIR_INVERSE
        matrix = (np.linalg.inv(part) if inverse else part) @ matrix
    return matrix


def _multiply_planes(matrix: Matrix, planes: ColourPlanes) -> ColourPlanes:
    """Multiplies without matmul, whose last bit may depend on the position of a pixel in the array."""
    result = np.empty_like(planes)
    for row, plane in zip(matrix, result, strict=True):
        np.multiply(row[0], planes[0], out=plane)
        plane += row[1] * planes[1]
        plane += row[2] * planes[2]
    return result
