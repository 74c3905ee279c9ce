"""Reads movies through PyAV (FFmpeg's libraries): any frame, exactly, by its number from 1.

Frames are decoded in order, and found by their time stamps where somebody asks for another one. Pixels are the values
that the stream codes (movie_pixels.py): matrix and range are undone, the transfer curve is not. Fields of interlaced
material are de-interlaced (movie_fields.py).
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from av import VideoFrame
from av.video.reformatter import VideoReformatter

from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.params import INTERLACED_MODES
from fsgan_core.plates.file_digest import get_content_digest
from fsgan_core.plates.image_file import check_readable
from fsgan_core.plates.movies.movie_fields import deinterlace, is_top_field_first, read_display_matrix, turn_upright
from fsgan_core.plates.movies.movie_pixels import FrameColour, convert_to_rgb, find_frame_colour, repack_frame
from fsgan_core.plates.movies.movie_stream import MovieIndex, MovieStream, build_index
from fsgan_core.plates.plate import Plate, TypedValue, Window
from fsgan_core.runtime.memory import register_cache

__all__ = ["MOVIE_SUFFIXES", "Movie"]

log = logging.getLogger(__name__)

MOVIE_SUFFIXES = frozenset(
    {
        ".3gp",
        ".avi",
        ".dv",
        ".flv",
        ".gif",
        ".m2ts",
        ".m2v",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
    }
)
DEFAULT_RATE = Fraction(25)
DEINTERLACE = INTERLACED_MODES[0]

# Decoded frames are kept for threads that read a little out of order.
_CACHE_BYTES = 96 * 2**20
_CACHED_BEHIND = 4

# Colour interop IDs (Color Interop Forum) of what a stream says of itself: (primaries, transfer) in codes of H.273.
# BT.709 and what says nothing is left to the usual rule.
_PRIMARIES_NAMES = {2: "rec2020", 9: "rec2020", 12: "p3d65"}
_PQ, _HLG, _LINEAR = 16, 18, 8
_LINEAR_NAMES = {1: "lin_rec709_scene", 2: "lin_rec709_scene", 9: "lin_rec2020_scene", 12: "lin_p3d65_scene"}
_SDR_NAMES = {9: "g24_rec2020_display", 12: "srgb_p3d65_display"}


class Movie:
    """A movie file. Frames are numbered from 1; `read` may be called from any thread.

    Pixels are coded RGB, or RGBA if the stream has alpha, turned upright as the file says. The metadata have
    `colorInteropID` if the stream says that it is PQ, HLG, linear or of a wide gamut.

    Args:
        path: The file. Raises PlateError if it is not a movie or has no frames.
        interlaced: What becomes of interlaced frames: "deinterlace" makes a progressive frame of each, "keep" leaves
            both fields in it.
    """

    def __init__(self, path: Path | str, interlaced: str = DEINTERLACE) -> None:
        self.path = Path(path)
        self.interlaced_mode = interlaced
        self._lock = threading.RLock()
        self._reformatter = VideoReformatter()
        self._cached_frames: OrderedDict[int, VideoFrame] = OrderedDict()
        self._undecodable: set[int] = set()
        self.index = _load_index(self.path)
        self._places = {stamp: place for place, stamp in enumerate(self.index.timestamps)}
        self._stream: MovieStream | None = None
        self._frames: Iterator[VideoFrame] = iter(())
        self._position, self._is_from_start, self._can_seek = -1, True, True
        self._file_state = self._read_file_state()
        first = self._get_first_frame()
        assert self._stream is not None
        video = self._stream.video
        self.rate: Fraction = video.guessed_rate or video.average_rate or DEFAULT_RATE
        self.is_interlaced: bool = bool(first.interlaced_frame)
        self._codec: str = self._stream.codec
        self._pixel_aspect: float = float(video.sample_aspect_ratio or 1)
        self._colour_id: str = _find_interop_id(int(first.color_primaries), int(first.color_trc))
        self._log_facts(first)

    @property
    def frames(self) -> tuple[int, ...]:
        """Frame numbers, from 1."""
        return tuple(range(1, self.index.count + 1))

    @property
    def fps(self) -> float:
        """Frames per second; of a variable rate the mean."""
        return float(self.rate)

    @property
    def digest(self) -> str:
        """Digest of the file."""
        return self.index.digest

    def compute_fingerprint(self, frame: int) -> str:
        """Digests what `read(frame)` depends on. The same on every machine."""
        mode = "" if self.interlaced_mode == DEINTERLACE else f":{self.interlaced_mode}"
        return f"{self.digest}:{frame}{mode}"

    def read(self, frame: int) -> Plate:
        """Decodes a frame.

        Raises:
            PlateError: There is no such frame, it cannot be decoded, or the file has changed since it was opened.
        """
        if not 1 <= frame <= self.index.count:
            raise PlateError(f"{self.path} has frames 1 to {self.index.count}; there is no frame {frame}")
        with self._lock:
            decoded = self._get_frame(frame - 1)
            matrix = read_display_matrix(decoded)
            colour = self._find_colour(decoded)
            keeps_fields = bool(decoded.interlaced_frame)
            if keeps_fields and self.interlaced_mode == DEINTERLACE:
                decoded = deinterlace(decoded, self._get_neighbour(frame - 2), self._get_neighbour(frame))
                keeps_fields = False
        pixels, channels, kind = convert_to_rgb(decoded, colour, keeps_fields)
        pixels = turn_upright(pixels, matrix)
        aspect = 1.0 / self._pixel_aspect if matrix[1] else self._pixel_aspect
        window = Window(0, 0, pixels.shape[1], pixels.shape[0])
        return Plate(pixels, channels, window, window, aspect, self._build_metadata(), (kind,) * len(channels))

    def close(self) -> None:
        """Closes the file and drops cached frames."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
            self._stream = None
            self._cached_frames.clear()

    def __enter__(self) -> Movie:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _build_metadata(self) -> Mapping[str, Any]:
        rate = self.rate.limit_denominator(1001)
        metadata: dict[str, Any] = {"framesPerSecond": TypedValue("rational", (rate.numerator, rate.denominator))}
        if self._colour_id:
            metadata["colorInteropID"] = self._colour_id
        return metadata

    def _find_colour(self, frame: VideoFrame) -> FrameColour:
        try:
            return find_frame_colour(frame, self._codec)
        except PlateError as error:
            raise PlateError(f"{self.path}: {error}") from error

    def _log_facts(self, first: VideoFrame) -> None:
        colour = self._find_colour(first)
        fields = "progressive"
        if self.is_interlaced:
            order = "top" if is_top_field_first(first) else "bottom"
            done = "de-interlaced" if self.interlaced_mode == DEINTERLACE else "both fields kept in a frame"
            fields = f"interlaced ({order} field first), {done}"
        coded = (
            ""
            if first.format.name.startswith("gbr")
            else (
                f", {colour.matrix.name.lower()}{' (assumed)' if colour.is_assumed else ''}, "
                f"{'full' if colour.is_full_range else 'limited'} range"
            )
        )
        log.info(
            "%s: %d frames of %dx%d, %.6g fps, %s %s%s, %s",
            self.path.name,
            self.index.count,
            first.width,
            first.height,
            self.rate,
            self._codec,
            first.format.name,
            coded,
            fields,
        )

    def _get_first_frame(self) -> VideoFrame:
        """Decodes the first frame that can be decoded."""
        for place in range(self.index.count):
            try:
                return self._get_frame(place)
            except PlateError:
                if place + 1 == self.index.count:
                    raise
        raise PlateError(f"{self.path} has no frame that can be decoded")

    def _get_neighbour(self, place: int) -> VideoFrame | None:
        try:
            return self._get_frame(place) if 0 <= place < self.index.count else None
        except PlateError:
            return None

    def _get_frame(self, place: int) -> VideoFrame:
        """Decodes the frame at a position from 0, planar."""
        if place in self._cached_frames:
            self._cached_frames.move_to_end(place)
            return self._cached_frames[place]
        if self._read_file_state() != self._file_state:
            raise PlateError(f"{self.path} has changed since it was opened; render again")
        found = None
        if place not in self._undecodable:
            key = self.index.find_key(place) if self._can_seek else 0
            if self._stream is None or not (self._position < place and key <= self._position + 1):
                self._go_to(key)
            found = self._advance_to(place)
            if found is None and not self._is_from_start:
                # Damaged, or not to be decoded from a key frame on. Decoding from the start tells which.
                self._go_to(0)
                found = self._advance_to(place)
                self._can_seek = found is None
        if found is None:
            raise PlateError(f"{self.path}: frame {place + 1} cannot be decoded; the movie is damaged there")
        return found

    def _go_to(self, key: int) -> None:
        """Makes the frame at `key`, or an earlier one, the next to be decoded."""
        stamp = self.index.timestamps[key]
        if self._stream is not None and key > 0 and stamp is not None and self._stream.seek(stamp):
            self._frames = self._stream.decode_from_key()
            self._position, self._is_from_start = key - 1, False
            return
        if self._stream is not None:
            self._stream.close()
        self._stream = MovieStream(self.path, self.index.finds_damage)
        self._frames = self._stream.decode()
        self._position, self._is_from_start = -1, True

    def _advance_to(self, place: int) -> VideoFrame | None:
        """Decodes up to a frame and caches it with those just before it; None if the stream does not have it."""
        for frame in self._frames:
            found = self._places.get(frame.pts) if self.index.is_seekable else self._position + 1
            if found is None or found <= self._position:
                continue
            self._note_gap(found)
            self._position = found
            if found > place - _CACHED_BEHIND:
                self._cache_frame(found, frame)
            if found >= place:
                return self._cached_frames[place] if found == place else None
        self._note_gap(self.index.count)
        self._position = self.index.count
        return None

    def _note_gap(self, found: int) -> None:
        """Notes the frames between the last one and `found`, which the whole stream does not have."""
        if self._is_from_start:
            self._undecodable.update(range(self._position + 1, found))

    def _cache_frame(self, place: int, frame: VideoFrame) -> None:
        if frame.is_corrupt:  # only where the stream is not decoded strictly
            log.warning("%s: frame %d is damaged", self.path, place + 1)
        try:
            planar = repack_frame(frame, self._reformatter)
        except PlateError as error:
            raise PlateError(f"{self.path}: {error}") from error
        self._cached_frames[place] = planar
        self._cached_frames.move_to_end(place)
        size = sum(plane.buffer_size for plane in planar.planes)
        while len(self._cached_frames) > max(_CACHED_BEHIND + 1, _CACHE_BYTES // max(1, size)):
            self._cached_frames.popitem(last=False)

    def _read_file_state(self) -> tuple[int, int]:
        try:
            state = self.path.stat()
        except OSError as error:
            raise PlateError(f"{self.path} cannot be read: {error.strerror or error}") from error
        return (state.st_size, state.st_mtime_ns)


# File digest -> index, so that a movie that is opened again in this process is not listed again.
_indexes: dict[str, MovieIndex] = {}
_index_lock = threading.Lock()

register_cache(_indexes.clear)


def _load_index(path: Path) -> MovieIndex:
    """Gets the index of a movie. Raises PlateError."""
    check_readable(path)
    digest = get_content_digest(path)
    with _index_lock:
        if digest not in _indexes:
            _indexes[digest] = build_index(path)
        return _indexes[digest]


def _find_interop_id(primaries: int, transfer: int) -> str:
    """Finds the colour interop ID of what a stream says of itself; empty for BT.709 and for what it does not say."""
    if transfer in (_PQ, _HLG) and primaries in _PRIMARIES_NAMES:
        return f"{'pq' if transfer == _PQ else 'hlg'}_{_PRIMARIES_NAMES[primaries]}_display"
    if transfer == _LINEAR:
        return _LINEAR_NAMES.get(primaries, "")
    return _SDR_NAMES.get(primaries, "")
