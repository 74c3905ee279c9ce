"""Finished frames are checked: quickly for their state, whole before they are kept and by `fsgan verify`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import OpenImageIO as oiio
import pytest

from fsgan_core.cli import main
from fsgan_core.clips.shot_file import save_shot
from fsgan_core.contract.errors import InputError, PlateError
from fsgan_core.contract.layers import META_CHECKSUM, META_SYNTHETIC
from fsgan_core.plates.exr_checksum import find_damage, find_obvious_damage
from fsgan_core.plates.exr_header import find_value
from fsgan_core.plates.exr_writer import PartRef, write_exr
from fsgan_core.plates.image_reader import read_header, read_image
from fsgan_core.render.frame_status import compute_frame_states
from fsgan_core.render.pipeline import RenderJob, render_shot
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.render.verify import verify_files, verify_shot
from tests.small_shot import Small


@pytest.fixture(scope="module")
def rendered(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames 1 to 3."""
    folder = tmp_path_factory.mktemp("rendered")
    render_shot(small.shot(folder, "1-3"))
    return folder


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)


def unset_synthetic(path: Path) -> None:
    found = find_value(path, META_SYNTHETIC)
    assert found is not None and found[1] == b"\1\0\0\0"
    with path.open("r+b") as file:
        file.seek(found[0])
        file.write(b"\0")
    assert read_header(path).metadata[META_SYNTHETIC] == 0


def write_by_another_program(path: Path) -> None:
    """Metadata, key included, come along; the pixels are other ones."""
    picture = oiio.ImageBuf(str(path))
    changed = oiio.ImageBufAlgo.mul(picture, 0.5)
    changed.specmod().extra_attribs = picture.spec().extra_attribs
    changed.write(str(path.with_suffix(".tmp.exr")))
    path.with_suffix(".tmp.exr").replace(path)


