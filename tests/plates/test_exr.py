"""EXR in and out: values, types, windows, channels, layers."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsgan_core.contract.errors import OutputError, PlateError
from fsgan_core.contract.params import COMPRESSIONS
from fsgan_core.contract.shot import Clip
from fsgan_core.plates.exr_writer import LOSSLESS_COMPRESSIONS, round_as_written, to_half, write_exr
from fsgan_core.plates.image_reader import list_other_parts, list_views, read_header, read_image
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.raw_exr import write_raw_exr
from fsgan_core.plates.sequence import open_clip
from tests.plates.conftest import random_plate

MakeExr = Callable[..., Path]


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def half_bits(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float16).view(np.uint16)


class TestRoundTrip:
    def test_every_half_keeps_its_bits(self, tmp_path: Path) -> None:
        halves = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(256, 256, 1)
        window = Window(0, 0, 256, 256)
        write_exr(tmp_path / "a.exr", Plate(halves.astype(np.float32), ("R",), window, window))
        assert np.array_equal(half_bits(read_image(tmp_path / "a.exr").pixels), halves.view(np.uint16))

    def test_every_half_keeps_its_bits_beside_float_and_uint(self, tmp_path: Path) -> None:
        halves = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(256, 256)
        random = np.random.default_rng(3)
        floats = random.integers(0, 2**32, (256, 256), np.uint32).view(np.float32)
        ids = random.integers(0, 2**32, (256, 256), np.uint32)
        ids[0, :4] = (0, 2**24 + 1, 2**32 - 2, 2**32 - 1)
        window = Window(0, 0, 256, 256)
        for with_ids in (False, True):
            channels, formats = ("R", "Z"), ("half", "float")
            layers = [halves.astype(np.float32), floats]
            if with_ids:
                channels, formats = (*channels, "id"), (*formats, "uint")
                layers.append(ids.astype(np.float32))
            plate = Plate(
                np.stack(layers, -1),
                channels,
                window,
                window,
                formats=formats,
                integers={"id": ids} if with_ids else {},
            )
            write_exr(tmp_path / "a.exr", plate)
            back = read_image(tmp_path / "a.exr")
            assert (back.channels, back.formats) == (channels, formats)
            assert np.array_equal(half_bits(back.get_matte("R")), halves.view(np.uint16))
            assert np.array_equal(back.get_matte("Z").view(np.uint32), floats.view(np.uint32))
            if with_ids:
                assert np.array_equal(back.integers["id"], ids)

    def test_ids_alone(self, make_exr: MakeExr, tmp_path: Path) -> None:
        ids = np.array([[[0, 2**32 - 1], [2**24 + 1, 7]]], np.uint32)
        path = make_exr("ids.exr", (ids, ("crypto.id", "object"), {}))
        plate = read_image(path)
        write_exr(tmp_path / "b.exr", plate)
        back = read_image(tmp_path / "b.exr")
        assert back.formats == ("uint", "uint")
        assert all(np.array_equal(back.integers[name], plate.integers[name]) for name in plate.channels)
        assert plate.integers[plate.channels[0]].max() == 2**32 - 1

    def test_changed_ids_win_over_the_kept_ones(self, tmp_path: Path) -> None:
        window = Window(0, 0, 2, 1)
        ids = np.array([[2**24 + 1, 2**24 + 3]], np.uint32)
        pixels = ids.astype(np.float32)[..., None].copy()
        pixels[0, 1] = 5.0
        write_exr(tmp_path / "a.exr", Plate(pixels, ("id",), window, window, formats=("uint",), integers={"id": ids}))
        assert read_image(tmp_path / "a.exr").integers["id"].tolist() == [[2**24 + 1, 5]]

    @pytest.mark.parametrize("compression", COMPRESSIONS)
    def test_compressions(self, compression: str, tmp_path: Path) -> None:
        ramp = np.linspace(0, 1, 64 * 48 * 3, dtype=np.float32).reshape(48, 64, 3).astype(np.float16)
        window = Window(0, 0, 64, 48)
        plate = Plate(ramp.astype(np.float32), ("R", "G", "B"), window, window)
        write_exr(tmp_path / "a.exr", plate, compression=compression)
        back = read_image(tmp_path / "a.exr").pixels
        assert oiio.ImageInput.open(str(tmp_path / "a.exr")).spec().get_string_attribute("compression") == compression
        if compression in (*LOSSLESS_COMPRESSIONS, "pxr24"):  # pxr24 only shortens floats
            assert np.array_equal(back, plate.pixels)
        else:
            assert np.abs(back - plate.pixels).max() < 0.02

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        x=st.integers(-5000, 5000),
        y=st.integers(-5000, 5000),
        width=st.integers(1, 40),
        height=st.integers(1, 40),
        display=st.tuples(st.integers(-99, 99), st.integers(-99, 99), st.integers(1, 99), st.integers(1, 99)),
        aspect=st.sampled_from([1.0, 2.0, 0.5, 1.4587]),
        compression=st.sampled_from(LOSSLESS_COMPRESSIONS),
        seed=st.integers(0, 9),
    )
    def test_any_windows(
        self,
        tmp_path: Path,
        x: int,
        y: int,
        width: int,
        height: int,
        display: tuple[int, int, int, int],
        aspect: float,
        compression: str,
        seed: int,
    ) -> None:
        plate = random_plate(width, height, data=(x, y), display=Window(*display), seed=seed)
        plate = Plate(plate.pixels, plate.channels, plate.data_window, plate.display_window, aspect)
        write_exr(tmp_path / "a.exr", plate, compression=compression)
        back = read_image(tmp_path / "a.exr")
        assert (back.data_window, back.display_window) == (plate.data_window, plate.display_window)
        assert back.pixel_aspect == np.float32(aspect)
        assert np.array_equal(back.pixels, plate.pixels)
        header = read_header(tmp_path / "a.exr")
        assert (header.data_window, header.display_window) == (plate.data_window, plate.display_window)

    def test_pixels_lie_where_other_programs_put_them(self, make_exr: MakeExr) -> None:
        pixels = np.zeros((4, 6, 3), np.float16)
        pixels[1, 2] = (0.25, 0.5, 4.0)
        path = make_exr("a.exr", (pixels, ("R", "G", "B"), {"x": -3, "y": 10, "full_width": 20, "full_height": 9}))
        plate = read_image(path)
        assert plate.data_window == Window(-3, 10, 6, 4)
        assert plate.display_window == Window(0, 0, 20, 9)
        assert plate.get("B", "G", "R")[1, 2].tolist() == [4.0, 0.5, 0.25]
        assert plate.get_matte("B").sum() == 4.0

    def test_layers_and_channel_order(self, tmp_path: Path) -> None:
        names = ("B", "A", "G", "R", "matte.face", "st.u", "st.v", "diffuse.R", "diffuse.G", "light.key.B")
        plate = random_plate(channels=names)
        write_exr(tmp_path / "a.exr", plate)
        back = read_image(tmp_path / "a.exr")
        assert back.channels[:4] == ("R", "G", "B", "A")
        assert set(back.channels) == set(names)
        for name in names:
            assert np.array_equal(back.get_matte(name), plate.get_matte(name))

    def test_long_channel_names(self, tmp_path: Path) -> None:
        names = ("R", "a_very_long_layer_name_of_a_light_group.R", "id")
        plate = random_plate(channels=names, formats=("half", "half", "uint"))
        plate = Plate(
            np.abs(np.rint(plate.pixels)), names, plate.data_window, plate.display_window, formats=plate.formats
        )
        write_exr(tmp_path / "a.exr", plate)
        back = read_image(tmp_path / "a.exr")
        assert all(np.array_equal(back.get_matte(name), plate.get_matte(name)) for name in names)

    def test_tiles_are_read(self, make_exr: MakeExr, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).random((37, 50, 3)).astype(np.float16)
        path = make_exr("t.exr", (pixels, ("R", "G", "B"), {"tile_width": 16, "tile_height": 16, "x": -4}))
        plate = read_image(path)
        assert np.array_equal(plate.pixels.astype(np.float16), pixels)
        assert plate.data_window == Window(-4, 0, 50, 37)
        write_exr(tmp_path / "s.exr", plate)
        assert np.array_equal(read_image(tmp_path / "s.exr").pixels, plate.pixels)

    def test_two_writes_give_the_same_bytes(self, tmp_path: Path) -> None:
        plate = random_plate(64, 48, metadata={"fsgan/key": "k"})
        write_exr(tmp_path / "a.exr", plate)
        write_exr(tmp_path / "b.exr", plate)
        assert (tmp_path / "a.exr").read_bytes() == (tmp_path / "b.exr").read_bytes()
        assert b"capDate" not in (tmp_path / "a.exr").read_bytes()

    def test_one_pixel(self, tmp_path: Path) -> None:
        plate = random_plate(1, 1)
        write_exr(tmp_path / "a.exr", plate)
        assert np.array_equal(read_image(tmp_path / "a.exr").pixels, plate.pixels)


class TestDepth:
    @pytest.mark.parametrize(
        ("depth", "given_formats", "stored"),
        [
            ("auto", (), ("half", "float", "half", "float")),
            ("auto", ("float", "half", "float", "half"), ("float", "half", "float", "half")),
            ("auto", ("uint8", "uint8", "uint16", "float"), ("half", "float", "half", "float")),
            ("half", ("float", "float", "float", "uint"), ("half", "float", "half", "uint")),
            ("float", ("half", "half", "uint", "half"), ("float", "float", "uint", "float")),
        ],
    )
    def test_types(self, depth: str, given_formats: tuple[str, ...], stored: tuple[str, ...], tmp_path: Path) -> None:
        plate = random_plate(channels=("R", "Z", "matte.face", "st.u"), formats=given_formats)
        write_exr(tmp_path / "a.exr", plate, depth=depth)
        back = read_image(tmp_path / "a.exr")
        assert tuple(back.formats[back.channels.index(name)] for name in plate.channels) == stored

    def test_out_of_half(self) -> None:
        pixels = np.array([1e9, -1e9, np.inf, -np.inf, np.nan, 65504.0, 1e-9], np.float32)
        half = to_half(pixels)
        assert half[:4].tolist() == [65504.0, -65504.0, np.inf, -np.inf]
        assert np.isnan(half[4])
        assert half[5:].tolist() == [65504.0, 0.0]

    def test_a_file_has_the_nearest_half(self, tmp_path: Path) -> None:
        """Also of what lies in the middle of two halves, or just beside it."""
        halves = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float64)
        middles = ((halves[1:] + halves[:-1]) / 2).astype(np.float32)
        values = np.concatenate([middles, np.nextafter(middles, np.float32(0)), np.nextafter(middles, np.float32(1e6))])
        pixels = np.concatenate([values, -values]).reshape(-1, 6, 1)
        window = Window(0, 0, *pixels.shape[1::-1])
        plate = Plate(pixels, ("Y",), window, window)
        write_exr(tmp_path / "a.exr", plate, depth="half")
        back = read_image(tmp_path / "a.exr").pixels
        assert np.array_equal(half_bits(back), half_bits(pixels))
        assert round_as_written(plate, "half").pixels.tobytes() == back.tobytes()

    def test_float_keeps_what_half_would_not(self, tmp_path: Path) -> None:
        window = Window(0, 0, 1, 1)
        write_exr(
            tmp_path / "a.exr", Plate(np.full((1, 1, 1), 1 / 3, np.float32), ("R",), window, window), depth="float"
        )
        assert read_image(tmp_path / "a.exr").pixels[0, 0, 0] == np.float32(1 / 3)


class TestParts:
    @pytest.fixture
    def stereo(self, make_exr: MakeExr) -> Path:
        random = np.random.default_rng(1)
        full = {"full_width": 16, "full_height": 12}
        return make_exr(
            "mp.exr",
            (
                random.random((4, 5, 1)).astype(np.float32),
                ("Z",),
                {"oiio:subimagename": "depth", "view": "left", **full},
            ),
            (
                random.random((6, 8, 4)).astype(np.float16),
                ("R", "G", "B", "A"),
                {"oiio:subimagename": "rgba.left", "view": "left", "x": -2, "compression": "piz", **full},
            ),
            (
                random.random((64, 64, 3)).astype(np.float16),
                ("R", "G", "B"),
                {"oiio:subimagename": "rgba.right", "view": "right", "compression": "dwaa", **full},
            ),
            (
                random.integers(0, 2**32, (6, 8, 1), np.uint32),
                ("id",),
                {"oiio:subimagename": "ids", "view": "left", **full},
            ),
        )

    @pytest.mark.parametrize(
        ("part", "name"),
        [("", "rgba.left"), ("depth", "depth"), ("right", "rgba.right"), ("left", "rgba.left"), ("3", "ids")],
    )
    def test_choice(self, stereo: Path, part: str, name: str) -> None:
        assert read_image(stereo, part).metadata["name"] == name
        assert read_header(stereo, part).metadata["name"] == name
        assert read_header(stereo).parts == ("depth", "rgba.left", "rgba.right", "ids")

    def test_unknown(self, stereo: Path) -> None:
        with pytest.raises(PlateError, match=r"no part or view 'middle'.*depth, rgba.left.*views: left, right"):
            read_image(stereo, "middle")

    def test_other_parts_are_kept_bit_for_bit(self, stereo: Path, tmp_path: Path) -> None:
        plate = read_image(stereo).with_metadata(**{"fsgan/key": "abc"})
        write_exr(tmp_path / "out.exr", plate, other_parts=list_other_parts(stereo))
        header = read_header(tmp_path / "out.exr")
        assert header.parts == ("depth", "rgba.left", "rgba.right", "ids")
        assert header.metadata["fsgan/key"] == "abc"
        for part in header.parts:
            old, new = read_image(stereo, part), read_image(tmp_path / "out.exr", part)
            assert np.array_equal(old.pixels, new.pixels), part
            assert (old.channels, old.formats, old.data_window) == (new.channels, new.formats, new.data_window)
            assert all(np.array_equal(exact, new.integers[name]) for name, exact in old.integers.items())

    def test_a_view_that_a_clip_wants_where_there_is_one(self, stereo: Path) -> None:
        assert list_views(stereo) == ("left", "right")
        assert open_clip(Clip(str(stereo), view="right")).read(1).metadata["name"] == "rgba.right"

    def test_writing_over_the_file_with_the_other_parts(self, stereo: Path) -> None:
        before = stereo.read_bytes()
        with pytest.raises(PlateError, match="other parts"):
            write_exr(stereo, read_image(stereo), other_parts=list_other_parts(stereo))
        assert stereo.read_bytes() == before

    def test_views_in_one_part(self, make_exr: MakeExr, tmp_path: Path) -> None:
        names = ("R", "G", "B", "right.R", "right.G", "right.B", "spec.R", "spec.right.R")
        pixels = np.random.default_rng(0).random((3, 4, 8)).astype(np.float16)
        path = make_exr("views.exr", (pixels, names, {}))
        plate = read_image(path).with_metadata(multiView=["left", "right"])
        write_exr(tmp_path / "two.exr", plate)
        left, right = read_image(tmp_path / "two.exr", "left"), read_image(tmp_path / "two.exr", "right")
        assert np.array_equal(left.get("R", "G", "B"), plate.get("R", "G", "B"))
        assert np.array_equal(
            right.get("R", "G", "B", "spec.R"), plate.get("right.R", "right.G", "right.B", "spec.right.R")
        )
        write_exr(tmp_path / "again.exr", right)
        again = read_image(tmp_path / "again.exr")
        assert again.channels == plate.channels
        assert np.array_equal(again.pixels, plate.pixels)
        assert "fsgan/view" not in again.metadata
        assert (list_views(path), list_views(tmp_path / "two.exr")) == ((), ("left", "right"))
        for view, wanted in (("right", right), ("left", left), ("middle", left)):
            opened = open_clip(Clip(str(tmp_path / "two.exr"), view=view))
            assert np.array_equal(opened.read(opened.frames[0]).get("R"), wanted.get("R"))
        assert open_clip(Clip(str(path), view="right")).clip.part == ""  # no views: the file as it is


class TestPictures:
    def save(self, path: Path, pixels: np.ndarray, **attributes: object) -> Path:
        spec = oiio.ImageSpec(
            pixels.shape[1],
            pixels.shape[0],
            pixels.shape[2],
            {"float32": "float"}.get(str(pixels.dtype), str(pixels.dtype)),
        )
        for name, value in attributes.items():
            spec.attribute(name.replace("__", ":"), value)
        output = oiio.ImageOutput.create(str(path))
        assert output.open(str(path), spec) and output.write_image(pixels)
        output.close()
        return path

    @pytest.mark.parametrize(
        ("suffix", "kind", "full"),
        [(".png", np.uint8, 255), (".png", np.uint16, 65535), (".tif", np.uint16, 65535), (".tga", np.uint8, 255)],
    )
    def test_integers_are_scaled(self, suffix: str, kind: type, full: int, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, full + 1, (5, 6, 3)).astype(kind)
        plate = read_image(self.save(tmp_path / f"a{suffix}", pixels))
        assert plate.channels == ("R", "G", "B")
        assert np.array_equal(np.rint(plate.pixels * full), pixels)
        assert plate.pixels.dtype == np.float32

    def test_float_tiff_is_left_alone(self, tmp_path: Path) -> None:
        pixels = np.array([[[-0.5, 2.0, 1e6]]], np.float32)
        assert np.array_equal(read_image(self.save(tmp_path / "a.tif", pixels)).pixels, pixels)

    def test_alpha_is_not_multiplied_in(self, tmp_path: Path) -> None:
        pixels = np.array([[[200, 100, 50, 128]]], np.uint8)
        path = self.save(tmp_path / "a.png", pixels, oiio__UnassociatedAlpha=1)
        assert np.array_equal(np.rint(read_image(path).pixels * 255), pixels)

    def test_grey_is_three_equal_channels(self, tmp_path: Path) -> None:
        pixels = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
        plate = read_image(self.save(tmp_path / "a.png", pixels))
        assert plate.channels == ("R", "G", "B")
        assert np.array_equal(np.rint(plate.get("G") * 255), pixels)

    def test_grey_exr_stays_as_it_is(self, tmp_path: Path) -> None:
        write_exr(tmp_path / "a.exr", random_plate(channels=("Y",)))
        plate = read_image(tmp_path / "a.exr")
        with pytest.raises(PlateError, match="no channel R, G, B; it has Y"):
            plate.get("R", "G", "B")

    @pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.webp"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation(self, orientation: int, name: str, tmp_path: Path) -> None:
        upright = np.zeros((32, 48, 3), np.uint8)
        upright[:16, :16], upright[:16, 32:], upright[16:, :16] = 60, 120, 240
        # TIFF's table: what is the 0th row and the 0th column of the stored picture.
        stored = {
            1: upright,
            2: upright[:, ::-1],
            3: upright[::-1, ::-1],
            4: upright[::-1],
            5: upright.transpose(1, 0, 2),
            6: np.rot90(upright, 1),
            7: upright[::-1, ::-1].transpose(1, 0, 2),
            8: np.rot90(upright, -1),
        }[orientation]
        path = tmp_path / name
        if name == "a.webp":  # OpenImageIO does not write it
            pillow = pytest.importorskip("PIL.Image")
            exif = pillow.Exif()
            exif[274] = orientation
            pillow.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, lossless=True)
        else:
            self.save(path, np.ascontiguousarray(stored), Orientation=orientation)
        plate, header = read_image(path), read_header(path)
        assert np.abs(plate.pixels * 255 - upright).max() < (1e-3 if name in ("a.tif", "a.png") else 6)
        assert plate.data_window == plate.display_window == Window(0, 0, 48, 32)
        assert header.data_window == header.display_window == Window(0, 0, 48, 32)
        assert "Orientation" not in plate.metadata and "Orientation" not in header.metadata

    def test_photo_equals_another_decoder(self, grace_hopper: np.ndarray) -> None:
        cbook = pytest.importorskip("matplotlib.cbook")
        plate = read_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
        difference = np.abs(plate.pixels * 255 - grace_hopper)
        assert plate.pixels.shape == (600, 512, 3)
        assert difference.mean() < 0.5


class TestBadInput:
    @pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
    @pytest.mark.parametrize("name", ["a.heic", "a.avif", "a.jpg"])
    def test_heic_and_avif(self, name: str, brand: bytes, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(200))
        with pytest.raises(PlateError, match=r"is HEIC or AVIF.*convert it to PNG or TIFF"):
            read_image(tmp_path / name)

    def test_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "plate.1001.exr").touch()
        with pytest.raises(PlateError, match=r"plate\.1001\.exr is empty \(0 bytes\)"):
            read_image(tmp_path / "plate.1001.exr")

    def test_missing_file_names_near_ones(self, tmp_path: Path) -> None:
        write_exr(tmp_path / "plate.1001.exr", random_plate())
        with pytest.raises(PlateError, match=r"there is no file .*plate.1010.exr; did you mean .*plate.1001.exr\?"):
            read_image(tmp_path / "plate.1010.exr")

    def test_missing_folder_names_near_ones(self, tmp_path: Path) -> None:
        (tmp_path / "plates").mkdir()
        with pytest.raises(PlateError, match=r"did you mean .*plates\?"):
            read_image(tmp_path / "plate" / "a.exr")
        with pytest.raises(PlateError, match="has nothing like it"):
            read_image(tmp_path / "plates" / "a.exr")
        with pytest.raises(PlateError, match="has no folder quite_other"):
            read_image(tmp_path / "quite_other" / "a.exr")

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(PlateError, match="is a folder"):
            read_image(tmp_path)

    def test_no_permission(self, tmp_path: Path) -> None:
        write_exr(tmp_path / "a.exr", random_plate())
        (tmp_path / "a.exr").chmod(0)
        if os.access(tmp_path / "a.exr", os.R_OK):
            pytest.skip("this user may read anything")
        with pytest.raises(PlateError, match="no permission"):
            read_image(tmp_path / "a.exr")

    @pytest.mark.parametrize(
        "content",
        [
            b"these are words, not pixels\n" * 50,
            b"\x76\x2f\x31\x01",
            b"\x76\x2f\x31\x01\x02\0\0\0" + b"\xff" * 200,
        ],
    )
    def test_no_picture(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "a.exr").write_bytes(content)
        for read in (read_image, read_header, list_other_parts):
            with pytest.raises(PlateError, match=r"a\.exr cannot be read as a picture"):
                read(tmp_path / "a.exr")

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
    @pytest.mark.parametrize("compression", ["none", "zip", "piz"])
    def test_cut_short(self, share: float, compression: str, tmp_path: Path) -> None:
        write_exr(tmp_path / "a.exr", random_plate(120, 90), compression=compression)
        whole = (tmp_path / "a.exr").read_bytes()
        (tmp_path / "a.exr").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(PlateError, match=r"a\.exr"):
            read_image(tmp_path / "a.exr")

    def test_every_cut_of_a_small_file(self, tmp_path: Path) -> None:
        write_exr(tmp_path / "a.exr", random_plate(3, 2, metadata={"text": "words"}))
        whole = (tmp_path / "a.exr").read_bytes()
        for length in range(0, len(whole), 7):
            (tmp_path / "b.exr").write_bytes(whole[:length])
            with pytest.raises(PlateError):
                read_image(tmp_path / "b.exr")

    def test_scrambled_pixels(self, tmp_path: Path) -> None:
        write_exr(tmp_path / "a.exr", random_plate(120, 90))
        data = bytearray((tmp_path / "a.exr").read_bytes())
        data[-2000:-1000] = bytes(1000)
        (tmp_path / "a.exr").write_bytes(data)
        with pytest.raises(PlateError, match="damaged or cut short"):
            read_image(tmp_path / "a.exr")

    def test_windows_that_no_machine_can_hold(self, tmp_path: Path) -> None:
        write_exr(tmp_path / "a.exr", random_plate())
        data = (tmp_path / "a.exr").read_bytes()
        place = data.index(b"dataWindow\0box2i\0") + len(b"dataWindow\0box2i\0") + 4
        for window in ((0, 0, 2**30, 2**30), (0, 0, 200_000, 200_000), (5, 5, 1, 1), (-(2**31), 0, 2**31 - 1, 0)):
            broken = data[:place] + struct.pack("<4i", *window) + data[place + 16 :]
            (tmp_path / "b.exr").write_bytes(broken)
            with pytest.raises(PlateError, match=r"b\.exr"):
                read_image(tmp_path / "b.exr")

    def test_subsampled_channels(self, tmp_path: Path) -> None:
        write_raw_exr(tmp_path / "a.exr", {"BY": np.zeros((4, 4), np.float16)}, Window(0, 0, 4, 4), Window(0, 0, 4, 4))
        data = (tmp_path / "a.exr").read_bytes()
        whole, halved = struct.pack("<iiii", 1, 0, 1, 1), struct.pack("<iiii", 1, 0, 2, 2)
        (tmp_path / "a.exr").write_bytes(data.replace(whole, halved))
        with pytest.raises(PlateError, match="Subsampled channels are not supported"):
            read_image(tmp_path / "a.exr")

    def test_no_rgb(self, make_exr: MakeExr) -> None:
        path = make_exr("z.exr", (np.ones((2, 2, 1), np.float32), ("Z",), {}))
        with pytest.raises(PlateError, match="no channel R, G, B; it has Z"):
            read_image(path).get("R", "G", "B")

    def test_deep(self, tmp_path: Path) -> None:
        spec = oiio.ImageSpec(2, 2, 1, "float")
        spec.deep = True
        deep = oiio.DeepData()
        deep.init(4, 1, (oiio.TypeFloat,), ("R",))
        output = oiio.ImageOutput.create("openexr")
        assert output.open(str(tmp_path / "d.exr"), spec) and output.write_deep_image(deep)
        output.close()
        with pytest.raises(PlateError, match="deep pixels; flatten"):
            read_image(tmp_path / "d.exr")


class TestBadOutput:
    def test_a_new_folder_is_made(self, tmp_path: Path) -> None:
        write_exr(tmp_path / "new" / "folder" / "a.exr", random_plate())
        assert names_in(tmp_path / "new" / "folder") == ["a.exr"]

    def test_folder_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(OutputError, match="is a file, not a folder"):
            write_exr(tmp_path / "file" / "a.exr", random_plate())

    def test_name_is_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "a.exr").mkdir()
        with pytest.raises(OutputError, match="it is a folder"):
            write_exr(tmp_path / "a.exr", random_plate())

    def test_no_permission(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o555)
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write anywhere")
        try:
            with pytest.raises(OutputError, match="no permission"):
                write_exr(tmp_path / "a.exr", random_plate())
        finally:
            tmp_path.chmod(0o755)

    @pytest.mark.parametrize("formats", [(), ("half", "half", "half", "uint")])
    @pytest.mark.parametrize("limit", [0, 100, 5_000, 40_000])
    def test_full_disk_leaves_nothing(self, limit: int, formats: tuple[str, ...], tmp_path: Path) -> None:
        resource = pytest.importorskip("resource")
        write_exr(tmp_path / "a.exr", random_plate(seed=1))
        before = (tmp_path / "a.exr").read_bytes()
        plate = random_plate(200, 150, formats=formats)
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
        try:
            with pytest.raises(OutputError, match=r"cannot write .*a\.exr"):
                write_exr(tmp_path / "a.exr", plate)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
        assert names_in(tmp_path) == ["a.exr"]
        assert (tmp_path / "a.exr").read_bytes() == before

    def test_refusals(self, tmp_path: Path) -> None:
        plate = random_plate()
        with pytest.raises(PlateError, match="compression 'jpeg' is not known"):
            write_exr(tmp_path / "a.exr", plate, compression="jpeg")
        with pytest.raises(PlateError, match="depth '8' is not known"):
            write_exr(tmp_path / "a.exr", plate, depth="8")
        with pytest.raises(PlateError, match="twice"):
            write_exr(tmp_path / "a.exr", random_plate(channels=("R", "R")))
        with pytest.raises(PlateError, match="no pixels"):
            write_exr(tmp_path / "a.exr", plate.crop(Window(0, 0, 0, 3)))
        assert names_in(tmp_path) == []
