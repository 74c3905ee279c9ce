"""Prepared faces: files that come back as they were, people who are held out whole, footage that is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.cli import main
from fsgan_core.cli.prepare import FootageClip, find_footage
from fsgan_core.contract.errors import InputError
from fsgan_core.contract.params import MaskParams
from fsgan_core.training.data.dataset import FaceDataset, choose_held_out_people, load_dataset, read_prepared_clip
from fsgan_core.training.data.face_crops import ClipFaces, FaceLayout, collect_faces
from tests.training.conftest import FRAMES, save_crowd


def test_files_give_back_what_was_saved(crowd: FaceDataset, tmp_path: Path) -> None:
    save_crowd(tmp_path, crowd)
    found = load_dataset(tmp_path)
    assert found.clips == crowd.clips and found.people.tolist() == crowd.people.tolist()
    for name in ("pictures", "mattes", "landmarks", "points", "angles", "frames", "clips"):
        assert np.array_equal(getattr(found.faces, name), getattr(crowd.faces, name)), name
    assert read_prepared_clip(tmp_path / "anna.npz") == crowd.clips[0]


def test_files_that_are_no_use(crowd: FaceDataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fsgan train prepare"):
        load_dataset(tmp_path)
    save_crowd(tmp_path, crowd)
    broken = tmp_path / "bert.npz"
    broken.write_bytes(broken.read_bytes()[:2000])
    assert read_prepared_clip(broken) is None and read_prepared_clip(tmp_path / "none.npz") is None
    with pytest.raises(InputError, match="bert"):
        load_dataset(tmp_path)


def test_people_are_held_out_whole(crowd: FaceDataset) -> None:
    """By name or by share, the same ones every time, and somebody is left on either side."""
    assert choose_held_out_people(crowd, ["bert"], 0, 1) == ("bert",)
    drawn = choose_held_out_people(crowd, [], 0.1, 1)
    assert len(drawn) == 1 and drawn == choose_held_out_people(crowd, [], 0.1, 1)
    assert len(choose_held_out_people(crowd, [], 0.9, 1)) == 2
    for named, what in ((["dora"], "dora"), (["anna", "bert", "cleo"], "nobody is left")):
        with pytest.raises(InputError, match=what):
            choose_held_out_people(crowd, named, 0, 1)
    with pytest.raises(InputError, match="finetune"):
        choose_held_out_people(replace(crowd, clips=crowd.clips[:1]), [], 0.1, 1)


def test_smaller_faces(crowd: FaceDataset) -> None:
    half = crowd.faces.resize_to(32)
    assert half.layout == FaceLayout(32) and half.pictures.shape[1:] == (48, 48, 3) and half.mattes is not None
    assert abs(half.pictures.mean() - crowd.faces.pictures.mean()) < 2
    assert crowd.faces.resize_to(64) is crowd.faces


def test_mattes_are_measured_where_the_pictures_are(clip: ClipFaces) -> None:
    some = replace(clip, faces={frame: clip.faces[frame] for frame in (1, 2)})
    found = collect_faces([some], FaceLayout(64), mattes=MaskParams())
    assert found.mattes is not None and found.mattes.shape == (2, 96, 96, 4) and found.angles is not None
    nose = np.rint(found.landmarks[0, 30] * 64 + 15.5).astype(int)
    assert found.mattes[0, nose[1], nose[0], 0] > 200 and found.mattes[0, 0, 0, 0] == 0


class TestFootage:
    def test_a_folder_is_searched(self, tmp_path: Path) -> None:
        for name in (
            "anna/one.mov",
            "anna/day2/two.mp4",
            "bert.0001.png",
            "bert.0002.png",
            "stills/a.jpg",
            "stills/b.jpg",
            "notes.txt",
            ".hidden.mov",
        ):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        found = find_footage([str(tmp_path)], {})
        assert set(found) == {
            FootageClip(str(tmp_path / path), person)
            for path, person in (
                ("anna/one.mov", "anna"),
                ("anna/day2/two.mp4", "anna"),
                ("bert.####.png", "bert"),
                ("stills/*.jpg", "stills"),
            )
        }
        named = find_footage([str(tmp_path)], {"one.mov": "dora"})
        assert [one.person for one in named if one.path.endswith("one.mov")] == ["dora"]
        with pytest.raises(InputError, match=r"three\.mov"):
            find_footage([str(tmp_path)], {"three.mov": "dora"})
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="no movies"):
            find_footage([str(tmp_path / "empty")], {})

    def test_prepare_makes_what_is_missing(
        self, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """From the command line, a track in the cache's place; a second run keeps, a clip without a face is told."""
        pytest.importorskip("dlib")
        monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "cache"))
        cv2.imwrite(str(tmp_path / "grey.png"), np.full((64, 64, 3), 128, np.uint8))
        people = tmp_path / "people.csv"
        people.write_text("# who\nsource.####.png,anna\n")
        command = [
            "train",
            "prepare",
            str(stills / "source.####.png"),
            str(tmp_path / "grey.png"),
            "--people",
            str(people),
            "-o",
            str(tmp_path / "faces"),
            "--resolution",
            "64",
            "--most",
            "3",
            "--no-mattes",
            "--licence",
            "commercial",
            "--json",
            "-q",
        ]
        assert main(command) == 1
        said = json.loads(capsys.readouterr().out)
        assert said["clips"] == 1 and said["faces"] == FRAMES // 2 and "grey" in next(iter(said["left_out"]))
        found = load_dataset(tmp_path / "faces")
        assert found.clips[0].person == "anna" and found.clips[0].licence == "commercial"
        assert found.faces.mattes is None
        assert main(command) == 1
        assert json.loads(capsys.readouterr().out)["kept"] == 1

    def test_a_list_of_people_that_is_none(self, tmp_path: Path) -> None:
        people = tmp_path / "people.csv"
        people.write_text("one.mov\n")
        command = ["train", "prepare", str(tmp_path), "--people", str(people), "-o", str(tmp_path / "out"), "-q"]
        assert main(command) == 2
