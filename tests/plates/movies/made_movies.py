"""Makes small movies through PyAV for tests, and reads them by the plain way of FFmpeg's libraries to compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.filter import Graph


def encode(
    path: Path,
    frames: Iterable[av.VideoFrame],
    codec: str,
    pix_fmt: str,
    *,
    rate: Fraction | int = 25,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    setup: Callable[[av.VideoStream], None] | None = None,
) -> Path:
    """Encodes frames that already have the encoder's pixel format; skips the test where the encoder is missing."""
    if codec not in av.codecs_available:
        pytest.skip(f"FFmpeg was built without the encoder {codec}")
    with av.open(str(path), "w", options=container_options or {}) as container:
        try:
            video = container.add_stream(codec, rate=rate, options=options or {})
        except (ValueError, av.FFmpegError):
            pytest.skip(f"FFmpeg was built without the encoder {codec}")
        for number, frame in enumerate(frames):
            if number == 0:
                video.width, video.height, video.pix_fmt = frame.width, frame.height, pix_fmt
                video.time_base = video.codec_context.time_base = Fraction(1, 1000) if pts else 1 / Fraction(rate)
                if setup is not None:
                    setup(video)
            frame.time_base = video.codec_context.time_base
            frame.pts = pts[number] if pts else number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def make_planes(planes: Sequence[np.ndarray], pix_fmt: str, width: int = 0) -> av.VideoFrame:
    """Makes a frame of its planes, bit for bit; `width` is needed for formats that pack channels into one plane."""
    frame = av.VideoFrame(width or planes[0].shape[1], planes[0].shape[0], pix_fmt)
    for plane, values in zip(frame.planes, planes, strict=True):
        size = plane.line_size
        rows = np.zeros((values.shape[0], size), np.uint8)
        raw = np.ascontiguousarray(values).view(np.uint8).reshape(values.shape[0], -1)
        rows[:, : raw.shape[1]] = raw
        plane.update(rows.tobytes())
    return frame


def make_rgb(picture: np.ndarray, pix_fmt: str = "bgr0") -> av.VideoFrame:
    """Makes a frame of a uint8 RGB picture."""
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format=pix_fmt)


def set_fields(frames: Iterable[av.VideoFrame], top_first: bool = True) -> list[av.VideoFrame]:
    """Marks frames as interlaced."""
    marked = []
    for frame in frames:
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
        )
        step, sink = graph.add("setfield", "tff" if top_first else "bff"), graph.add("buffersink")
        source.link_to(step)
        step.link_to(sink)
        graph.configure()
        graph.vpush(frame)
        marked.append(graph.vpull())
    return marked


def read_plainly(path: Path, filters: str = "") -> list[np.ndarray]:
    """Decodes a movie from start to end as `ffmpeg -i` does, with accurate conversion; uint8 (height, width, 3)."""
    pictures = []
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        graph = Graph()
        source = graph.add_buffer(template=video)
        steps = [graph.add(*step.split("=", 1)) for step in filters.split(",") if step]
        sink = graph.add("buffersink")
        for one, other in zip([source, *steps], [*steps, sink], strict=True):
            one.link_to(other)
        graph.configure()

        def pull() -> None:
            while True:
                try:
                    frame = graph.vpull()
                except (av.BlockingIOError, av.EOFError):
                    return
                flags = av.video.reformatter.Interpolation
                how = flags.BICUBIC | flags.ACCURATE_RND | flags.FULL_CHR_H_INT | flags.FULL_CHR_H_INP
                pictures.append(frame.reformat(format="rgb24", interpolation=how).to_ndarray())

        for frame in container.decode(video):
            graph.vpush(frame)
            pull()
        graph.vpush(None)
        pull()
    return pictures
