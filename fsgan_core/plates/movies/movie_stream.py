"""Opens the video stream of a movie through PyAV, lists its frames and decodes them in order from any key frame."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice, pairwise
from pathlib import Path

import av
from av import FFmpegError, Packet, VideoFrame
from av.container import InputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from fsgan_core.contract.errors import PlateError
from fsgan_core.plates.file_digest import get_content_digest
from fsgan_core.plates.image_file import check_readable

__all__ = ["MovieIndex", "MovieStream", "build_index"]

log = logging.getLogger(__name__)

# Codecs of which each packet is one frame that is shown, and containers that store whole frames: the packets of such a
# file list its frames. The frames of other files are counted by decoding them.
_ONE_FRAME_PACKETS = frozenset(
    {
        "av1",
        "cfhd",
        "dnxhd",
        "dvvideo",
        "ffv1",
        "ffvhuff",
        "gif",
        "h264",
        "hap",
        "hevc",
        "huffyuv",
        "jpeg2000",
        "magicyuv",
        "mjpeg",
        "mpeg1video",
        "mpeg2video",
        "png",
        "prores",
        "qtrle",
        "r10k",
        "r210",
        "rawvideo",
        "utvideo",
        "v210",
        "v410",
        "vp9",
    }
)
_FRAME_CONTAINERS = frozenset({"avi", "gif", "matroska", "mov", "mxf", "webm"})
_PROBED_FRAMES = 12  # decoded at the start, to see whether the packets tell the truth
# Containers that hold their own pictures, and only this file: a playlist could make FFmpeg read others, or the network.
_OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "3g2,3gp,asf,avi,dv,flv,gif,h264,hevc,m4a,m4v,matroska,mj2,mov,mp4,mpeg,mpegts,mpegvideo,mxf,"
    "nut,ogg,wav,webm",
}
_DEPENDENT_PICTURES = (PictureType.P, PictureType.B, PictureType.S)
# A file whose pictures end this long before its stated end was cut short. Sound may be a little longer than pictures.
_MISSING_SECONDS, _MISSING_SHARE = 0.5, 0.02


@dataclass(frozen=True)
class MovieIndex:
    """The frames of a movie in the order in which they are shown.

    Attributes:
        digest: Digest of the file.
        timestamps: Presentation time of each frame, in the time base of the stream; None if the file does not say it.
        time_base: Seconds of one step of a time stamp.
        keys: Positions of frames that can be decoded without those before them, ascending.
        finds_damage: Whether frames can be decoded in the strict way, which fails at the first one of some streams that
            others play.
    """

    digest: str
    timestamps: tuple[int | None, ...]
    time_base: Fraction
    keys: tuple[int, ...]
    finds_damage: bool = False

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.timestamps)

    @property
    def is_seekable(self) -> bool:
        """Whether frames can be found by their time stamps."""
        return bool(self.keys)

    def find_key(self, place: int) -> int:
        """Finds the position of the last key frame at or before a frame; 0 if there is none."""
        found = bisect_right(self.keys, place) - 1
        return self.keys[found] if found >= 0 else 0


class MovieStream:
    """An open movie of which frames are decoded in order.

    Args:
        path: The file. Raises PlateError if it has no video.
        is_strict: Whether to leave out a damaged frame and what depends on it. Otherwise the decoder fills the holes
            with what it decoded before, which is another picture each time. Needs time stamps.
    """

    def __init__(self, path: Path, is_strict: bool = False) -> None:
        self.path = path
        check_readable(path)
        if path.stat().st_size == 0:
            raise PlateError(f"{path} is empty (0 bytes); copy or export it again")
        try:
            self._container: InputContainer = av.open(f"file:{path}", options=_OPEN_OPTIONS)
        except (FFmpegError, ValueError, OSError) as error:
            raise PlateError(
                f"{path} cannot be read as a movie ({_describe_error(error)}); it is cut short, damaged or in another "
                "format. Copy or export it again, or convert it to an image sequence"
            ) from error
        pictures = [stream for stream in self._container.streams.video if not _is_cover(stream)]
        if not pictures or pictures[0].codec_context is None:
            self._container.close()
            raise PlateError(f"{path} has no video that can be decoded; convert it to an image sequence")
        self.video: VideoStream = pictures[0]
        # Threads that share a frame write over each other's edges (v210 beyond the end of a row), and then a frame is
        # another one each time.
        self.video.thread_count = 1
        if is_strict:
            self.video.codec_context.options = {"err_detect": "crccheck+explode"}
        self._is_strict = is_strict
        self._is_broken = False
        self._whole_from: int | None = None
        self._damaged: set[int] = set()

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return str(self.video.codec_context.name)

    @property
    def has_listed_frames(self) -> bool:
        """Whether the packets of the file are its frames, one by one."""
        return self.codec in _ONE_FRAME_PACKETS and bool(self._format_names & _FRAME_CONTAINERS)

    @property
    def _format_names(self) -> set[str]:
        return set(self._container.format.name.split(","))

    def seek(self, timestamp: int) -> bool:
        """Goes to a key frame at or before a time stamp; False if the file cannot do that."""
        try:
            self._container.seek(timestamp, stream=self.video)
        except (FFmpegError, OSError):
            return False
        self._is_broken, self._whole_from = False, None
        self._damaged.clear()
        return True

    def read_packets(self) -> Iterator[Packet[VideoStream]]:
        """Yields the packets of the video from here on. A file that is cut short ends early."""
        packets = self._container.demux(self.video)
        while True:
            try:
                packet = next(packets, None)
            except (FFmpegError, OSError) as error:
                log.warning("%s cannot be read to its end (%s)", self.path, _describe_error(error))
                return
            if packet is None:
                return
            yield packet

    def decode(self) -> Iterator[VideoFrame]:
        """Yields frames from here on in the order in which they are shown; what cannot be decoded is left out."""
        flushed = False
        for packet in self.read_packets():
            flushed = packet.size == 0
            yield from self._decode_packet(packet)
        if not flushed:
            yield from self._decode_packet(None)

    def decode_from_key(self) -> Iterator[VideoFrame]:
        """Yields frames from the next key frame on, without those shown before it.

        Ends at once if what the file calls a key frame needs earlier frames, as in H.264 with periodic intra refresh.
        """
        packets = self.read_packets()
        key = next((packet for packet in packets if packet.is_keyframe and packet.size), None)
        if key is None or key.pts is None:
            return
        frames = (frame for packet in chain([key], packets) for frame in self._decode_packet(packet))
        shown = (frame for frame in frames if frame.pts is not None and frame.pts >= key.pts)
        first = next(shown, None)
        if first is not None and first.pts == key.pts and first.pict_type not in _DEPENDENT_PICTURES:
            yield first
            yield from shown

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def get_stated_seconds(self) -> float | None:
        """Gives how long the file says that it is, if it does not guess that from its size."""
        if not {"matroska", "mxf"} & self._format_names:
            return None
        if self.video.duration is not None and self.video.time_base is not None:
            return float(self.video.duration * self.video.time_base)
        return None if self._container.duration is None else self._container.duration / av.time_base

    def _decode_packet(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        stamp = packet.pts if packet is not None and packet.size else None
        if packet is not None and stamp is not None:
            self._note_packet(stamp, packet.is_keyframe)
        try:
            frames = self.video.decode(packet)
        except (FFmpegError, ValueError) as error:
            log.debug("%s: a packet cannot be decoded (%s)", self.path, _describe_error(error))
            if stamp is not None:
                self._note_damage(stamp)
            return []
        if not self._is_strict:
            return frames
        for frame in frames:
            if frame.is_corrupt and frame.pts is not None:
                self._note_damage(frame.pts)
        return [frame for frame in frames if frame.pts not in self._damaged]

    def _note_packet(self, stamp: int, is_key: bool) -> None:
        """Notes a packet that depends on a damaged one: those up to the next key frame, and those shown before that."""
        if is_key and self._is_broken:
            self._is_broken, self._whole_from = False, stamp
        if self._is_broken or (self._whole_from is not None and stamp < self._whole_from):
            self._damaged.add(stamp)

    def _note_damage(self, stamp: int) -> None:
        self._damaged.add(stamp)
        self._is_broken = True


def build_index(path: Path) -> MovieIndex:
    """Lists the frames of a movie, by its packets where these can be trusted, else by decoding all of it.

    Raises:
        PlateError: The file cannot be read as a movie, or no frame of it can be decoded.
    """
    digest = get_content_digest(path)
    stream = MovieStream(path)
    stamps: list[int | None] = []
    keys: set[int] = set()
    broken = 0
    try:
        for packet in stream.read_packets():
            if packet.is_corrupt:
                broken += 1
            elif packet.size and not packet.is_discard:
                stamps.append(packet.pts)
                if packet.is_keyframe and packet.pts is not None:
                    keys.add(packet.pts)
        stated_count, stated_seconds = stream.video.frames, stream.get_stated_seconds()
        time_base = stream.video.time_base or Fraction(1, 1000)
        trusted = stream.has_listed_frames and keys and None not in stamps and len(set(stamps)) == len(stamps)
    finally:
        stream.close()
    timestamps = sorted(stamps) if trusted else []  # type: ignore[type-var]
    if not timestamps or not _begins_with(path, timestamps):
        timestamps = [frame.pts for frame in _decode_all(path)]
    if not timestamps:
        raise PlateError(f"{path} has no frame that can be decoded; copy or export it again")
    known = [stamp for stamp in timestamps if stamp is not None]
    is_ordered = len(known) == len(timestamps) and all(a < b for a, b in pairwise(known))
    places = tuple(place for place, stamp in enumerate(known) if stamp in keys) if is_ordered else ()
    strict = next(_decode_all(path, is_strict=True), None) if places else None
    finds_damage = strict is not None and strict.pts == timestamps[0]
    index = MovieIndex(digest, tuple(timestamps), time_base, places, finds_damage)
    _warn_if_cut_short(path, index, stated_count, stated_seconds, broken)
    return index


def _begins_with(path: Path, timestamps: Sequence[int | None]) -> bool:
    """Decodes the first frames, to see whether they are among those that the packets tell of; some may be damaged."""
    found = [frame.pts for frame in islice(_decode_all(path), _PROBED_FRAMES)]
    return found[:1] == list(timestamps[:1]) and set(found) <= set(timestamps)


def _decode_all(path: Path, is_strict: bool = False) -> Iterator[VideoFrame]:
    stream = MovieStream(path, is_strict)
    try:
        yield from stream.decode()
    finally:
        stream.close()


def _warn_if_cut_short(path: Path, index: MovieIndex, count: int, seconds: float | None, broken: int) -> None:
    if count > index.count:
        log.warning(
            "%s says that it has %d frames, but only %d can be decoded; it is cut short or damaged",
            path,
            count,
            index.count,
        )
        return
    stamps = [stamp for stamp in index.timestamps if stamp is not None]
    if broken:
        log.warning("%s is cut short or damaged: %d of its packets are not whole", path, broken)
    elif seconds is not None and stamps:
        end = float(stamps[-1] * index.time_base)
        if seconds - end > max(_MISSING_SECONDS, _MISSING_SHARE * seconds):
            log.warning(
                "%s says that it lasts %.2f s, but its pictures end at %.2f s; it is cut short", path, seconds, end
            )


def _is_cover(stream: VideoStream) -> bool:
    """Whether a stream is the cover picture of a file."""
    return bool(int(stream.disposition) & int(av.stream.Disposition.attached_pic))


def _describe_error(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error or type(error).__name__)
