"""What somebody may do to finished frames, and what `fsgan verify` says about it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest

from fsgan_core.cli import main
from fsgan_core.clips.shot_file import save_shot
from fsgan_core.contract.layers import (
    MATTE_SOFT,
    META_CHECKSUM,
    META_CONSENT,
    META_ENGINE,
    META_FLAGS,
    META_PREFIX,
    META_SOURCE,
    META_SYNTHETIC,
)
from fsgan_core.contract.shot import Shot
from fsgan_core.plates.exr_checksum import find_damage, write_checksum
from fsgan_core.plates.exr_header import find_value
from fsgan_core.plates.exr_writer import PartRef, write_exr
from fsgan_core.plates.image_reader import read_image
from fsgan_core.plates.plate import Plate, compute_slices
from fsgan_core.render.pipeline import RenderJob, render_shot
from fsgan_core.render.plan import plan_shot_job
from fsgan_core.render.verify import VerifiedFrame, verify_files, verify_shot
from tests.small_shot import Small

OUTSIDE = (3, 5)  # row and column of the data window

Rendered = Callable[[Path, str], Shot]


@pytest.fixture(scope="module")
def rendered(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Gives a copy of frames 1 to 3, each set of layers rendered once."""
    folders: dict[str, Path] = {}

    def copy(folder: Path, layers: str = "result") -> Shot:
        if layers not in folders:
            folders[layers] = tmp_path_factory.mktemp(layers)
            render_shot(small.shot(folders[layers], "1-3", layers=layers))
        shutil.copytree(folders[layers], folder / "out")
        return small.shot(folder / "out", "1-3", layers=layers)

    return copy


def second(shot: Shot) -> Path:
    return Path(shot.output.path.replace("####", "0002"))


def judge(shot: Shot) -> tuple[VerifiedFrame, VerifiedFrame]:
    """The second frame by the shot, and by itself; the others are whole."""
    of_shot, of_files = verify_shot(shot), verify_files(shot.output.path)
    assert [found.state for found in (of_shot[0], of_shot[2], of_files[0], of_files[2])] == ["whole"] * 4
    assert not of_shot[0].message and all(found.message for found in (of_shot[1],))
    return of_shot[1], of_files[1]


def forge(path: Path, change: Callable[[Plate], Plate], **options: Any) -> None:
    """Writes the frame again by our own writer: size and digest are right."""
    write_exr(path, change(read_image(path)), **options)
    assert find_damage(path) == ""


def paint(plate: Plate, place: tuple[int, int], value: float = 0.25) -> Plate:
    pixels = plate.pixels.copy()
    pixels[(*place, plate.channels.index("G"))] += value
    return replace(plate, pixels=pixels)


def find_unmatted(shot: Shot) -> tuple[int, int]:
    """Row and column of a pixel inside the region, where `matte.soft` is 0; the shot has all layers."""
    plate = read_image(second(shot))
    region = RenderJob(plan_shot_job(shot)).context.get_region(2).intersect(plate.data_window)
    allowed = np.zeros(plate.pixels.shape[:2], bool)
    allowed[compute_slices(region, plate.data_window)] = True
    row, column = np.argwhere(allowed & (plate.get_matte(MATTE_SOFT) == 0))[0]
    return int(row), int(column)


def find_face(shot: Shot) -> tuple[int, int]:
    """Row and column of the middle of the face."""
    plate = read_image(second(shot))
    x, y, width, height = (float(number) for number in str(plate.metadata["fsgan/face"]).split())
    return int(y + height / 2) - plate.data_window.y, int(x + width / 2) - plate.data_window.x


