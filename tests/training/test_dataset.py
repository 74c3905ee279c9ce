"""Prepared faces: files are read as they were written, people are held out completely, footage is found."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fsgan_core.contract.errors import InputError
from fsgan_core.contract.params import MaskParams
from fsgan_core.training.data.dataset import FaceDataset, choose_held_out_people, load_dataset, read_prepared_clip
from fsgan_core.training.data.face_crops import ClipFaces, FaceLayout, collect_faces, load_faces
from tests.training.conftest import save_crowd


def test_saved_files_are_read_unchanged(crowd: FaceDataset, tmp_path: Path) -> None:
    save_crowd(tmp_path, crowd)
    found = load_dataset(tmp_path)
    assert found.clips == crowd.clips and found.people.tolist() == crowd.people.tolist()
    for name in ("pictures", "mattes", "landmarks", "points", "angles", "frames", "clips"):
        assert np.array_equal(getattr(found.faces, name), getattr(crowd.faces, name)), name
    assert read_prepared_clip(tmp_path / "anna.npz") == crowd.clips[0]


def test_unusable_files(crowd: FaceDataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fsgan train prepare"):
        load_dataset(tmp_path)
    save_crowd(tmp_path, crowd)
    broken = tmp_path / "bert.npz"
    broken.write_bytes(broken.read_bytes()[:2000])
    assert read_prepared_clip(broken) is None and read_prepared_clip(tmp_path / "none.npz") is None
    with pytest.raises(InputError, match="bert"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("entry", ["encrypted", "cut off"])
def test_damaged_entries(crowd: FaceDataset, tmp_path: Path, entry: str) -> None:
    """What zipfile and numpy's header reader raise for them are errors of other kinds."""
    path = tmp_path / "a_faces.npz"
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': ("
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("head.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    if entry == "encrypted":
        data = bytearray(path.read_bytes())
        data[6] |= 1
        data[data.index(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(data)
    assert read_prepared_clip(path) is None
    assert load_faces(path, "key") is None


def test_people_are_held_out_completely(crowd: FaceDataset) -> None:
    """By name or by share; the choice is always the same, and there is somebody on both sides."""
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