DAMAGES: list[Callable[[Path], None]] = [cut_in_half, zero_the_middle, unset_synthetic, write_by_another_program]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_frame_is_rendered_again(
    small: Small, rendered: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    shutil.copytree(rendered, tmp_path / "out")
    shot = small.shot(tmp_path / "out", "1-3")
    damage(tmp_path / "out" / "swap.0002.exr")
    assert [found.state for found in verify_shot(shot)] == ["whole", "damaged", "whole"]
    assert [found.state for found in verify_files(shot.output.path)] == ["whole", "damaged", "whole"]
    result = render_shot(shot)
    assert (result.list_frames("kept"), result.list_frames("rendered")) == ((1, 3), (2,))
    names = [f"swap.{frame:04d}.exr" for frame in (1, 2, 3)]
    assert all((tmp_path / "out" / name).read_bytes() == (rendered / name).read_bytes() for name in names)
    assert {found.state for found in verify_shot(shot)} == {"whole"}


def test_the_cheap_check_sees_what_the_header_shows(small: Small, rendered: Path, tmp_path: Path) -> None:
    """A status reads no pixels; a file that was cut short, or whose chunk table is gone, shows."""
    path = tmp_path / "swap.0001.exr"
    for spoil in (cut_in_half, lambda path: path.write_bytes(path.read_bytes() + b"x"), zero_the_table):
        shutil.copy(rendered / path.name, path)
        assert find_obvious_damage(path) == "" == find_damage(path)
        spoil(path)
        assert find_obvious_damage(path) and find_damage(path)
        [state] = compute_frame_states(RenderJob(plan_shot_job(small.shot(tmp_path, "1"))))
        assert (state.state, state.changed) == ("stale", ("damaged",))


def zero_the_table(path: Path) -> None:
    """The first entry of the table is the position where the table ends; a chunk of zip has 16 lines."""
    content = bytearray(path.read_bytes())
    size = 8 * -(-read_header(path).data_window.height // 16)
    begin = next(at for at in range(len(content)) if int.from_bytes(content[at : at + 8], "little") == at + size)
    content[begin : begin + 8] = bytes(8)
    path.write_bytes(content)


@pytest.mark.parametrize("compression", ["none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab"])
def test_every_compression(rendered: Path, tmp_path: Path, compression: str) -> None:
    plate = read_image(rendered / "swap.0001.exr")
    path = tmp_path / "a.exr"
    write_exr(path, plate, compression=compression)
    assert find_obvious_damage(path) == find_damage(path) == ""
    assert META_CHECKSUM not in read_header(path).metadata, "never copied to another file"


@pytest.mark.parametrize("folder", ["tracks", "covered", "atlases"])
def test_a_changed_byte_in_the_cache_changes_no_pixel(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, folder: str
) -> None:
    """A digit of a track, of a measured share, or a bit of an atlas: the file is made again."""
    monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "cache"))
    shot = small.shot(tmp_path / "out", "1")
    shot = replace(shot, source=(replace(shot.source[0], track=""),))
    render_shot(shot)
    before = (tmp_path / "out" / "swap.0001.exr").read_bytes()
    files = [path for path in (tmp_path / "cache" / folder).iterdir() if path.suffix in (".json", ".txt", ".exr")]
    assert files
    for path in files:
        content = bytearray(path.read_bytes())
        digits = [place for place in range(len(content)) if content[place : place + 1].isdigit()]
        content[digits[len(digits) // 2]] ^= 1
        path.write_bytes(content)
    assert render_shot(shot, force=True).list_frames("rendered") == (1,)
    assert (tmp_path / "out" / "swap.0001.exr").read_bytes() == before
    assert "not what was written" in caplog.text


def test_several_parts(rendered: Path, tmp_path: Path) -> None:
    plate = read_image(rendered / "swap.0001.exr")
    other = PartRef(rendered / "swap.0001.exr", 0, "")
    write_exr(tmp_path / "a.exr", replace(plate, metadata={**plate.metadata, "name": "ours"}), other_parts=[other])
    assert find_obvious_damage(tmp_path / "a.exr") == find_damage(tmp_path / "a.exr") == ""
    cut_in_half(tmp_path / "a.exr")
    assert find_obvious_damage(tmp_path / "a.exr") and find_damage(tmp_path / "a.exr")


class TestCommand:
    def test_whole_stale_and_missing(
        self, small: Small, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(rendered, tmp_path / "out")
        shot = small.shot(tmp_path / "out", "1-4")
        save_shot(tmp_path / "shot.toml", shot)
        assert main(["verify", str(tmp_path / "shot.toml"), "--frames", "1-3"]) == 0
        assert "3 whole" in capsys.readouterr().out
        assert main(["verify", str(tmp_path / "shot.toml")]) == 1
        captured = capsys.readouterr()
        assert "3 whole, 1 missing" in captured.out and "frame 4 is missing" in captured.err
        save_shot(tmp_path / "shot.toml", replace(shot, stages=shot.stages.with_settings({"blend.mix": "0.5"})))
        assert main(["verify", str(tmp_path / "shot.toml"), "--json"]) == 1
        data = json.loads(capsys.readouterr().out)
        assert [frame["state"] for frame in data["frames"]] == ["stale"] * 3 + ["missing"]
        assert main(["verify", str(tmp_path / "shot.toml")]) == 1
        stale, missing = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fsgan: ")]
        assert stale == f"fsgan: 3 frames are stale: 1-3 in {tmp_path / 'out'}: {data['frames'][0]['message']}"
        assert missing.startswith("fsgan: frame 4 is missing: ") and "swap.0004.exr" in missing
        assert data["exit_code"] == 1 and "blend.mix" in data["frames"][0]["message"]

    def test_a_truncated_file_says_how_much_is_there(self, rendered: Path, tmp_path: Path) -> None:
        content = (rendered / "swap.0001.exr").read_bytes()
        (tmp_path / "a.0001.exr").write_bytes(content[:-7])
        (found,) = verify_files(str(tmp_path / "a.####.exr"))
        assert f"it has {len(content) - 7} bytes; {len(content)} were written" in found.message

    def test_files_with_a_gap(self, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copytree(rendered, tmp_path / "out")
        (tmp_path / "out" / "swap.0002.exr").unlink()
        assert main(["verify", str(tmp_path / "out" / "swap.####.exr")]) == 1
        captured = capsys.readouterr()
        assert "2 whole, 1 missing" in captured.out and "swap.0002.exr" in captured.err
        assert main(["verify", str(tmp_path / "out" / "swap.0003.exr")]) == 0

    def test_a_mark_that_was_taken_out(self, rendered: Path, tmp_path: Path) -> None:
        """Written by our own writer, so the checksum is right."""
        plate = read_image(rendered / "swap.0001.exr")
        write_exr(tmp_path / "a.exr", replace(plate, metadata={**plate.metadata, META_SYNTHETIC: 0}))
        [found] = verify_files(str(tmp_path / "a.exr"))
        assert found.state == "unmarked"

    def test_wrong_requests(self, small: Small, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="is not an EXR"):
            verify_files(str(small.folder / "source.png"))
        with pytest.raises(PlateError):
            verify_files(str(tmp_path / "nothing.####.exr"))
        assert main(["verify", str(tmp_path / "nothing.toml")]) == 2


@pytest.mark.parametrize("layers", ["result", "all"])
def test_a_pixel_outside_the_face_shows_even_with_a_right_checksum(small: Small, tmp_path: Path, layers: str) -> None:
    """Somebody writes the frame again with our own writer: every byte is as written, yet it is not the target."""
    shot = small.shot(tmp_path, "1-2", layers=layers)
    render_shot(shot)
    assert [found.state for found in verify_shot(shot)] == ["whole", "whole"]
    path = tmp_path / "swap.0002.exr"
    plate = read_image(path)
    pixels = plate.pixels.copy()
    pixels[3, 5, plate.channels.index("G")] += 0.25
    write_exr(path, replace(plate, pixels=pixels))
    assert find_damage(path) == ""
    first, second = verify_shot(shot)
    assert (first.state, second.state) == ("whole", "changed")
    assert (
        "1 pixel of G outside the face is not the target's, at " in second.message
        and f"x {5 + plate.data_window.x}, y {3 + plate.data_window.y}" in second.message
    )