class TestBytes:
    """Changes without a new digest show without the shot."""

    @pytest.mark.parametrize("kept", [0, 1, 100, 0.5, -1])
    def test_cut_short(self, rendered: Rendered, tmp_path: Path, kept: float) -> None:
        shot = rendered(tmp_path, "result")
        content = second(shot).read_bytes()
        second(shot).write_bytes(content[: int(kept * len(content)) if kept == 0.5 else int(kept)])
        for found in judge(shot):
            assert found.state == "damaged" and found.frame == 2
            assert found.message.endswith("; render it again, or copy it again")

    @pytest.mark.parametrize("inside", [False, True])
    def test_a_changed_pixel(self, rendered: Rendered, tmp_path: Path, inside: bool) -> None:
        """The changed frame gets the statements of the true one, its digest included."""
        shot = rendered(tmp_path, "result")
        found = find_value(second(shot), META_CHECKSUM)
        assert found is not None
        forge(second(shot), lambda plate: paint(plate, find_face(shot) if inside else OUTSIDE))
        size = f"{second(shot).stat().st_size:012d}".encode()
        with second(shot).open("r+b") as file:
            file.seek(found[0])
            file.write(size + found[1][len(size) :])
        for judged in judge(shot):
            assert (judged.state, judged.message.partition(";")[0]) == (
                "damaged",
                "its content is not what was written",
            )

    def test_all_marks_removed_by_another_program(self, rendered: Rendered, tmp_path: Path) -> None:
        shot = rendered(tmp_path, "result")
        picture = oiio.ImageBuf(str(second(shot)))
        picture.read()
        picture.specmod().erase_attribute("fsgan/.*")
        assert picture.write(str(tmp_path / "bare.exr"))
        (tmp_path / "bare.exr").replace(second(shot))
        for found in judge(shot):
            assert found.state == "damaged" and "it has no checksum" in found.message


class TestPlaces:
    """Something else lies where a frame must be."""

    def test_a_folder_and_a_pipe(self, rendered: Rendered, tmp_path: Path) -> None:
        shot = rendered(tmp_path, "result")
        second(shot).unlink()
        second(shot).mkdir()
        assert all(found.state == "damaged" and "it is a folder" in found.message for found in judge(shot))
        second(shot).rmdir()
        os.mkfifo(second(shot))
        assert all(found.state == "damaged" and "not a plain file" in found.message for found in judge(shot))

    def test_links(self, rendered: Rendered, tmp_path: Path) -> None:
        """Also one that leads to the true frame: what it leads to may change after the check."""
        shot = rendered(tmp_path, "result")
        second(shot).rename(tmp_path / "true.exr")
        for target in (tmp_path / "true.exr", tmp_path / "nothing.exr"):
            second(shot).unlink(missing_ok=True)
            second(shot).symlink_to(target)
            assert all(found.state == "damaged" and f"a link to {target}" in found.message for found in judge(shot))

    def test_the_last_frame_is_not_overlooked(self, rendered: Rendered, tmp_path: Path) -> None:
        shot = rendered(tmp_path, "result")
        Path(shot.output.path.replace("####", "0004")).mkdir()
        assert [found.state for found in verify_files(shot.output.path)] == ["whole"] * 3 + ["damaged"]

    def test_a_missing_frame(self, rendered: Rendered, tmp_path: Path) -> None:
        shot = rendered(tmp_path, "result")
        second(shot).unlink()
        for found in judge(shot):
            assert (found.state, found.message) == ("missing", "there is no such file; render it")
        assert verify_files(shot.output.path, "1-4")[3].state == "missing"

    def test_another_frame_of_the_shot(self, rendered: Rendered, tmp_path: Path) -> None:
        shot = rendered(tmp_path, "result")
        shutil.copy(second(shot).with_name("swap.0003.exr"), second(shot))
        by_shot, by_itself = judge(shot)
        assert by_shot.state == "stale" and by_itself.state == "whole", "only the shot tells one frame from another"

    def test_a_frame_of_another_shot(self, small: Small, rendered: Rendered, tmp_path: Path) -> None:
        shot = rendered(tmp_path, "result")
        other = small.shot(tmp_path / "other", "2", blend__mix="0.5")
        render_shot(other)
        shutil.copy(second(other), second(shot))
        by_shot, by_itself = judge(shot)
        assert by_shot.state == "stale" and "changed since: blend.mix; render it again" in by_shot.message
        assert by_itself.state == "whole"


def state(**changes: Any) -> Callable[[Plate], Plate]:
    """Changes metadata; None removes an entry. `fsgan_x` is fsgan/x."""
    named = {name.replace("fsgan_", META_PREFIX): value for name, value in changes.items()}
    return lambda plate: replace(
        plate, metadata={name: value for name, value in {**plate.metadata, **named}.items() if value is not None}
    )


def remove_statements(plate: Plate) -> Plate:
    return replace(plate, metadata={k: v for k, v in plate.metadata.items() if not k.startswith(META_PREFIX)})


