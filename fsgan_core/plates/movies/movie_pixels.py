"""Converts decoded movie frames to float RGB: coded values, with nothing rounded, clipped or tone-mapped.

libswscale only repacks samples here. Matrix, range and chroma are computed in float32, so that 10 and 12 bits stay 10
and 12 bits and every machine gets the same numbers. Formulas: ITU-T H.273 (equations 20 to 58).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from av import FFmpegError, VideoFormat, VideoFrame
from av.video.reformatter import VideoReformatter

from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.layers import RGB, RGBA
from fsgan_core.runtime.arrays import AnyArray, Image, Plane

__all__ = ["FrameColour", "MatrixCode", "convert_to_rgb", "find_frame_colour", "repack_frame"]


class MatrixCode(IntEnum):
    """Codes of H.273, table 4: how Y'CbCr is made from R'G'B'."""

    RGB = 0
    BT709 = 1
    UNSPECIFIED = 2
    FCC = 4
    BT470BG = 5
    SMPTE170M = 6
    SMPTE240M = 7
    YCGCO = 8
    BT2020_NCL = 9
    BT2020_CL = 10
    DERIVED_NCL = 12


# Weights of red and blue in luma (H.273, table 4).
_LUMA_WEIGHTS = {
    MatrixCode.BT709: (0.2126, 0.0722),
    MatrixCode.FCC: (0.30, 0.11),
    MatrixCode.BT470BG: (0.299, 0.114),
    MatrixCode.SMPTE170M: (0.299, 0.114),
    MatrixCode.SMPTE240M: (0.212, 0.087),
    MatrixCode.BT2020_NCL: (0.2627, 0.0593),
}
_FULL_RANGE = 2  # of H.273's VideoFullRangeFlag, as libavutil counts: 1 is limited
_PRIMARIES_709, _PRIMARIES_2020 = 1, 9
_PRIMARIES_601 = (4, 5, 6, 7)
# A stream that does not say its matrix: players take that of BT.709 from this size on, else that of BT.601.
_HD_WIDTH, _HD_HEIGHT = 1280, 720
# Codecs of standard definition, whatever the size.
_BT601_CODECS = frozenset({"dvvideo", "mjpeg", "mpeg1video", "jpeg2000"})
# Where chroma samples are if the stream does not say (libavcodec's defaults): centred between luma samples, or on
# the first of them also vertically. The other codecs have them on the first column and centred between rows.
_CENTRED_CODECS = frozenset({"mpeg1video", "mjpeg"})
_TOP_LEFT_CODECS = frozenset({"dvvideo"})

_PLANAR_NAME = re.compile(r"(yuva?\d{3}p|gbra?p|gray)((9|10|12|14|16)le|f32le)?|yuvj\d{3}p")
_SUBSAMPLINGS = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411", (4, 4): "410"}
# Depths of yuva formats, by subsampling.
_ALPHA_DEPTHS = {"420": (8, 9, 10, 16), "422": (8, 9, 10, 12, 16), "444": (8, 9, 10, 12, 16)}


_STRIP_ROWS = 64


@dataclass(frozen=True)
class FrameColour:
    """How the samples of a frame are coded.

    Attributes:
        matrix: How Y'CbCr is made from R'G'B'.
        is_full_range: Whether black and white are the smallest and largest numbers.
        chroma_x: Column of the first chroma sample, in luma samples; of formats with half the columns.
        chroma_y: Row of the first chroma sample, in luma samples; of formats with half the rows.
        is_assumed: Whether the stream does not say the matrix.
    """

    matrix: MatrixCode
    is_full_range: bool
    chroma_x: float = 0.0
    chroma_y: float = 0.5
    is_assumed: bool = False


def find_frame_colour(frame: VideoFrame, codec: str) -> FrameColour:
    """Finds how the samples of a frame are coded, by what the stream says, or by the usual rule if it does not.

    Raises:
        PlateError: The matrix is one that this program does not know.
    """
    full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
    code, assumed = int(frame.colorspace), False
    if code == MatrixCode.BT2020_CL:
        raise PlateError("the movie has constant-luminance BT.2020 colours; convert it to an image sequence")
    if code in (MatrixCode.UNSPECIFIED, MatrixCode.DERIVED_NCL) or (code == 0 and not frame.format.is_rgb):
        assumed = code != MatrixCode.DERIVED_NCL
        code = _guess_matrix(frame, codec)
    if code not in tuple(MatrixCode):
        raise PlateError(f"the movie has a colour matrix that is not supported (H.273 code {code}); convert it")
    centred = codec in _CENTRED_CODECS
    top_left = codec in _TOP_LEFT_CODECS or code == MatrixCode.BT2020_NCL
    return FrameColour(MatrixCode(code), full, 0.5 if centred else 0.0, 0.0 if top_left else 0.5, assumed)


def _guess_matrix(frame: VideoFrame, codec: str) -> MatrixCode:
    primaries = int(frame.color_primaries)
    if primaries == _PRIMARIES_2020:
        return MatrixCode.BT2020_NCL
    if primaries in _PRIMARIES_601 or codec in _BT601_CODECS:
        return MatrixCode.SMPTE170M
    is_hd = frame.width >= _HD_WIDTH or frame.height >= _HD_HEIGHT
    return MatrixCode.BT709 if primaries == _PRIMARIES_709 or is_hd else MatrixCode.SMPTE170M


def repack_frame(frame: VideoFrame, reformatter: VideoReformatter) -> VideoFrame:
    """Repacks samples into one plane each, with their depth and subsampling; a planar frame is returned as it is.

    Raises:
        PlateError: The format is not supported.
    """
    name = frame.format.name
    wanted = _choose_planar_name(frame.format)
    if wanted == name:
        return frame
    if name.startswith("xyz"):
        raise PlateError("the movie holds X'Y'Z' of digital cinema; convert it to an image sequence")
    try:
        return reformatter.reformat(frame, format=wanted, threads=1)
    except (FFmpegError, ValueError) as error:
        raise PlateError(
            f"the movie's pixel format {name} is not supported; convert it to an image sequence"
        ) from error


def _choose_planar_name(form: VideoFormat) -> str:
    if _PLANAR_NAME.fullmatch(form.name):
        return str(form.name)
    components = form.components
    depth = max(component.bits for component in components)
    alpha = "a" if form.has_palette or any(component.is_alpha for component in components) else ""
    if "f16" in form.name or "f32" in form.name:
        return "grayf32le" if form.name.startswith("gray") else f"gbr{alpha}pf32le"
    depth = 8 if depth <= 8 else min(known for known in (10, 12, 14, 16) if known >= depth)
    if form.is_rgb or form.has_palette:
        return f"gbr{alpha}p{_get_depth_suffix(depth)}"
    if len(components) == 1:
        return "gray" + _get_depth_suffix(depth)
    if form.name.startswith("ya"):  # gray and alpha
        return f"yuva444p{_get_depth_suffix(depth if depth == 8 else 16)}"
    scale = (16 // max(1, form.chroma_width(16)), 16 // max(1, form.chroma_height(16)))
    sampling = _SUBSAMPLINGS.get(scale, "444")
    if alpha:
        depths = _ALPHA_DEPTHS.get(sampling, ())
        sampling, depth = (sampling if depths else "444"), (depth if depth in depths else 16)
    return f"yuv{alpha}{sampling}p{_get_depth_suffix(depth)}"


def _get_depth_suffix(depth: int) -> str:
    return "" if depth == 8 else f"{depth}le"


def convert_to_rgb(
    frame: VideoFrame, colour: FrameColour, by_field: bool = False
) -> tuple[Image, tuple[str, ...], str]:
    """Converts a planar frame to RGB or RGBA.

    Args:
        frame: As `repack_frame` makes it.
        colour: How its samples are coded.
        by_field: Whether the frame is two fields, each with its own rows of chroma.

    Returns:
        (height, width, 3 or 4), black 0 and white 1, colours beyond them kept; the channels; the file's format as a
        plate names it ("uint8", "uint16" or "float").
    """
    name = frame.format.name
    bits = max(component.bits for component in frame.format.components)
    kind = "float" if "f32" in name else "uint8" if bits <= 8 else "uint16"
    planes = [_read_plane(frame, index, kind) for index in range(len(frame.planes))]
    alpha = len(planes) == 4
    pixels = np.empty((frame.height, frame.width, 4 if alpha else 3), np.float32)
    unit = np.float32(1.0 if kind == "float" else 1.0 / (2**bits - 1))
    if name.startswith("gbr"):
        for channel, index in enumerate((2, 0, 1)):
            np.multiply(planes[index], unit, out=pixels[..., channel])
    elif len(planes) == 1:
        luma = planes[0] * unit if kind == "float" else _scale_luma(planes[0], bits, colour.is_full_range)
        pixels[...] = luma[..., None]
    else:
        _convert_ycbcr(planes, bits, colour, by_field, pixels)
    if alpha:
        np.multiply(planes[3], unit, out=pixels[..., 3])
    return pixels, RGBA if alpha else RGB, kind


def _convert_ycbcr(planes: Sequence[AnyArray], bits: int, colour: FrameColour, by_field: bool, pixels: Image) -> None:
    """Fills R, G and B of `pixels`, strip by strip, so that what is computed stays in the processor's cache."""
    height, width = pixels.shape[:2]
    cb, cr = (
        _upsample_columns(_scale_chroma(plane, bits, colour.is_full_range), width, colour.chroma_x)
        for plane in planes[1:3]
    )
    rows = _ChromaRows(height, cb.shape[0], colour.chroma_y, by_field)
    for begin in range(0, height, _STRIP_ROWS):
        strip = slice(begin, min(begin + _STRIP_ROWS, height))
        luma = _scale_luma(planes[0][strip], bits, colour.is_full_range)
        _apply_matrix(luma, rows.interpolate(cb, strip), rows.interpolate(cr, strip), colour.matrix, pixels[strip])


