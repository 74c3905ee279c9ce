"""Movies: exact frames, whatever the order they are asked for in."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.contract.errors import PlateError
from fsgan_core.plates import movie as movie_module
from fsgan_core.plates.movie import Movie
from fsgan_core.plates.plate import TypedValue, Window

# A portrait phone clip: the track's matrix turns the stored picture by 90 degrees clockwise.
_UPRIGHT_MATRIX = b"".join(n.to_bytes(4, "big") for n in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))
_TURNED_MATRIX = b"".join(n.to_bytes(4, "big") for n in (0, 0x10000, 0, 0xFFFF0000, 0, 0, 0, 0, 0x40000000))


def picture(frame: int, width: int = 64, height: int = 48) -> np.ndarray:
    """BGR noise that no other frame has, with a red patch at the upper left."""
    image = np.random.default_rng(frame).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
    image[:16, :16] = (0, 0, 255)
    return image


def write_movie(path: Path, count: int, codec: str = "FFV1", fps: float = 24.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), fps, (64, 48))
    assert writer.isOpened()
    for frame in range(1, count + 1):
        writer.write(picture(frame))
    writer.release()
    return path


@pytest.fixture(autouse=True)
def _forget_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movie_module, "_indexes", {})


class TestFrames:
    def test_lossless_frames_are_the_written_ones(self, tmp_path: Path) -> None:
        with Movie(write_movie(tmp_path / "a.avi", 5)) as movie:
            assert movie.frames == (1, 2, 3, 4, 5)
            assert movie.fps == pytest.approx(24.0)
            for frame in (1, 5, 3):
                plate = movie.read(frame)
                assert plate.channels == ("R", "G", "B")
                assert plate.pixels.dtype == np.float32
                assert plate.data_window == plate.display_window == Window(0, 0, 64, 48)
                assert np.array_equal(np.rint(plate.pixels * 255), picture(frame)[..., ::-1])
                assert plate.get("R", "G", "B")[0, 0].tolist() == [1.0, 0.0, 0.0]
                assert plate.metadata["framesPerSecond"] == TypedValue("rational", (24, 1))

    @pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "FFV1")])
    def test_any_order_gives_what_reading_in_order_gives(self, name: str, codec: str, tmp_path: Path) -> None:
        path = write_movie(tmp_path / name, 130, codec)
        with Movie(path) as movie:
            in_order = [movie.read(frame).pixels for frame in movie.frames]
        with Movie(path) as movie:
            for frame in (*np.random.default_rng(0).integers(1, 131, 40).tolist(), 130, 1, 129, 128, 60, 130):
                assert np.array_equal(movie.read(frame).pixels, in_order[frame - 1]), frame

    def test_real_clips(self, footage: Path) -> None:
        for name in ("grid_bbaf2n.mp4", "asl_brother.mp4"):  # open groups of pictures; a variable rate
            with Movie(footage / "clips" / name) as movie:
                in_order = [movie.read(frame).pixels for frame in movie.frames]
            with Movie(footage / "clips" / name) as movie:
                for frame in np.random.default_rng(0).permutation(movie.frames)[:25].tolist():
                    assert np.array_equal(movie.read(frame).pixels, in_order[frame - 1]), (name, frame)

    def test_decoding_twice_is_equal(self, footage: Path) -> None:
        path = footage / "clips" / "lp_d0.mp4"
        with Movie(path) as movie:
            first = movie.index
        movie_module._indexes.clear()
        with Movie(path) as movie:
            assert movie.index == first
            assert movie.index is not first

    def test_from_many_threads(self, tmp_path: Path) -> None:
        path = write_movie(tmp_path / "a.mp4", 40, "mp4v")
        with Movie(path) as movie:
            expected = {frame: movie.read(frame).pixels for frame in movie.frames}
            wrong: list[int] = []

            def read(seed: int) -> None:
                for frame in np.random.default_rng(seed).integers(1, 41, 20).tolist():
                    if not np.array_equal(movie.read(frame).pixels, expected[frame]):
                        wrong.append(frame)

            threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert wrong == []

    def test_a_seek_that_lies_is_found_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_movie(tmp_path / "a.avi", 120)
        with Movie(path) as movie:
            monkeypatch.setattr(movie, "_seek", lambda wanted: setattr(movie, "_position", wanted - 5) or True)
            assert np.array_equal(np.rint(movie.read(110).pixels * 255), picture(110)[..., ::-1])

    def test_memory_is_bounded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(movie_module, "_CACHE_BYTES", 6 * 64 * 48 * 3)
        with Movie(write_movie(tmp_path / "a.avi", 30)) as movie:
            for frame in movie.frames:
                movie.read(frame)
            assert len(movie._cached_frames) == 6

    def test_a_phone_held_upright(self, tmp_path: Path) -> None:
        path = write_movie(tmp_path / "a.mp4", 2, "mp4v")
        data = path.read_bytes()
        assert data.count(_UPRIGHT_MATRIX) == 2  # of the movie and of its one track
        place = data.rindex(_UPRIGHT_MATRIX)
        (tmp_path / "b.mp4").write_bytes(data[:place] + _TURNED_MATRIX + data[place + len(_TURNED_MATRIX) :])
        with Movie(path) as stored, Movie(tmp_path / "b.mp4") as turned:
            assert np.array_equal(turned.read(2).pixels, np.rot90(stored.read(2).pixels, -1))
            assert turned.read(1).data_window == Window(0, 0, 48, 64)


class TestCount:
    def test_is_what_can_be_decoded(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        whole = write_movie(tmp_path / "a.avi", 30, "MJPG").read_bytes()
        (tmp_path / "b.avi").write_bytes(whole[: len(whole) // 2])
        with caplog.at_level(logging.WARNING), Movie(tmp_path / "b.avi") as movie:
            assert 5 < movie.index.count < 30
            assert movie.read(movie.index.count).pixels.shape == (48, 64, 3)
        assert "30 frames" in caplog.text

    def test_frames_outside(self, tmp_path: Path) -> None:
        with Movie(write_movie(tmp_path / "a.avi", 3)) as movie:
            for frame in (0, 4, -1):
                with pytest.raises(PlateError, match=f"has frames 1 to 3; there is no frame {frame}"):
                    movie.read(frame)

    def test_opened_again_is_not_decoded_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_movie(tmp_path / "a.avi", 3)
        with Movie(path) as first:
            digest = first.digest
        monkeypatch.setattr(Movie, "_decode_all", lambda *_: pytest.fail("decoded again"))
        with Movie(path) as second:
            assert (second.digest, second.frames) == (digest, (1, 2, 3))


class TestBadInput:
    def test_missing(self, tmp_path: Path) -> None:
        write_movie(tmp_path / "clip.avi", 1)
        with pytest.raises(PlateError, match=r"no file .*clap\.avi; did you mean .*clip\.avi"):
            Movie(tmp_path / "clap.avi")

    def test_text(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "a.mp4").write_text("words, not pictures\n" * 100)
        with pytest.raises(PlateError, match="cannot be read as a movie"):
            Movie(tmp_path / "a.mp4")
        assert capfd.readouterr().err == ""

    def test_changed_while_it_is_read(self, tmp_path: Path) -> None:
        path = write_movie(tmp_path / "a.avi", 60)
        with Movie(path) as movie:
            movie.read(1)
            other = bytearray(path.read_bytes())
            other[8000:-2000] = bytes(len(other) - 10000)
            path.write_bytes(other)
            with pytest.raises(PlateError):
                for frame in (60, 30, 10):
                    movie.read(frame)