def claim_no_face(plate: Plate) -> Plate:
    """As a frame without a face states itself."""
    dropped = (META_ENGINE, META_SOURCE)
    kept: Mapping[str, Any] = {name: value for name, value in plate.metadata.items() if name not in dropped}
    return replace(plate, metadata={**kept, META_SYNTHETIC: 0, META_FLAGS: "no-face"})


class TestForgedDigest:
    """Somebody with our own program changes a frame and writes size and digest anew."""

    @pytest.mark.parametrize(
        ("change", "expected", "by_itself", "words"),
        [
            (state(fsgan_synthetic=0), "unmarked", "unmarked", "fsgan/synthetic is 0, although"),
            (state(fsgan_synthetic=None), "unmarked", "unmarked", "fsgan/synthetic is absent"),
            (state(fsgan_synthetic="1"), "unmarked", "unmarked", "fsgan/synthetic is '1'"),
            (remove_statements, "unmarked", "unmarked", "it has no fsgan/key"),
            (claim_no_face, "unmarked", "whole", "fsgan/synthetic is 0; by the shot it must be 1"),
            (
                state(fsgan_consent="R-17"),
                "changed",
                "whole",
                f"{META_CONSENT} is 'R-17'; by the shot it must be absent",
            ),
            (state(fsgan_source="somebody"), "changed", "whole", "fsgan/source is 'somebody'; by the shot it must be"),
            (state(**{"fsgan_leading-view": "source 7"}), "changed", "whole", "fsgan/leading-view is 'source 7'"),
            (state(fsgan_engine="blend=mine"), "changed", "whole", "fsgan/engine is 'blend=mine'"),
            (state(shot="other"), "changed", "whole", "its metadata entry shot is not the target's"),
            (state(comments="not synthesised"), "changed", "whole", "its metadata entry comments is not the target's"),
        ],
    )
    def test_statements(
        self,
        rendered: Rendered,
        tmp_path: Path,
        change: Callable[[Plate], Plate],
        expected: str,
        by_itself: str,
        words: str,
    ) -> None:
        shot = rendered(tmp_path, "result")
        forge(second(shot), change)
        of_shot, of_file = judge(shot)
        assert (of_shot.state, of_file.state) == (expected, by_itself)
        assert words in of_shot.message and "render it again with --force" in of_shot.message

    def test_another_key(self, rendered: Rendered, tmp_path: Path) -> None:
        shot = rendered(tmp_path, "result")
        forge(second(shot), state(fsgan_key="0" * 64))
        of_shot, of_file = judge(shot)
        assert (of_shot.state, of_file.state) == ("stale", "whole")

    @pytest.mark.parametrize("layers", ["result", "all"])
    def test_a_pixel_outside(self, rendered: Rendered, tmp_path: Path, layers: str) -> None:
        shot = rendered(tmp_path, layers)
        forge(second(shot), lambda plate: paint(plate, OUTSIDE))
        of_shot, of_file = judge(shot)
        assert (of_shot.state, of_file.state) == ("changed", "whole")
        assert "1 pixel of G outside the face is not the target's" in of_shot.message

    def test_a_larger_matte_hides_nothing(self, rendered: Rendered, tmp_path: Path) -> None:
        shot = rendered(tmp_path, "all")

        def hide(plate: Plate) -> Plate:
            painted = paint(plate, OUTSIDE)
            painted.pixels[..., plate.channels.index(MATTE_SOFT)] = 1.0
            return painted

        forge(second(shot), hide)
        assert judge(shot)[0].state == "changed"

    def test_outside_the_matte_but_inside_the_region(self, rendered: Rendered, tmp_path: Path) -> None:
        """The limits that docs/security.md states: seen only by a matte that the forger left alone."""
        full, plain = rendered(tmp_path / "all", "all"), rendered(tmp_path / "plain", "result")
        place = find_unmatted(full)
        forge(second(plain), lambda plate: paint(plate, place))
        assert [found.state for found in verify_shot(plain)] == ["whole"] * 3
        forge(second(full), lambda plate: paint(plate, place))
        assert judge(full)[0].state == "changed"

        def hide(plate: Plate) -> Plate:
            plate.pixels[(*place, plate.channels.index(MATTE_SOFT))] = 1.0
            return plate

        forge(second(full), hide)
        assert [found.state for found in verify_shot(full)] == ["whole"] * 3

    def test_channels_types_windows_and_parts(self, rendered: Rendered, tmp_path: Path) -> None:
        shot = rendered(tmp_path, "result")
        true = second(shot).read_bytes()

        def add_channel(plate: Plate) -> Plate:
            pixels = np.dstack([plate.pixels, plate.pixels[..., :1]])
            return replace(plate, pixels=pixels, channels=(*plate.channels, "left.R"), formats=("half",) * 6)

        def drop_channel(plate: Plate) -> Plate:
            return replace(plate, pixels=plate.pixels[..., :4], channels=plate.channels[:4], formats=("half",) * 4)

        def shift(plate: Plate) -> Plate:
            return replace(plate, display_window=replace(plate.display_window, x=1))

        for change, options, words in (
            (add_channel, {}, "it has a channel left.R"),
            (drop_channel, {}, "it lacks the target's channel id.roto"),
            (shift, {}, "its windows are not the target's"),
            (lambda plate: plate, {"depth": "float"}, "its channel R is float; by the shot it must be half"),
        ):
            forge(second(shot), change, **options)
            found = judge(shot)[0]
            assert found.state == "changed" and words in found.message
            second(shot).write_bytes(true)
        copy = tmp_path / "part.exr"
        copy.write_bytes(true)
        forge(second(shot), state(name="ours"), other_parts=[PartRef(copy, 0, "")])
        assert judge(shot)[0].state == "changed"

    def test_pixels_that_cannot_be_read(self, rendered: Rendered, tmp_path: Path) -> None:
        """A digest of rubbish is a right digest."""
        shot = rendered(tmp_path, "result")
        content = bytearray(second(shot).read_bytes())
        content[-200:] = bytes(200)
        second(shot).write_bytes(content)
        write_checksum(second(shot))
        assert find_damage(second(shot)) == ""
        assert all(found.state == "damaged" and "cut short" in found.message for found in judge(shot))

    def test_inside_the_face_only_another_render_shows_it(self, rendered: Rendered, tmp_path: Path) -> None:
        """The limit that docs/security.md states."""
        shot = rendered(tmp_path, "result")
        forge(second(shot), lambda plate: paint(plate, find_face(shot)))
        assert [found.state for found in verify_shot(shot)] == ["whole"] * 3
        changed = second(shot).read_bytes()
        assert render_shot(shot, force=True).list_frames("rendered") == (1, 2, 3)
        assert second(shot).read_bytes() != changed


