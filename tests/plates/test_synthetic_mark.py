"""The mark of pictures and movies: other programs read it, pixels stay, broken files are refused."""

from __future__ import annotations

import io
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from fsgan_core.contract.errors import PlateError
from fsgan_core.plates.movies.movie_writer import write_movie
from fsgan_core.plates.synthetic_mark import (
    DIGITAL_SOURCE_TYPE,
    add_mark,
    make_xmp,
    read_xmp,
    read_xmp_fields,
)
from tests.endless import no_endless_work

PICTURE = np.random.default_rng(3).integers(0, 255, (30, 40, 3), np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_another_program_reads_the_mark(tmp_path: Path, suffix: str) -> None:
    encoded = cv2.imencode(suffix, PICTURE)[1].tobytes()
    marked = add_mark(encoded, make_xmp("a <b> & c", consent="R-17"))
    image = Image.open(io.BytesIO(marked))
    packet = image.info["xmp"] if suffix == ".jpg" else image.text["XML:com.adobe.xmp"].encode()
    assert DIGITAL_SOURCE_TYPE.encode() in packet
    before = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    after = cv2.imdecode(np.frombuffer(marked, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(before, after)
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(marked)
    fields = read_xmp_fields(read_xmp(path))
    assert fields["digital source type"] == DIGITAL_SOURCE_TYPE
    assert (fields["description"], fields["release"]) == ("a <b> & c", "R-17")
    path.write_bytes(encoded)
    assert read_xmp(path) == b""


def test_a_movie_carries_the_mark_and_plays(tmp_path: Path) -> None:
    pictures = [np.full((32, 48, 3), value, np.uint8) for value in (30, 90, 200)]
    marked = write_movie(pictures, tmp_path / "marked.mp4", 24, is_synthetic=True)
    plain = write_movie(pictures, tmp_path / "plain.mp4", 24)
    assert read_xmp_fields(read_xmp(marked))["digital source type"] == DIGITAL_SOURCE_TYPE
    assert read_xmp(plain) == b""
    with av.open(str(marked)) as container:
        assert len(list(container.decode(video=0))) == 3
        assert "synthesised" in container.metadata["comment"]


def test_what_cannot_be_marked_is_refused() -> None:
    with pytest.raises(PlateError, match="only PNG and JPEG"):
        add_mark(b"GIF89a")
    with pytest.raises(PlateError, match="64 KiB"):
        add_mark(cv2.imencode(".jpg", PICTURE)[1].tobytes(), b"x" * 70_000)


@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\0\4ftypisom" + b"\0" * 20,
        b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\1mdat\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffiTXt",
        b"\x89PNG\r\n\x1a\n\0\0\0\x14iTXtXML:com.adobe.xmp\0\0\0",
        b"\xff\xd8\xff\xe1\0\0",
    ],
)
def test_a_broken_file_gives_no_traceback(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    try:
        assert read_xmp(path) == b""
    except PlateError as error:
        assert "damaged" in str(error)


@pytest.mark.parametrize(
    ("start", "block"),
    [
        (b"\x89PNG\r\n\x1a\n", b"\0\0\0\0abcd\0\0\0\0"),
        (b"\xff\xd8", b"\xff\xe2\0\2"),
        (b"\0\0\0\x08ftyp", b"\0\0\0\x08free"),
    ],
)
def test_a_file_of_empty_blocks_ends_soon(tmp_path: Path, start: bytes, block: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(start + block * 3_000_000)
    with no_endless_work():
        assert read_xmp(path) == b""