def _read_plane(frame: VideoFrame, index: int, kind: str) -> AnyArray:
    plane = frame.planes[index]
    dtype = np.dtype({"uint8": "u1", "uint16": "<u2", "float": "<f4"}[kind])
    rows: AnyArray = np.frombuffer(memoryview(plane), dtype).reshape(
        plane.height, abs(plane.line_size) // dtype.itemsize
    )
    # Rows of a negative line size are stored from the lowest to the highest.
    return rows[:: -1 if plane.line_size < 0 else 1, : plane.width]


def _scale_luma(plane: AnyArray, bits: int, is_full_range: bool) -> Plane:
    """Luma, 0 for black and 1 for white."""
    if is_full_range:
        return np.multiply(plane, np.float32(1.0 / (2**bits - 1)), dtype=np.float32)
    luma = np.subtract(plane, np.float32(16 << (bits - 8)), dtype=np.float32)
    luma *= np.float32(1.0 / (219 << (bits - 8)))
    return luma


def _scale_chroma(plane: AnyArray, bits: int, is_full_range: bool) -> Plane:
    """Chroma, -0.5 to 0.5."""
    chroma = np.subtract(plane, np.float32(1 << (bits - 1)), dtype=np.float32)
    chroma *= np.float32(1.0 / (2**bits - 1 if is_full_range else 224 << (bits - 8)))
    return chroma