@pytest.mark.parametrize("settings", [{"depth": "float"}, {"compression": "dwaa"}, {"colorspace": "lin_rec709"}])
def test_no_false_alarm(small: Small, tmp_path: Path, settings: dict[str, str]) -> None:
    """Whatever the output is, what was rendered is whole; the changed mark shows there, too."""
    names = {f"output__{name}": value for name, value in settings.items() if name != "colorspace"}
    shot = small.shot(tmp_path, "1", layers="all", consent__reference="R-17", consent__expires="2090-01-01", **names)
    shot = replace(shot, output=replace(shot.output, colorspace=settings.get("colorspace", "")))
    render_shot(shot)
    assert [(found.state, found.message) for found in verify_shot(shot)] == [("whole", "")]
    path = Path(shot.output.path.replace("####", "0001"))
    compression = settings.get("compression", "zip")
    forge(path, state(fsgan_consent="R-18; until 2090-01-01"), compression=compression)
    assert [found.state for found in verify_shot(shot)] == ["changed"]


def test_the_command_names_frame_and_advice(
    rendered: Rendered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shot = rendered(tmp_path, "result")
    save_shot(tmp_path / "shot.toml", shot)
    assert main(["verify", str(tmp_path / "shot.toml")]) == 0
    assert "3 whole" in capsys.readouterr().out
    forge(second(shot), state(fsgan_synthetic=0))
    assert main(["verify", str(tmp_path / "shot.toml")]) == 1
    error = capsys.readouterr().err
    assert "frame 2 is unmarked" in error and "swap.0002.exr" in error and "render it again with --force" in error
    assert main(["verify", str(tmp_path / "shot.toml"), "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["ok"] is False and [frame["state"] for frame in data["frames"]] == ["whole", "unmarked", "whole"]
    assert main(["verify", shot.output.path]) == 1
    assert main(["render", str(tmp_path / "shot.toml"), "--force"]) == 0
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "shot.toml")]) == 0
