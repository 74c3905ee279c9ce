"""Shot files: what is written is read back, paths hold when the folder moves, errors name the file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fsgan_core.clips.shot_file import format_shot, load_shot, parse_shot, save_shot
from fsgan_core.contract.errors import OutputError, ParameterError, ShotError
from fsgan_core.contract.shot import Clip, Output, Shot, Stages


def shot(folder: Path) -> Shot:
    stages = Stages().with_settings(
        {
            "blend.mix": "0.5",
            "analyse.person_reference": str(folder / "still.jpg"),
            "colour.config": str(folder / "config.ocio"),
        }
    )
    return Shot(
        (Clip(str(folder / "source.mov"), track=str(folder / "s.json"), person="1"), Clip("/elsewhere/b.jpg")),
        Clip(str(folder / "plates" / "t.####.exr"), person=str(folder / "who.png")),
        Output(str(folder / "out" / "o.####.exr")),
        frames="1-3",
        holdout=Clip(str(folder / "h.exr")),
        stages=stages,
    )


class TestRoundTrip:
    def test_file(self, tmp_path: Path) -> None:
        save_shot(tmp_path / "shot.toml", shot(tmp_path))
        assert load_shot(tmp_path / "shot.toml") == shot(tmp_path)

    def test_text(self, tmp_path: Path) -> None:
        assert parse_shot(format_shot(shot(tmp_path))) == shot(tmp_path)

    def test_awkward_names(self, tmp_path: Path) -> None:
        awkward = dataclasses.replace(shot(tmp_path), target=Clip(str(tmp_path / 'a "b" [c]\\d $e é\'.####.exr')))
        save_shot(tmp_path / "shot.toml", awkward)
        assert load_shot(tmp_path / "shot.toml") == awkward

    def test_built_in_config_is_no_path(self, tmp_path: Path) -> None:
        given = Shot(
            (Clip("/a"),),
            Clip("/b"),
            Output("/c.exr"),
            stages=Stages().with_settings({"colour.config": "ocio://default"}),
        )
        save_shot(tmp_path / "shot.toml", given)
        assert load_shot(tmp_path / "shot.toml").stages.colour.config == "ocio://default"


class TestPaths:
    def test_the_folder_may_move(self, tmp_path: Path) -> None:
        (tmp_path / "here").mkdir()
        save_shot(tmp_path / "here" / "shot.toml", shot(tmp_path / "here"))
        (tmp_path / "here").rename(tmp_path / "there")
        assert load_shot(tmp_path / "there" / "shot.toml") == shot(tmp_path / "there")

    def test_relative_ones_are_taken_from_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        save_shot("job/shot.toml", Shot((Clip("a.mov"),), Clip("job/b.####.exr"), Output("out/c.####.exr")))
        loaded = load_shot("job/shot.toml")
        assert loaded.source[0].path == str(tmp_path / "a.mov")
        assert loaded.target.path == str(tmp_path / "job" / "b.####.exr")
        assert 'path = "b.####.exr"' in (tmp_path / "job" / "shot.toml").read_text()

    def test_working_directory_does_not_matter_for_reading(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_shot(tmp_path / "shot.toml", shot(tmp_path))
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path / "sub")
        assert load_shot("../shot.toml") == shot(tmp_path)


class TestErrors:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ShotError, match=r"no shot file .*nothing\.toml"):
            load_shot(tmp_path / "nothing.toml")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ShotError, match="is a folder; it holds no shot file"):
            load_shot(tmp_path)
        (tmp_path / "a.toml").touch()
        with pytest.raises(ShotError, match=r"is a folder; name a shot file in it: .*a\.toml$"):
            load_shot(tmp_path)

    @pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x89PNG\r\n\x1a\n"])
    def test_not_text(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "shot.toml").write_bytes(content)
        with pytest.raises(ShotError):
            load_shot(tmp_path / "shot.toml")

    def test_not_toml_names_line(self, tmp_path: Path) -> None:
        (tmp_path / "shot.toml").write_text("version = 1\nsource = = 2")
        with pytest.raises(ShotError, match=r"shot\.toml: this is not TOML: .*line 2"):
            load_shot(tmp_path / "shot.toml")

    def test_bad_parameter_names_file_and_parameter(self, tmp_path: Path) -> None:
        (tmp_path / "shot.toml").write_text('source="a"\ntarget="b"\noutput="c"\n[stages.blend]\nmix = 3\n')
        with pytest.raises(ParameterError, match=r"shot\.toml: blend\.mix = 3"):
            load_shot(tmp_path / "shot.toml")

    def test_unwritable(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError):
            save_shot(tmp_path / "file" / "shot.toml", shot(tmp_path))

    def test_failed_save_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        save_shot(tmp_path / "shot.toml", shot(tmp_path))
        before = (tmp_path / "shot.toml").read_text()

        def broken(*_: object, **__: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_text", broken)
        with pytest.raises(OutputError, match="full"):
            save_shot(tmp_path / "shot.toml", dataclasses.replace(shot(tmp_path), frames="9"))
        monkeypatch.undo()
        assert (tmp_path / "shot.toml").read_text() == before
        assert [path.name for path in tmp_path.iterdir()] == ["shot.toml"]
