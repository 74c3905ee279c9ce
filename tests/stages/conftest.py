"""Faces for tests of the stages: two public-domain stills with known landmarks, and made-up ones in any pose."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsgan_core.contract.params import BlendParams, InpaintParams, MaskParams, ReenactParams
from fsgan_core.faces import mesh
from fsgan_core.faces.face import Face
from fsgan_core.faces.pose import FACE_MODEL, HeadPose, compute_face_box, make_rotation, measure_euler_angles
from fsgan_core.plates.colour import Codec, ColourConfig, open_config
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.region import compute_region
from fsgan_core.stages import warp_points
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.blending import blend
from fsgan_core.stages.inpainting import inpaint
from fsgan_core.stages.interface import BlendedPlate, FaceFrame, SourceView
from fsgan_core.stages.leading_view import FramePlan, WeightedView
from fsgan_core.stages.masking import combine_mattes, measure_mattes
from fsgan_core.stages.reenactment import prepare_view, recognise_worn_glasses, reenact

ONE = FramePlan((WeightedView(ViewRef(0, 1), 1.0, 1.0),))


def posed(
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
    scale: float = 1.0,
    centre: tuple[float, float] = (100.0, 100.0),
    aspect: float = 1.0,
    shape: np.ndarray = FACE_MODEL,
) -> np.ndarray:
    """Landmarks (68, 2) of the generic head, `scale` pixels per millimetre; the eyes' middle at `centre`, plate
    coordinates."""
    pose = HeadPose(make_rotation(yaw, pitch, roll), np.array(centre) * (aspect, 1.0), scale, 1000.0, 0.0)
    return pose.project(shape) / (aspect, 1.0)


def posed_mesh(
    yaw: float = 0.0,
    pitch: float = 0.0,
    scale: float = 1.0,
    centre: tuple[float, float] = (100.0, 100.0),
    aspect: float = 1.0,
    shape: np.ndarray = FACE_MODEL,
) -> np.ndarray:
    """The mesh (478, 3) of a head whose landmarks are `shape`, mm, depth included."""
    change = shape - mesh.CANONICAL[list(mesh.LANDMARK_VERTICES)]
    head = mesh.CANONICAL + mesh.compute_landmark_shares() @ change
    rotation = make_rotation(yaw, pitch, 0)
    flat = HeadPose(rotation, np.array(centre) * (aspect, 1.0), scale, 1000.0, 0.0).project(head) / (aspect, 1.0)
    return np.column_stack([flat, scale * (head @ rotation.T)[:, 2]])


def face_at(landmarks: np.ndarray, frame: int = 1, aspect: float = 1.0, confidence: float = 0.95) -> Face:
    return Face(
        frame, compute_face_box(landmarks, aspect), landmarks, measure_euler_angles(landmarks, aspect), confidence
    )


def plate_at(rgb: np.ndarray, x: int = 0, y: int = 0, aspect: float = 1.0) -> Plate:
    """A plate of scene-linear `rgb` whose data window begins at (x, y)."""
    window = Window(x, y, rgb.shape[1], rgb.shape[0])
    return Plate(np.ascontiguousarray(rgb, np.float32), ("R", "G", "B"), window, window, aspect)


@dataclass(frozen=True, eq=False)
class Still:
    """A plate with the face in it; told apart by identity, so that views of it are made once."""

    plate: Plate
    face: Face

    @property
    def region(self) -> Window:
        return compute_region(self.face.box, ReenactParams().margin, self.plate.pixel_aspect)

    def frame(self, codec: Codec, holdout: np.ndarray | None = None) -> FaceFrame:
        return FaceFrame(self.plate, self.face, self.region, codec, holdout)

    @property
    def width(self) -> float:
        return warp_points.measure_face_width(self.face.landmarks, self.plate.pixel_aspect)

    def painted(self, pixels: np.ndarray) -> Still:
        return replace(self, plate=replace(self.plate, pixels=pixels.astype(np.float32)))

    def squeezed(self) -> Still:
        """The same picture with pixels twice as wide."""
        size = (self.plate.data_window.width // 2, self.plate.data_window.height)
        small = cv2.resize(self.plate.pixels, size, interpolation=cv2.INTER_AREA)
        landmarks = (self.face.landmarks + 0.5) / (2.0, 1.0) - 0.5
        return Still(plate_at(small, aspect=2.0), face_at(landmarks, self.face.frame, 2.0))

    def mattes(self, codec: Codec, params: MaskParams | None = None, holdout: np.ndarray | None = None) -> Plate:
        """The finished mask of this frame by itself."""
        params = params or MaskParams()
        measured = measure_mattes(self.frame(codec), params=params)
        return combine_mattes(self.frame(codec, holdout), neighbours=[(self.face, measured)], params=params)

    def view(self, codec: Codec, keep_glasses: bool = False) -> SourceView:
        return _view(self, codec, keep_glasses)

    def reenacted(
        self, source: Still, codec: Codec, params: ReenactParams | None = None, plan: FramePlan = ONE
    ) -> Plate:
        params = params or ReenactParams()
        views = {ViewRef(0, 1): source.view(codec, params.keep_source_glasses)}
        return reenact(self.frame(codec), plan=plan, views=views, params=params)


@lru_cache(maxsize=32)
def _view(still: Still, codec: Codec, keep_glasses: bool) -> SourceView:
    glasses = None if keep_glasses else recognise_worn_glasses([still.frame(codec)])
    return prepare_view(still.plate, still.face, codec, MaskParams(), glasses=glasses)


@dataclass(frozen=True)
class Swap:
    """All pictures of one swap."""

    target: Still
    reenacted: Plate
    mattes: Plate
    completed: Plate
    blended: BlendedPlate

    def before(self, codec: Codec) -> np.ndarray:
        return codec.encode(self.target.plate.crop(self.target.region).get("R", "G", "B"))

    def after(self, codec: Codec) -> np.ndarray:
        return codec.encode(self.blended.plate.crop(self.target.region).get("R", "G", "B"))


def swapped(
    source: Still,
    target: Still,
    codec: Codec,
    *,
    mask: MaskParams | None = None,
    blending: BlendParams | None = None,
    holdout: np.ndarray | None = None,
) -> Swap:
    reenacted = target.reenacted(source, codec)
    mattes = target.mattes(codec, mask, holdout)
    completed = inpaint(
        target.frame(codec, holdout),
        reenacted=reenacted,
        mattes=mattes,
        further_views=list,
        params=InpaintParams(),
    )
    blended = blend(target.frame(codec, holdout), completed=completed, mattes=mattes, params=blending or BlendParams())
    return Swap(target, reenacted, mattes, completed, blended)


@pytest.fixture(scope="session")
def config() -> ColourConfig:
    return open_config("ocio://default")


@pytest.fixture(scope="session")
def codec(config: ColourConfig) -> Codec:
    return config.make_codec(config.scene_linear)


def still_of(
    picture: np.ndarray, landmarks: np.ndarray, config: ColourConfig, crop: tuple[int, int, int, int], scale: float
) -> Still:
    """A part (x, y, right, bottom) of a picture (uint8 sRGB), resized, in scene-linear light."""
    x, y, right, bottom = crop
    part = picture[y:bottom, x:right].astype(np.float32) / 255
    size = (round((right - x) * scale), round((bottom - y) * scale))
    part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    moved = (landmarks - (x, y) + 0.5) * (size[0] / (right - x), size[1] / (bottom - y)) - 0.5
    return Still(plate_at(config.convert(np.clip(part, 0, 1), "sRGB", config.scene_linear)), face_at(moved))


@pytest.fixture(scope="session")
def landmarks() -> dict[str, np.ndarray]:
    data = json.loads((Path(__file__).parents[1] / "data" / "landmarks_stills.json").read_text())
    return {name: np.array(data[name]) for name in ("astronaut", "grace_hopper")}


@pytest.fixture(scope="session")
def collins(astronaut: np.ndarray, landmarks: dict[str, np.ndarray], config: ColourConfig) -> Still:
    """The astronaut's head, 200 x 240 pixels, the face 100 wide, with all of its hair."""
    return still_of(astronaut, landmarks["astronaut"], config, (124, 0, 324, 240), 1.0)


@pytest.fixture(scope="session")
def hopper(grace_hopper: np.ndarray, landmarks: dict[str, np.ndarray], config: ColourConfig) -> Still:
    """Grace Hopper's head with cap and glasses, 192 x 220 pixels, the face 98 wide."""
    return still_of(grace_hopper, landmarks["grace_hopper"], config, (76, 20, 460, 460), 0.5)