def _upsample_columns(chroma: Plane, width: int, siting: float) -> Plane:
    """Interpolates between columns, whose first lies at column `siting` of the result."""
    count = chroma.shape[1]
    factor = math.ceil(width / count)
    if factor == 1:
        return chroma
    result = np.empty((chroma.shape[0], count * factor), np.float32)
    padded = np.concatenate([chroma[:, :1], chroma, chroma[:, -1:]], axis=1)
    for phase in range(factor):
        place = (phase - siting) / factor
        first = math.floor(place)
        weight = np.float32(place - first)
        left = padded[:, 1 + first : 1 + first + count]
        if weight != 0.0:
            left = left * (np.float32(1.0) - weight) + padded[:, 2 + first : 2 + first + count] * weight
        result[:, phase::factor] = left
    return result[:, :width]


class _ChromaRows:
    """Interpolates chroma at rows of luma. Rows outside the plane are those of its edge.

    Args:
        height: Rows of luma.
        count: Rows of chroma.
        siting: Row of luma at which the first row of chroma lies.
        by_field: Whether even and odd rows are fields of their own.
    """

    def __init__(self, height: int, count: int, siting: float, by_field: bool) -> None:
        factor = math.ceil(height / count)
        rows = np.arange(height)
        self._is_whole = factor == 1
        if by_field and not self._is_whole:
            # The chroma of a field lies a quarter of its rows above or below the middle (H.262, figure 6-2).
            field = rows % 2
            place = (rows // 2 - np.where(field == 0, 0.25, 0.75)) / factor
            last = (count - 1 - field) // 2
        else:
            field, place, last = np.zeros_like(rows), (rows - siting) / factor, np.full_like(rows, count - 1)
        first = np.floor(place).astype(np.intp)
        step = 2 if by_field and not self._is_whole else 1
        self._weights = (place - first).astype(np.float32)[:, None]
        self._above = np.clip(first, 0, last) * step + field
        self._below = np.clip(first + 1, 0, last) * step + field

    def interpolate(self, chroma: Plane, strip: slice) -> Plane:
        """Gives the chroma of some rows of luma, as a new array."""
        if self._is_whole:
            return chroma[strip].copy()
        result: Plane = chroma[self._above[strip]]
        difference = chroma[self._below[strip]]
        difference -= result
        difference *= self._weights[strip]
        result += difference
        return result


def _apply_matrix(luma: Plane, cb: Plane, cr: Plane, code: MatrixCode, pixels: Image) -> None:
    """Fills R, G and B of `pixels`; `cb` and `cr` are overwritten."""
    red, green, blue = (pixels[..., channel] for channel in range(3))
    if code == MatrixCode.RGB:  # Y'CbCr planes that hold G, B and R
        green[...], blue[...], red[...] = luma, cb + np.float32(0.5), cr + np.float32(0.5)
        return
    if code == MatrixCode.YCGCO:
        np.add(luma, cb, out=green)
        luma -= cb
        np.add(luma, cr, out=red)
        np.subtract(luma, cr, out=blue)
        return
    kr, kb = _LUMA_WEIGHTS[code]
    kg = 1.0 - kr - kb
    np.add(luma, cr * np.float32(2 * (1 - kr)), out=red)
    np.add(luma, cb * np.float32(2 * (1 - kb)), out=blue)
    cb *= np.float32(-2 * (1 - kb) * kb / kg)
    cr *= np.float32(-2 * (1 - kr) * kr / kg)
    cb += cr
    np.add(luma, cb, out=green)
