"""Training faces without a detector: a portrait with known landmarks, which moves a little from frame to frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.faces.face import Face, make_face
from fsgan_core.faces.track import Person, Track
from fsgan_core.faces.track_file import save_track
from fsgan_core.plates.colour import SRGB, Codec, open_config
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.stages.image_ops import draw_polygon
from fsgan_core.stages.warp_points import compute_outline
from fsgan_core.training import validation
from fsgan_core.training.data.dataset import FaceDataset, PreparedClip, save_clip
from fsgan_core.training.data.face_crops import ClipFaces, FaceLayout, FaceSet, collect_faces

FRAMES = 6
SIZE = 200  # of the made frames, pixels
# The portrait's 68 landmarks, as dlib finds them in it, pixels.
LANDMARKS = np.array(
    [
        (179, 104),
        (180, 116),
        (181, 127),
        (182, 139),
        (185, 150),
        (191, 160),
        (200, 168),
        (209, 176),
        (220, 178),
        (232, 177),
        (243, 171),
        (253, 163),
        (260, 154),
        (265, 143),
        (268, 131),
        (270, 120),
        (272, 108),
        (186, 94),
        (192, 88),
        (200, 87),
        (208, 89),
        (216, 92),
        (236, 93),
        (244, 91),
        (252, 91),
        (260, 92),
        (265, 99),
        (226, 102),
        (225, 111),
        (225, 119),
        (225, 127),
        (214, 131),
        (219, 133),
        (224, 134),
        (229, 133),
        (234, 132),
        (195, 101),
        (200, 98),
        (207, 98),
        (212, 104),
        (206, 104),
        (199, 104),
        (237, 106),
        (243, 100),
        (250, 100),
        (255, 105),
        (250, 107),
        (244, 107),
        (201, 139),
        (209, 139),
        (218, 139),
        (224, 141),
        (230, 140),
        (238, 140),
        (246, 141),
        (238, 151),
        (229, 155),
        (222, 156),
        (216, 155),
        (208, 150),
        (204, 141),
        (218, 143),
        (223, 144),
        (230, 143),
        (243, 142),
        (229, 150),
        (223, 151),
        (217, 150),
    ],
    np.float64,
)


def move(frame: int) -> np.ndarray:
    """Return the matrix (2, 3) from the portrait to a frame."""
    turn = cv2.getRotationMatrix2D((224.0, 120.0), 4.0 * np.sin(1.3 * frame), 0.9 + 0.02 * np.cos(frame))
    turn[:, 2] += (SIZE / 2 - 224 + 3 * np.sin(frame), SIZE / 2 - 125 + 2 * np.cos(2 * frame))
    return turn


def picture_of(portrait: np.ndarray, frame: int) -> np.ndarray:
    """uint8 (SIZE, SIZE, 3)."""
    moved = cv2.warpAffine(portrait, move(frame), (SIZE, SIZE), flags=cv2.INTER_AREA)
    return np.clip(moved.astype(np.int16) + 4 * (frame % 3), 0, 255).astype(np.uint8)


def face_of(frame: int) -> Face:
    turn = move(frame)
    return make_face(frame, LANDMARKS @ turn[:, :2].T + turn[:, 2], 0.9)


def track_of(clip: str, frames: int = FRAMES) -> Track:
    faces = {frame: face_of(frame) for frame in range(1, frames + 1)}
    person = Person(0, faces, faces, np.zeros(128))
    return Track(clip, tuple(faces), SIZE, SIZE, 1.0, 0.0, (person,), "made", "made", smooth=0.0)


@pytest.fixture(scope="session")
def codec() -> Codec:
    return open_config("ocio://default").make_codec(SRGB)


@pytest.fixture(scope="session")
def clip(astronaut: np.ndarray, codec: Codec) -> ClipFaces:
    window = Window(0, 0, SIZE, SIZE)

    def read(frame: int) -> Plate:
        pixels = picture_of(astronaut, frame).astype(np.float32) / 255
        return Plate(pixels, ("R", "G", "B"), window, window)

    return ClipFaces("portrait", read, {frame: face_of(frame) for frame in range(1, FRAMES + 1)}, codec)


@pytest.fixture(scope="session")
def faces(clip: ClipFaces) -> FaceSet:
    """Six faces at 64 pixels."""
    return collect_faces([clip], FaceLayout(64))


@pytest.fixture(scope="session")
def crowd(faces: FaceSet) -> FaceDataset:
    """Three people of six faces each, at 64 pixels: the portrait in three grades; mattes are the landmarks' outline."""
    window = Window(0, 0, faces.layout.side, faces.layout.side)
    mattes = np.zeros((*faces.pictures.shape[:3], 4), np.uint8)
    for matte, landmarks in zip(mattes, faces.landmarks, strict=True):
        places = landmarks.astype(np.float64) * faces.layout.resolution - 0.5 + faces.layout.margin
        first, second = (draw_polygon(part, window) for part in compute_outline(places))
        matte[..., 0] = np.rint(255 * np.maximum(first, second))
    grades = [
        np.clip(faces.pictures * np.array(gain), 0, 255).astype(np.uint8)
        for gain in ((1.0, 1.0, 1.0), (0.7, 0.8, 1.0), (1.0, 0.9, 0.6))
    ]
    count = len(faces)
    whole = replace(
        faces,
        pictures=np.concatenate(grades),
        landmarks=np.tile(faces.landmarks, (3, 1, 1)),
        points=np.tile(faces.points, (3, 1, 1)),
        clips=np.repeat(np.arange(3), count),
        frames=np.tile(faces.frames, 3),
        angles=np.zeros((3 * count, 3), np.float32),
        mattes=np.tile(mattes, (3, 1, 1, 1)),
    )
    subjects = tuple(
        PreparedClip(name, name, "commercial", name, name, f"key {name}", count, faces.layout)
        for name in ("anna", "bert", "cleo")
    )
    return FaceDataset(subjects, whole)


def save_crowd(folder: Path, crowd: FaceDataset) -> None:
    """A folder as `fsgan train prepare` writes it."""
    for number, subject in enumerate(crowd.clips):
        own = crowd.faces.clips == number
        whole = crowd.faces
        assert whole.angles is not None and whole.mattes is not None
        save_clip(
            folder / f"{subject.name}.npz",
            replace(
                whole,
                pictures=whole.pictures[own],
                landmarks=whole.landmarks[own],
                points=whole.points[own],
                clips=whole.clips[own],
                frames=whole.frames[own],
                angles=whole.angles[own],
                mattes=whole.mattes[own],
            ),
            subject,
        )


@pytest.fixture(scope="session")
def stills(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """A folder with source.####.png and source.json, its track."""
    folder = tmp_path_factory.mktemp("stills")
    for frame in range(1, FRAMES + 1):
        cv2.imwrite(str(folder / f"source.{frame:04d}.png"), picture_of(astronaut, frame)[..., ::-1])
    save_track(folder / "source.json", track_of(str(folder / "source.####.png")))
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make everything except the training small; the descriptor has its own test."""
    monkeypatch.setattr("fsgan_core.training.finetune_loop.TRIAL_COUNT", 2)
    monkeypatch.setattr("fsgan_core.training.finetune_loop.FINAL_CALIBRATION_BATCHES", 2)
    monkeypatch.setattr("fsgan_core.training.finetune_loop.CALIBRATION_BATCHES", 1)
    monkeypatch.setattr(validation.Trial, "_measure_identity", lambda self, pictures: None)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, so that sums do not depend on earlier tests."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
