"""Reads animated WebP as a clip. FFmpeg's libraries cannot; OpenImageIO can, and composes each frame whole."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import OpenImageIO as oiio

from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.layers import RGB, RGBA
from fsgan_core.plates.file_digest import get_content_digest
from fsgan_core.plates.image_file import check_readable, take_oiio_error
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.runtime.user_paths import is_plain_file

__all__ = ["AnimatedWebp", "is_animated_webp"]

DEFAULT_FPS = 25.0
_MAX_FRAMES = 100_000
_ANIMATION_FLAG = 0x02  # in the header chunk VP8X


def is_animated_webp(path: Path) -> bool:
    """Whether a file is a WebP with several frames."""
    if not is_plain_file(path):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(21)
    except OSError:
        return False
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) == 21 and bool(head[20] & _ANIMATION_FLAG)


class AnimatedWebp:
    """An animated WebP, in the manner of `Movie`. Frames are numbered from 1; `read` may be called from any thread.

    Args:
        path: The file. Raises PlateError if it cannot be read.
    """

    pixel_aspect = 1.0
    fps = DEFAULT_FPS

    def __init__(self, path: Path) -> None:
        self.path = path
        check_readable(path)
        self._lock = threading.Lock()
        self.digest = get_content_digest(path)
        opened = oiio.ImageInput.open(str(path))
        if opened is None:
            raise PlateError(f"{path} cannot be read as a picture: {take_oiio_error()}")
        self._input = opened
        count = 0
        while count < _MAX_FRAMES and opened.seek_subimage(count, 0):
            count += 1
        take_oiio_error(opened)
        if not count:
            raise PlateError(f"{path} holds no picture")
        self.frames = tuple(range(1, count + 1))

    def read(self, frame: int) -> Plate:
        """Decodes a frame. Raises PlateError if it does not exist or is damaged."""
        if frame not in self.frames:
            raise PlateError(f"{self.path} has frames 1 to {len(self.frames)}; there is no frame {frame}")
        with self._lock:
            spec = self._input.spec_dimensions(frame - 1, 0)
            pixels = self._input.read_image(frame - 1, 0, 0, spec.nchannels, oiio.UINT8)
            failed = pixels is None or self._input.has_error
            error = take_oiio_error(self._input)
        if failed:
            raise PlateError(f"{self.path}: frame {frame} is damaged: {error}")
        picture = np.asarray(pixels).reshape(spec.height, spec.width, spec.nchannels)
        window = Window(0, 0, spec.width, spec.height)
        channels = RGBA if spec.nchannels == 4 else RGB
        values = picture.astype(np.float32) / np.float32(255.0)
        return Plate(values, channels, window, window, 1.0, {}, ("uint8",) * len(channels))

    def compute_fingerprint(self, frame: int) -> str:
        """Digests what `read(frame)` depends on. The same on every machine."""
        return f"{self.digest}:{frame}"

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._input.close()
