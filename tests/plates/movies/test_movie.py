"""Movies: exact frames, whatever the order they are asked for in."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from fsgan_core.contract.errors import PlateError
from fsgan_core.plates.movies import movie as movie_module
from fsgan_core.plates.movies import movie_stream
from fsgan_core.plates.movies.movie import Movie
from fsgan_core.plates.plate import TypedValue, Window
from tests.plates.movies.made_movies import encode, make_rgb

# A portrait phone clip: the track's matrix turns the stored picture by 90 degrees clockwise.
_UPRIGHT_MATRIX = b"".join(n.to_bytes(4, "big") for n in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))
_TURNED_MATRIX = b"".join(n.to_bytes(4, "big") for n in (0, 0x10000, 0, 0xFFFF0000, 0, 0, 0, 0, 0x40000000))
_MIRRORED_MATRIX = b"".join(n.to_bytes(4, "big") for n in (0xFFFF0000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))


def picture(frame: int, width: int = 64, height: int = 48) -> np.ndarray:
    """RGB noise that no other frame has, with a red patch at the upper left."""
    image = np.random.default_rng(frame).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
    image[:16, :16] = (255, 0, 0)
    return image


def write_movie(path: Path, count: int, codec: str = "ffv1", pix_fmt: str = "bgr0", **more: object) -> Path:
    frames = (make_rgb(picture(frame), pix_fmt) for frame in range(1, count + 1))
    return encode(path, frames, codec, pix_fmt, rate=24, **more)


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
                assert plate.formats == ("uint8",) * 3
                assert plate.pixels.dtype == np.float32
                assert plate.data_window == plate.display_window == Window(0, 0, 64, 48)
                assert np.array_equal(np.rint(plate.pixels * 255), picture(frame))
                assert plate.get("R", "G", "B")[0, 0].tolist() == [1.0, 0.0, 0.0]
                assert plate.metadata["framesPerSecond"] == TypedValue("rational", (24, 1))

    @pytest.mark.parametrize(
        ("name", "codec", "pix_fmt", "options"),
        [
            ("a.mp4", "mpeg4", "yuv420p", {"g": "12", "bf": "2"}),
            ("a.avi", "mpeg4", "yuv420p", {"g": "12", "bf": "2"}),  # no time stamps
            ("a.mp4", "libx264", "yuv420p", {"g": "20", "bf": "3"}),
            ("b.mp4", "libx264", "yuv420p", {"g": "20", "x264-params": "open-gop=1:scenecut=0"}),
            ("c.mp4", "libx264", "yuv420p", {"g": "30", "x264-params": "intra-refresh=1"}),
            ("a.ts", "libx264", "yuv420p", {"g": "20", "bf": "3"}),
            ("a.mkv", "libx265", "yuv420p", {"x265-params": "keyint=20:log-level=none"}),
            ("a.webm", "libvpx-vp9", "yuv420p", {"g": "20", "cpu-used": "8", "deadline": "realtime"}),
            ("a.mpg", "mpeg2video", "yuv420p", {"g": "12", "bf": "2"}),
            ("a.avi", "mjpeg", "yuvj420p", {}),
            ("a.mkv", "ffv1", "bgr0", {}),
        ],
    )
    def test_any_order_gives_what_reading_in_order_gives(
        self, name: str, codec: str, pix_fmt: str, options: dict[str, str], tmp_path: Path
    ) -> None:
        path = write_movie(tmp_path / name, 130, codec, pix_fmt, options=options)
        with Movie(path) as movie:
            assert movie.frames == tuple(range(1, 131))
            in_order = [movie.read(frame).pixels for frame in movie.frames]
        for place in (0, 64, 129):  # they are the right ones, not only the same ones
            errors = [np.abs(in_order[place] * 255 - picture(number)).mean() for number in range(1, 131)]
            assert np.argmin(errors) == place
        with Movie(path) as movie:
            for frame in (*np.random.default_rng(0).integers(1, 131, 30).tolist(), 130, 1, 129, 128, 60, 130):
                assert np.array_equal(movie.read(frame).pixels, in_order[frame - 1]), frame

    def test_real_clips(self, footage: Path) -> None:
        for name in ("grid_bbaf2n.mp4", "asl_brother.mp4"):  # open groups of pictures; a variable rate
            with Movie(footage / "clips" / name) as movie:
                in_order = [movie.read(frame).pixels for frame in movie.frames]
            with Movie(footage / "clips" / name) as movie:
                for frame in np.random.default_rng(0).permutation(movie.frames)[:25].tolist():
                    assert np.array_equal(movie.read(frame).pixels, in_order[frame - 1]), (name, frame)

    def test_reading_in_order_never_seeks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_movie(tmp_path / "a.mp4", 60, "mpeg4", "yuv420p", options={"g": "12"})
        with Movie(path) as movie:
            monkeypatch.setattr(movie, "_go_to", lambda _: pytest.fail("sought"))
            for frame in (1, 2, 4, 3, 5, 7, 6, *range(8, 61)):  # as two threads ask
                movie.read(frame)

    def test_a_frame_far_away_is_found_by_its_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_movie(tmp_path / "a.mp4", 120, "mpeg4", "yuv420p", options={"g": "12"})
        decoded = []
        own = movie_stream.MovieStream._decode_packet
        monkeypatch.setattr(
            movie_stream.MovieStream, "_decode_packet", lambda self, packet: decoded.append(packet) or own(self, packet)
        )
        with Movie(path) as movie:
            decoded.clear()
            movie.read(115)
            assert len(decoded) <= 14

    def test_from_many_threads(self, tmp_path: Path) -> None:
        path = write_movie(tmp_path / "a.mp4", 40, "mpeg4", "yuv420p")
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

    def test_a_seek_that_lands_too_late_is_found_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_movie(tmp_path / "a.avi", 120)
        own = movie_stream.MovieStream.seek
        monkeypatch.setattr(movie_stream.MovieStream, "seek", lambda self, stamp: own(self, stamp + 5))
        with Movie(path) as movie:
            assert movie.index.is_seekable
            assert np.array_equal(np.rint(movie.read(110).pixels * 255), picture(110))

    def test_memory_is_bounded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(movie_module, "_CACHE_BYTES", 6 * 64 * 48 * 3)
        with Movie(write_movie(tmp_path / "a.avi", 30)) as movie:
            for frame in movie.frames:
                movie.read(frame)
            assert len(movie._cached_frames) == 6

    @pytest.mark.parametrize(
        ("matrix", "turn"), [(_TURNED_MATRIX, lambda p: np.rot90(p, -1)), (_MIRRORED_MATRIX, lambda p: p[:, ::-1])]
    )
    def test_a_phone_held_upright_or_a_mirrored_picture(self, matrix: bytes, turn: object, tmp_path: Path) -> None:
        path = write_movie(tmp_path / "a.mp4", 2, "mpeg4", "yuv420p")
        data = path.read_bytes()
        assert data.count(_UPRIGHT_MATRIX) == 2  # of the movie and of its one track
        place = data.rindex(_UPRIGHT_MATRIX)
        (tmp_path / "b.mp4").write_bytes(data[:place] + matrix + data[place + len(matrix) :])
        with Movie(path) as stored, Movie(tmp_path / "b.mp4") as turned:
            expected = turn(stored.read(2).pixels)
            assert np.array_equal(turned.read(2).pixels, expected)
            assert turned.read(1).data_window == Window(0, 0, expected.shape[1], expected.shape[0])

    def test_variable_rate(self, tmp_path: Path) -> None:
        stamps = [0, 40, 60, 200, 210, 700, 1000]
        path = encode(
            tmp_path / "a.mkv", (make_rgb(picture(frame)) for frame in range(1, 8)), "ffv1", "bgr0", pts=stamps
        )
        with Movie(path) as movie:
            assert movie.index.timestamps == tuple(stamps)
            for frame in (7, 1, 4, 2, 6, 3, 5):
                assert np.array_equal(np.rint(movie.read(frame).pixels * 255), picture(frame))

    def test_edit_list(self, tmp_path: Path) -> None:
        path = write_movie(tmp_path / "a.mov", 10, "png", "rgb24")
        data = path.read_bytes()
        place = data.index(b"elst") + 12  # one entry: duration, media time, rate
        ticks = int.from_bytes(data[place : place + 4], "big") // 10
        scale = movie_module.build_index(path).time_base.denominator // 24
        entry = (6 * ticks).to_bytes(4, "big") + (3 * scale).to_bytes(4, "big")
        (tmp_path / "b.mov").write_bytes(data[:place] + entry + data[place + 8 :])
        with Movie(tmp_path / "b.mov") as movie:  # cut to the fourth to the ninth frame
            assert movie.frames == (1, 2, 3, 4, 5, 6)
            for frame in (6, 1, 3):
                assert np.array_equal(np.rint(movie.read(frame).pixels * 255), picture(frame + 3))


class TestCount:
    def test_is_what_can_be_decoded(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        whole = write_movie(tmp_path / "a.avi", 30, "mjpeg", "yuvj420p").read_bytes()
        (tmp_path / "b.avi").write_bytes(whole[: len(whole) // 2])
        with caplog.at_level(logging.WARNING), Movie(tmp_path / "b.avi") as movie:
            assert 5 < movie.index.count < 30
            assert movie.read(movie.index.count - 1).pixels.shape == (48, 64, 3)
            with pytest.raises(PlateError, match="damaged"):  # half a picture
                movie.read(movie.index.count)
        assert "30 frames" in caplog.text and "cut short" in caplog.text

    @pytest.mark.parametrize(
        ("name", "codec", "pix_fmt", "options"),
        [
            ("a.mp4", "libx264", "yuv420p", {"movflags": "+faststart"}),
            ("a.mkv", "ffv1", "bgr0", {}),
            ("a.mov", "prores_ks", "yuv422p10le", {"movflags": "+faststart"}),
        ],
    )
    def test_a_truncated_file_says_so(
        self,
        name: str,
        codec: str,
        pix_fmt: str,
        options: dict[str, str],
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        path = write_movie(tmp_path / name, 60, codec, pix_fmt, container_options=options)
        with Movie(path) as movie:
            first = movie.read(1).pixels
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3])
        with caplog.at_level(logging.WARNING), Movie(path) as movie:
            assert 20 < movie.index.count < 60
            assert np.array_equal(movie.read(1).pixels, first)
            movie.read(movie.index.count - 1)
        assert "cut short" in caplog.text

    def test_frames_outside(self, tmp_path: Path) -> None:
        with Movie(write_movie(tmp_path / "a.avi", 3)) as movie:
            for frame in (0, 4, -1):
                with pytest.raises(PlateError, match=f"has frames 1 to 3; there is no frame {frame}"):
                    movie.read(frame)

    def test_opened_again_is_not_listed_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_movie(tmp_path / "a.avi", 3)
        with Movie(path) as first:
            digest = first.digest
        monkeypatch.setattr(movie_module, "build_index", lambda _: pytest.fail("listed again"))
        with Movie(path) as second:
            assert (second.digest, second.frames) == (digest, (1, 2, 3))


class TestBadInput:
    def test_missing(self, tmp_path: Path) -> None:
        write_movie(tmp_path / "clip.avi", 1)
        with pytest.raises(PlateError, match=r"no file .*clap\.avi; did you mean .*clip\.avi"):
            Movie(tmp_path / "clap.avi")

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "a.mov").write_bytes(b"")
        with pytest.raises(PlateError, match=r"a\.mov is empty"):
            Movie(tmp_path / "a.mov")

    def test_text(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "a.mp4").write_text("words, not pictures\n" * 100)
        with pytest.raises(PlateError, match="cannot be read as a movie"):
            Movie(tmp_path / "a.mp4")
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize(
        "text",
        ["#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"],
    )
    def test_playlists_are_refused(self, text: str, tmp_path: Path) -> None:
        other = write_movie(tmp_path / "other.ts", 3, "mpeg2video", "yuv420p")
        (tmp_path / "a.mov").write_text(text.format(other.name))
        with pytest.raises(PlateError, match="cannot be read as a movie"):
            Movie(tmp_path / "a.mov")

    def test_a_name_like_a_protocol(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_movie(tmp_path / "a.avi", 2).rename(tmp_path / "http:a.avi")
        monkeypatch.chdir(tmp_path)
        with Movie("http:a.avi") as movie:
            assert movie.index.count == 2

    def test_truncated_before_its_index(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        path = write_movie(tmp_path / "a.mp4", 30, "mpeg4", "yuv420p")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(PlateError, match="cut short"):
            Movie(path)
        assert capfd.readouterr().err == ""

    def test_sound_only(self, tmp_path: Path) -> None:
        import wave

        with wave.open(str(tmp_path / "a.avi"), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(bytes(16000))
        with pytest.raises(PlateError, match="has no video"):
            Movie(tmp_path / "a.avi")

    def test_one_damaged_frame_fails_alone(self, tmp_path: Path) -> None:
        path = write_movie(tmp_path / "a.mov", 12, "png", "rgb24")
        data = path.read_bytes()
        starts = [place for place in range(len(data)) if data.startswith(b"\x89PNG\r\n", place)]
        assert len(starts) == 12
        path.write_bytes(data[: starts[5]] + bytes(starts[6] - starts[5]) + data[starts[6] :])
        with Movie(path) as movie:
            assert movie.index.count == 12
            for frame in (12, *range(1, 13)):
                if frame == 6:
                    with pytest.raises(PlateError, match="frame 6 cannot be decoded"):
                        movie.read(frame)
                else:
                    assert np.array_equal(np.rint(movie.read(frame).pixels * 255), picture(frame))

    def test_what_depends_on_a_damaged_frame_fails_too(self, tmp_path: Path) -> None:
        # A decoder fills such a frame by what it decoded before: another picture for another order.
        options = {"g": "8", "bf": "0", "x264-params": "scenecut=0"}
        path = write_movie(tmp_path / "a.mov", 32, "libx264", "yuv420p", options=options)
        with av.open(str(path)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        data = bytearray(path.read_bytes())
        broken = packets[11]  # frame 12, in the second group of eight
        data[broken.pos + broken.size // 3 : broken.pos + broken.size] = b"\x55" * (broken.size - broken.size // 3)
        path.write_bytes(data)
        whole = [*range(1, 12), *range(17, 33)]
        with Movie(path) as movie:
            in_order = {frame: movie.read(frame).pixels for frame in whole}
        with Movie(path) as movie:
            for frame in (32, 12, 20, 16, 14, 11, 13, 1, 17):
                if frame in whole:
                    assert np.array_equal(movie.read(frame).pixels, in_order[frame])
                else:
                    with pytest.raises(PlateError, match=f"frame {frame} cannot be decoded; the movie is damaged"):
                        movie.read(frame)
            others = [movie.read(frame).pixels for frame in (18, 30)]  # found by their time stamps as before
            assert all(np.array_equal(a, in_order[b]) for a, b in zip(others, (18, 30), strict=True))
            assert movie._can_seek

    def test_changed_while_it_is_read(self, tmp_path: Path) -> None:
        path = write_movie(tmp_path / "a.avi", 60)
        with Movie(path) as movie:
            movie.read(1)
            other = bytearray(path.read_bytes())
            other[8000:-2000] = bytes(len(other) - 10000)
            path.write_bytes(other)
            with pytest.raises(PlateError, match="has changed"):
                for frame in (60, 30, 10):
                    movie.read(frame)
