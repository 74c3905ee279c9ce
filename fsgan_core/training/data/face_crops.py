"""Faces of clips as training data: one small square picture around each face, with its landmarks.

A picture covers more than the crop that a network sees, so that a face can be warped into another frame's crop
without running off the picture's edge; the crop is its middle, pixel for pixel.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from fsgan_core.contract.errors import EngineError, InputError, NoFaceError, PlateError
from fsgan_core.contract.params import MaskParams
from fsgan_core.faces.track import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.stream import read_ahead
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.sampling import sample_evenly
from fsgan_core.stages.image_ops import mark_plate_area, to_display
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.masking import measure_mattes
from fsgan_core.stages.neural.fsgan_crop import Crop, compute_face_crop, cut_crop

__all__ = ["ClipFaces", "FaceLayout", "FaceSet", "collect_faces", "load_faces", "save_faces", "select_usable_frames"]

log = logging.getLogger(__name__)

MARGIN_DIVISOR = 4  # the picture has a quarter of the crop more on every side
MAX_FACES = 500  # of all clips together; of more, evenly spread ones
MIN_CONFIDENCE = 0.3  # confidence below which a face is left out


@dataclass(frozen=True)
class FaceLayout:
    """What a network is shown. resolution: side of its square input, pixels, a multiple of 32. crop: side of the crop
    in units of the face's box. landmarks: 68 or 98."""

    resolution: int = 256
    crop: float = 1.2
    landmarks: int = 68

    def __post_init__(self) -> None:
        if self.resolution < 32 or self.resolution > 1024 or self.resolution % 32:
            raise InputError(f"resolution = {self.resolution} is not a multiple of 32 from 32 to 1024")
        if not 0.5 <= self.crop <= 4.0:
            raise InputError(f"crop = {self.crop} is out of range; it goes from 0.5 to 4")
        if self.landmarks not in (68, 98):
            raise InputError(f"landmarks = {self.landmarks} is not known; there are 68 and 98")

    @property
    def margin(self) -> int:
        """Pixels that a picture has more than the crop, on each side."""
        return self.resolution // MARGIN_DIVISOR

    @property
    def side(self) -> int:
        """Side of a stored picture, pixels."""
        return self.resolution + 2 * self.margin


@dataclass(frozen=True)
class ClipFaces:
    """A clip to collect from. read: a frame's plate (R, G, B in the codec's space). faces: of one person, by frame."""

    name: str
    read_plate: Callable[[int], Plate]
    faces: Mapping[int, Face]
    codec: Codec
    pixel_aspect: float = 1.0


@dataclass(frozen=True)
class FaceSet:
    """Faces ready for training.

    pictures: uint8 (n, side, side, 3), RGB, display-like, square pixels, black outside the plate. landmarks: float32
    (n, 68, 2), x and y as shares of the crop. points: float32 (n, 68 or 98, 2), likewise, those that the network is
    shown. clips, frames: int64 (n,), where each comes from. Of prepared faces also angles: float32 (n, 3), yaw, pitch
    and roll in degrees; mattes: uint8 (n, side, side, 4), contract.layers.MATTES as the geometric engine measures them.
    """

    layout: FaceLayout
    pictures: np.ndarray
    landmarks: np.ndarray
    points: np.ndarray
    clips: np.ndarray
    frames: np.ndarray
    angles: np.ndarray | None = None
    mattes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def resize_to(self, resolution: int) -> FaceSet:
        """The same faces for a smaller input. Raises InputError for a larger one."""
        if resolution == self.layout.resolution:
            return self
        if resolution > self.layout.resolution:
            raise InputError(
                f"these faces were prepared for {self.layout.resolution} pixels and {resolution} are "
                "wanted; prepare them again with a larger --resolution"
            )
        layout = replace(self.layout, resolution=resolution)
        mattes = None if self.mattes is None else _shrink_pictures(self.mattes, layout.side)
        return replace(self, layout=layout, pictures=_shrink_pictures(self.pictures, layout.side), mattes=mattes)

    def get_crop(self, index: int) -> np.ndarray:
        """uint8 (resolution, resolution, 3): what the network sees of that face."""
        margin, size = self.layout.margin, self.layout.resolution
        return self.pictures[index, margin : margin + size, margin : margin + size]


def select_usable_frames(clips: Sequence[ClipFaces], max_faces: int = MAX_FACES) -> list[tuple[int, int]]:
    """(clip, frame) of the faces that are taken: seen, not interpolated, and sure enough; evenly spread where there
    are more than `most`. Clips with a single such face are left out: there is nothing to pair it with.

    Raises NoFaceError where no clip has two.
    """
    found = []
    for number, clip in enumerate(clips):
        good = [
            frame
            for frame, face in sorted(clip.faces.items())
            if face.origin != "bridged" and face.confidence >= MIN_CONFIDENCE
        ]
        if len(good) >= 2:
            found += [(number, frame) for frame in good]
        else:
            log.warning(
                "%s shows the face clearly in %d frame(s); training needs two at least, it is left out",
                clip.name,
                len(good),
            )
    if not found:
        raise NoFaceError("training needs a source that shows the face in at least two frames; give a longer clip")
    return [found[place] for place in sample_evenly(len(found), max_faces)]


