"""Writes small movies for people to look at (reports, comparisons) through PyAV: 8 bits, BT.709, no sound."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import cast

import av
import numpy as np
from av import FFmpegError, VideoFrame
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from av.video.stream import VideoStream

from fsgan_core.contract.errors import OutputError
from fsgan_core.plates.c2pa_manifest import embed_manifest
from fsgan_core.plates.synthetic_mark import SYNTHETIC_COMMENT, append_movie_mark, make_xmp
from fsgan_core.runtime.arrays import Image8
from fsgan_core.runtime.atomic import explain_os_error, make_folder

__all__ = ["PREVIEW_CODECS", "MovieCodec", "write_movie"]

log = logging.getLogger(__name__)

_MAX_RATE_DENOMINATOR = 1001
_PIXEL_FORMAT = "yuv420p"
_QUALITY_UNIT = 118  # FF_QP2LAMBDA: global_quality counts in lambda


@dataclass(frozen=True)
class MovieCodec:
    """An encoder to try.

    Attributes:
        name: FFmpeg's name of it.
        suffix: Suffix of the file.
        options: Its options.
        quality: Quality of all frames, for encoders that count it in FFmpeg's way (1 is best); 0 leaves it out.
    """

    name: str
    suffix: str
    options: Mapping[str, str] = field(default_factory=dict)
    quality: int = 0


PREVIEW_CODECS = (
    MovieCodec("libx264", ".mp4", {"crf": "20", "preset": "ultrafast"}),
    MovieCodec("mpeg4", ".mp4", quality=3),
)
"""Tried in this order. H.264 plays everywhere; FFmpeg may have been built without it."""


def write_movie(
    pictures: Iterable[Image8],
    path: Path | str,
    fps: float,
    *,
    codecs: Sequence[MovieCodec] = PREVIEW_CODECS,
    is_synthetic: bool = False,
    made_from: Sequence[str] = (),
    consent: str = "",
) -> Path:
    """Writes pictures as a movie, whole or not at all; holds one picture at a time.

    Args:
        pictures: uint8 (height, width, 3) RGB, all of one size with even sides.
        path: The file; its suffix becomes that of the codec.
        fps: Frames per second.
        codecs: Encoders, of which the first that works here is taken.
        is_synthetic: Mark the file: it shows a synthesised face. If the studio signs, it gets a signed manifest, too.
        made_from: Names of the clips that it shows, for the manifest.
        consent: The performer's release, for the mark; empty: none is named.

    Returns:
        The path that was written.

    Raises:
        OutputError: There is no picture, no encoder works, the pictures differ in size, or the file cannot be written.
        SigningError: The studio's certificate or key does not work.
    """
    path = Path(path)
    make_folder(path.parent)
    stream = iter(pictures)
    first = next(stream, None)
    if first is None:
        raise OutputError(f"cannot write {path}: there is no frame to show")
    rate = Fraction(fps).limit_denominator(_MAX_RATE_DENOMINATOR)
    for codec in codecs:
        if not _can_encode(codec):
            log.info("the video encoder %s does not work here", codec.name)
            continue
        final = path.with_suffix(codec.suffix)
        temporary = final.with_name(f".{final.stem}.{os.getpid()}.{secrets.token_hex(8)}.tmp{codec.suffix}")
        try:
            comment = {"comment": SYNTHETIC_COMMENT} if is_synthetic else {}
            _encode_movie(chain([first], stream), temporary, rate, codec, comment, final)
            if is_synthetic:
                append_movie_mark(temporary, make_xmp(consent=consent))
                embed_manifest(temporary, title=final.name, ingredients=made_from)
            temporary.replace(final)
            return final
        except (OSError, FFmpegError) as error:
            if isinstance(error, OSError):
                raise OutputError(explain_os_error(final, error)) from error
            raise OutputError(f"cannot write {final}: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)
    raise OutputError(
        f"cannot write {path}: no video encoder works here (tried {', '.join(codec.name for codec in codecs)})"
    )


def _can_encode(codec: MovieCodec) -> bool:
    """Whether FFmpeg has this encoder here, and it can be opened."""
    try:
        context = av.CodecContext.create(codec.name, "w")
    except (FFmpegError, ValueError):
        return False
    return bool(context.is_encoder)


def _encode_movie(
    pictures: Iterator[Image8],
    path: Path,
    rate: Fraction,
    codec: MovieCodec,
    metadata: Mapping[str, str],
    final: Path,
) -> None:
    # The index at the beginning lets a browser play the file while it loads.
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        container.metadata.update(metadata)
        video: VideoStream | None = None
        size = (0, 0)
        for number, picture in enumerate(pictures, start=1):
            height, width = picture.shape[:2]
            if video is None:
                video, size = _add_stream(container, codec, rate, width, height), (width, height)
            if (width, height) != size:
                raise OutputError(
                    f"cannot write {final}: frame {number} is {width}x{height}, the first one {size[0]}x{size[1]}"
                )
            container.mux(video.encode(_convert_picture(picture)))
        if video is not None:
            container.mux(video.encode(None))


def _add_stream(container: OutputContainer, codec: MovieCodec, rate: Fraction, width: int, height: int) -> VideoStream:
    video = cast("VideoStream", container.add_stream(codec.name, rate=rate, options=dict(codec.options)))
    video.width, video.height, video.pix_fmt = width, height, _PIXEL_FORMAT
    context = video.codec_context
    if codec.quality:
        context.qscale = True
        context.global_quality = codec.quality * _QUALITY_UNIT
    context.colorspace, context.color_primaries = Colorspace.ITU709, ColorPrimaries.BT709
    context.color_trc, context.color_range = ColorTrc.IEC61966_2_1, ColorRange.MPEG
    return video


def _convert_picture(picture: Image8) -> VideoFrame:
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return frame.reformat(
        format=_PIXEL_FORMAT,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
    )
