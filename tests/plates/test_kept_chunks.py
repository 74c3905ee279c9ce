"""Chunks of a target's file that a result takes over: only where they are the same pixels, stored in the same way."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fsgan_core.plates.exr_checksum import find_damage
from fsgan_core.plates.exr_header import read_scanline_chunks
from fsgan_core.plates.exr_writer import LOSSLESS_COMPRESSIONS, write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.kept_chunks import UnchangedRows, find_changed_rows, read_file_state
from fsgan_core.plates.plate import Plate, Window
from tests.plates.conftest import random_plate

CHANGED = slice(70, 85)


def change_rows(plate: Plate, rows: slice = CHANGED) -> Plate:
    pixels = plate.pixels.copy()
    pixels[rows, 3:9] = 0.5
    return replace(plate, pixels=pixels, metadata={**plate.metadata, "fsgan/key": "k" * 40})


def write_both(target: Path, result: Plate, folder: Path, **options: str) -> tuple[bytes, bytes]:
    """The file of a result that takes over the target's chunks, and the one that does not."""
    state = read_file_state(target)
    assert state is not None
    unchanged = UnchangedRows(target, state, find_changed_rows(read_image(target).pixels, result.pixels))
    for name, rows in (("kept.exr", unchanged), ("whole.exr", None)):
        write_exr(folder / name, result, unchanged=rows, **options)  # type: ignore[arg-type]
        assert find_damage(folder / name) == ""
        back = read_image(folder / name)
        assert np.array_equal(back.pixels, result.pixels)
        assert (back.data_window, back.display_window) == (result.data_window, result.display_window)
    assert sorted(path.name for path in folder.iterdir() if path != target) == ["kept.exr", "whole.exr"]
    return (folder / "kept.exr").read_bytes(), (folder / "whole.exr").read_bytes()


def count_kept(target: bytes, result: bytes, path: Path) -> int:
    """How many chunks of the target's file are in the result's, byte for byte."""
    path.write_bytes(target)
    *_, places = read_scanline_chunks(path)
    path.unlink()
    ends = (*places[1:], len(target))
    return sum(target[begin:end] in result for begin, end in zip(places, ends, strict=True))


class TestSameFile:
    @pytest.mark.parametrize("compression", LOSSLESS_COMPRESSIONS)
    @pytest.mark.parametrize("rows", [CHANGED, slice(0, 1), slice(149, 150), slice(0, 0), slice(0, 150)])
    def test_chunks_of_one_writer(self, compression: str, rows: slice, tmp_path: Path) -> None:
        """Our own chunks of the same pixels are the same bytes, so the whole files are."""
        plate = random_plate(41, 150, data=(-5, 12), display=Window(0, 0, 60, 90), formats=("half",) * 4)
        write_exr(tmp_path / "target.exr", plate, compression=compression)
        kept, whole = write_both(tmp_path / "target.exr", change_rows(plate, rows), tmp_path, compression=compression)
        assert kept == whole

    def test_chunks_of_another_writer(self, make_exr: Callable[..., Path], tmp_path: Path) -> None:
        """Of 10 chunks two have changed; the others are the target's, whose level of compression is another."""
        smooth = np.cumsum(np.random.default_rng(1).random((150, 64, 3)), 1).astype(np.float16)
        target = make_exr("target.exr", (smooth, ("R", "G", "B"), {"compression": "zip:1", "y": 7}))
        kept, whole = write_both(target, change_rows(read_image(target)), tmp_path)
        assert count_kept(target.read_bytes(), kept, tmp_path / "x.exr") == 8
        assert count_kept(target.read_bytes(), whole, tmp_path / "x.exr") == 0


class TestOtherFile:
    """Files whose chunks would be wrong: the result is written as a whole."""

    @pytest.fixture
    def plate(self) -> Plate:
        return random_plate(41, 150, formats=("half",) * 4)

    @pytest.mark.parametrize("options", [{"compression": "zips"}, {"depth": "float"}, {"compression": "piz"}])
    def test_stored_in_another_way(self, plate: Plate, options: dict[str, str], tmp_path: Path) -> None:
        write_exr(tmp_path / "target.exr", plate)
        kept, whole = write_both(tmp_path / "target.exr", change_rows(plate), tmp_path, **options)
        assert kept == whole

    @pytest.mark.parametrize("attributes", [{"tile_width": 16, "tile_height": 16}, {"compression": "zips"}])
    def test_other_chunks(
        self, plate: Plate, attributes: dict[str, object], make_exr: Callable[..., Path], tmp_path: Path
    ) -> None:
        pixels = plate.pixels[..., :3].astype(np.float16)
        target = make_exr("target.exr", (pixels, ("R", "G", "B"), attributes))
        kept, whole = write_both(target, change_rows(read_image(target)), tmp_path)
        assert kept == whole

    def test_parts(self, plate: Plate, make_exr: Callable[..., Path], tmp_path: Path) -> None:
        pixels = plate.pixels[..., :3].astype(np.float16)
        parts = [(pixels * k, ("R", "G", "B"), {"oiio:subimagename": f"p{k}"}) for k in (1, 2)]
        target = make_exr("target.exr", *parts)
        kept, whole = write_both(target, change_rows(read_image(target)), tmp_path)
        assert kept == whole

    def test_replaced_since_it_was_read(self, plate: Plate, tmp_path: Path) -> None:
        target = tmp_path / "target.exr"
        write_exr(target, plate)
        state, result = read_file_state(target), change_rows(plate)
        assert state is not None
        write_exr(target, replace(plate, pixels=plate.pixels[::-1].copy()))
        os.utime(target, ns=(state[1] + 10**9, state[1] + 10**9))
        write_exr(tmp_path / "a.exr", result, unchanged=UnchangedRows(target, state, CHANGED))
        assert np.array_equal(read_image(tmp_path / "a.exr").pixels, result.pixels)

    @pytest.mark.parametrize("missing", [1, 200, 5000])
    def test_cut_short(self, plate: Plate, missing: int, tmp_path: Path) -> None:
        target, result = tmp_path / "target.exr", change_rows(plate)
        write_exr(target, plate)
        target.write_bytes(target.read_bytes()[:-missing])
        state = read_file_state(target)
        assert state is not None
        write_exr(tmp_path / "a.exr", result, unchanged=UnchangedRows(target, state, CHANGED))
        assert np.array_equal(read_image(tmp_path / "a.exr").pixels, result.pixels)
        assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def test_a_changed_bit_of_nan_is_a_change() -> None:
    before = np.full((64, 4, 3), np.nan, np.float32)
    after = before.copy()
    assert find_changed_rows(before, after) == slice(64, 64)
    after.view(np.uint32)[40, 2, 1] ^= 1
    assert find_changed_rows(before, after) == slice(32, 48)