def collect_faces(
    clips: Sequence[ClipFaces],
    layout: FaceLayout,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    max_faces: int = MAX_FACES,
    mattes: MaskParams | None = None,
) -> FaceSet:
    """Reads the faces of `clips`, `most` at most. listen(done, total) is called after each. mattes: how they are
    measured; None: they are not.

    Frames that cannot be read are logged and left out. Raises NoFaceError (fewer than two faces), EngineError (98
    landmarks are wanted and the tracks have 68), PlateError (no frame can be read).
    """
    wanted = select_usable_frames(clips, max_faces)
    pictures, landmarks, points, places, angles, measured = [], [], [], [], [], []
    trouble: PlateError | None = None

    def read_place(place: int) -> Plate | PlateError:
        number, frame = wanted[place]
        try:
            return clips[number].read_plate(frame)
        except PlateError as error:
            return error

    for place, plate in read_ahead(read_place, range(len(wanted)), workers=1, ahead=2):
        number, frame = wanted[place]
        clip = clips[number]
        face = clip.faces[frame]
        if isinstance(plate, PlateError):
            trouble = trouble or plate
            log.warning("frame %d of %s is left out: %s", frame, clip.name, plate)
            continue
        crop = _compute_crop(face, clip.pixel_aspect, layout)
        pictures.append(_cut_picture(plate, crop, clip, layout))
        if mattes is not None:
            measured.append(_cut_mattes(plate, face, crop, clip, layout, mattes))
        angles.append(face.euler)
        landmarks.append(crop.normalise_points(face.landmarks).astype(np.float32))
        points.append(crop.normalise_points(_get_network_landmarks(face, layout)).astype(np.float32))
        places.append((number, frame))
        if on_progress is not None:
            on_progress(place + 1, len(wanted))
    if len(pictures) < 2:
        raise trouble or NoFaceError("fewer than two faces could be read")
    where = np.array(places, np.int64)
    return FaceSet(
        layout,
        np.stack(pictures),
        np.stack(landmarks),
        np.stack(points),
        where[:, 0],
        where[:, 1],
        np.array(angles, np.float32),
        np.stack(measured) if measured else None,
    )


def save_faces(path: Path, faces: FaceSet, key: str) -> None:
    """Keeps the faces beside a run, so that it goes on with the very same pixels. Raises OutputError."""
    layout = np.array([faces.layout.resolution, faces.layout.crop, faces.layout.landmarks], np.float64)
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            key=np.array(key),
            layout=layout,
            pictures=faces.pictures,
            landmarks=faces.landmarks,
            points=faces.points,
            clips=faces.clips,
            frames=faces.frames,
        )


def load_faces(path: Path, key: str) -> FaceSet | None:
    """What `save_faces` wrote under that key; None where it is not there, broken, or of another run."""
    if not path.is_file():
        return None
    try:
        # numpy leaves a broken file open that it has opened itself.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            if str(data["key"]) != key:
                return None
            resolution, crop, count = data["layout"]
            layout = FaceLayout(int(resolution), float(crop), int(count))
            return FaceSet(layout, data["pictures"], data["landmarks"], data["points"], data["clips"], data["frames"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is not usable and is made again: %s", path, error)
        return None


def _get_network_landmarks(face: Face, layout: FaceLayout) -> np.ndarray:
    """The landmarks that the network takes, plate coordinates."""
    if layout.landmarks == 68:
        return face.landmarks
    wflw = getattr(face, "wflw", None)
    if wflw is None:
        raise EngineError(
            "this network takes 98 landmarks and the track has 68; set analyse.landmarks=hrnet (its "
            "weights must be installed) and analyse again"
        )
    return np.asarray(wflw)


def _compute_crop(face: Face, aspect: float, layout: FaceLayout) -> Crop:
    return compute_face_crop(face, layout.crop, layout.resolution, aspect)


def _widen_crop(crop: Crop, layout: FaceLayout) -> Crop:
    """The crop and what is around it."""
    across, down = crop.width / MARGIN_DIVISOR, crop.height / MARGIN_DIVISOR
    return replace(
        crop,
        left=crop.left - across,
        top=crop.top - down,
        width=crop.width + 2 * across,
        height=crop.height + 2 * down,
        size=layout.side,
    )


def _cut_picture(plate: Plate, crop: Crop, clip: ClipFaces, layout: FaceLayout) -> np.ndarray:
    """uint8 (side, side, 3)."""
    wide = _widen_crop(crop, layout)
    window = wide.window()
    shown = to_display(plate, window, clip.codec) * mark_plate_area(plate, window)[..., None]
    return _to_bytes(cut_crop(shown, window, wide))


def _cut_mattes(
    plate: Plate, face: Face, crop: Crop, clip: ClipFaces, layout: FaceLayout, params: MaskParams
) -> np.ndarray:
    """uint8 (side, side, 4)."""
    wide = _widen_crop(crop, layout)
    measured = measure_mattes(FaceFrame(plate, face, wide.window(), clip.codec), params=params)
    return _to_bytes(cut_crop(measured.pixels, measured.data_window, wide, "linear"))


def _shrink_pictures(pictures: np.ndarray, side: int) -> np.ndarray:
    """uint8 (n, side, side, c) of (n, larger, larger, c)."""
    return np.stack([cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) for picture in pictures])


def _to_bytes(shares: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
    return result
