"""Faces of clips as training data: one small square picture around each face, with its landmarks.

A picture covers more than the crop that a network sees, so that a face can be warped into another frame's crop without
missing pixels at the edge. The crop is the middle of the picture, pixel for pixel.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from fsgan_core.contract.errors import EngineError, InputError, NoFaceError, PlateError
from fsgan_core.contract.layers import MATTES
from fsgan_core.contract.params import MaskParams
from fsgan_core.faces.face import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.stream import read_ahead
from fsgan_core.runtime.array_files import ARRAY_FILE_ERRORS
from fsgan_core.runtime.arrays import Angles, Image, Image8, ImageStack8, IndexArray, Points, PointStack
from fsgan_core.runtime.atomic import write_atomically
from fsgan_core.runtime.sampling import sample_evenly
from fsgan_core.stages.image_ops import mark_plate_area, to_display
from fsgan_core.stages.interface import FaceFrame
from fsgan_core.stages.masking import measure_mattes
from fsgan_core.stages.neural.fsgan_crop import Crop, compute_face_crop, cut_crop

__all__ = ["ClipFaces", "FaceLayout", "FaceSet", "collect_faces", "load_faces", "save_faces", "select_usable_frames"]

log = logging.getLogger(__name__)

MARGIN_DIVISOR = 4  # the margin on each side of the crop is the crop's side divided by this
MAX_FACES = 500  # from all clips together, evenly spread
MIN_CONFIDENCE = 0.3  # faces with a lower confidence of the tracker are left out, 0 to 1


@dataclass(frozen=True)
class FaceLayout:
    """What a network is shown of a face.

    Attributes:
        resolution: Side of the network's square input in pixels, a multiple of 32.
        crop: Side of the crop, as a multiple of the face's box.
        landmarks: Number of landmarks, 68 or 98.

    Raises:
        InputError: A value is out of range.
    """

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
        """Pixels of a stored picture around the crop, on each side."""
        return self.resolution // MARGIN_DIVISOR

    @property
    def side(self) -> int:
        """Side of a stored picture in pixels."""
        return self.resolution + 2 * self.margin


@dataclass(frozen=True)
class ClipFaces:
    """A clip and the faces of one person in it.

    Attributes:
        name: Name of the clip.
        read_plate: Reads a frame: R, G, B in the codec's colour space.
        faces: The person's faces by frame.
        codec: Converts between the clip's colour space and display-like values.
        pixel_aspect: Width of a pixel divided by its height.
    """

    name: str
    read_plate: Callable[[int], Plate]
    faces: Mapping[int, Face]
    codec: Codec
    pixel_aspect: float = 1.0


@dataclass(frozen=True)
class FaceSet:
    """Faces ready for training.

    Attributes:
        layout: Resolution, crop and landmarks of the faces.
        pictures: uint8 (n, side, side, 3), RGB, display-like, square pixels, black outside the plate.
        landmarks: float32 (n, 68, 2), x and y as shares of the crop.
        points: Landmarks that the network is shown, float32 (n, 68 or 98, 2), as shares of the crop.
        clips: The clip of each face, int64 (n,).
        frames: The frame of each face, int64 (n,).
        angles: Yaw, pitch and roll in degrees, (n, 3); None if they were not measured.
        mattes: uint8 (n, side, side, 4), `contract.layers.MATTES` as the geometric engine measures them; None if they
            were not measured.
    """

    layout: FaceLayout
    pictures: ImageStack8
    landmarks: PointStack
    points: PointStack
    clips: IndexArray
    frames: IndexArray
    angles: Angles | None = None
    mattes: ImageStack8 | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def resize_to(self, resolution: int) -> FaceSet:
        """Shrink the faces to a smaller resolution, in pixels.

        Raises:
            InputError: The resolution is larger than that of the faces.
        """
        if resolution == self.layout.resolution:
            return self
        if resolution > self.layout.resolution:
            raise InputError(
                f"these faces were prepared for {self.layout.resolution} pixels, but {resolution} are "
                "needed; prepare them again with a larger --resolution"
            )
        layout = replace(self.layout, resolution=resolution)
        mattes = None if self.mattes is None else _shrink_pictures(self.mattes, layout.side)
        return replace(self, layout=layout, pictures=_shrink_pictures(self.pictures, layout.side), mattes=mattes)

    def get_crop(self, index: int) -> Image8:
        """Return the crop of a face, (resolution, resolution, 3): the part that the network sees."""
        margin, size = self.layout.margin, self.layout.resolution
        return self.pictures[index, margin : margin + size, margin : margin + size]


def select_usable_frames(clips: Sequence[ClipFaces], max_faces: int = MAX_FACES) -> list[tuple[int, int]]:
    """Select the frames whose faces are good enough for training.

    Faces must be detected, not interpolated, with enough confidence. Clips with one such face are left out, because
    training needs pairs.

    Args:
        clips: The clips.
        max_faces: Largest number of faces; if there are more, they are evenly spread.

    Returns:
        Pairs of a position in `clips` and a frame.

    Raises:
        NoFaceError: No clip has two such faces.
    """
    usable_frames = []
    for number, clip in enumerate(clips):
        clear_frames = [
            frame
            for frame, face in sorted(clip.faces.items())
            if face.origin != "bridged" and face.confidence >= MIN_CONFIDENCE
        ]
        if len(clear_frames) >= 2:
            usable_frames += [(number, frame) for frame in clear_frames]
        else:
            log.warning(
                "%s is left out: it shows the face clearly in %d frame(s), but training needs at least two",
                clip.name,
                len(clear_frames),
            )
    if not usable_frames:
        raise NoFaceError("training needs a source that shows the face in at least two frames; give a longer clip")
    return [usable_frames[position] for position in sample_evenly(len(usable_frames), max_faces)]


def collect_faces(
    clips: Sequence[ClipFaces],
    layout: FaceLayout,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    max_faces: int = MAX_FACES,
    mattes: MaskParams | None = None,
) -> FaceSet:
    """Cut the faces out of clips.

    Frames that cannot be read are logged and left out.

    Args:
        clips: The clips.
        layout: Resolution, crop and landmarks of the faces.
        on_progress: Called with the faces done and their total after each face.
        max_faces: Largest number of faces.
        mattes: Parameters for measuring the mattes; None measures none.

    Raises:
        NoFaceError: There are fewer than two faces.
        EngineError: The layout has 98 landmarks, but the tracks have 68.
        PlateError: The frames cannot be read.
    """
    usable_frames = select_usable_frames(clips, max_faces)
    pictures, landmarks, points, origins, angles, measured = [], [], [], [], [], []
    first_error: PlateError | None = None

    def read_position(position: int) -> Plate | PlateError:
        number, frame = usable_frames[position]
        try:
            return clips[number].read_plate(frame)
        except PlateError as error:
            return error

    for position, plate in read_ahead(read_position, range(len(usable_frames)), workers=1, ahead=2):
        number, frame = usable_frames[position]
        clip = clips[number]
        face = clip.faces[frame]
        if isinstance(plate, PlateError):
            first_error = first_error or plate
            log.warning("frame %d of %s is left out: %s", frame, clip.name, plate)
            continue
        crop = _compute_crop(face, clip.pixel_aspect, layout)
        pictures.append(_cut_picture(plate, crop, clip, layout))
        if mattes is not None:
            measured.append(_cut_mattes(plate, face, crop, clip, layout, mattes))
        angles.append(face.euler)
        landmarks.append(crop.normalise_points(face.landmarks).astype(np.float32))
        points.append(crop.normalise_points(_get_network_landmarks(face, layout)).astype(np.float32))
        origins.append((number, frame))
        if on_progress is not None:
            on_progress(position + 1, len(usable_frames))
    if len(pictures) < 2:
        raise first_error or NoFaceError("fewer than two faces could be read")
    origin_array = np.array(origins, np.int64)
    return FaceSet(
        layout,
        np.stack(pictures),
        np.stack(landmarks),
        np.stack(points),
        origin_array[:, 0],
        origin_array[:, 1],
        np.array(angles, np.float32),
        np.stack(measured) if measured else None,
    )


def save_faces(path: Path, faces: FaceSet, key: str) -> None:
    """Save the faces of a run, so that it can continue with the same pixels.

    Raises:
        OutputError: The file cannot be written.
    """
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
    """Load the faces that `save_faces` wrote; None if the file is missing, broken or has another key."""
    if not path.is_file():
        return None
    try:
        # If numpy opens a broken file itself, it does not close it.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            if str(data["key"]) != key:
                return None
            resolution, crop, count = data["layout"]
            layout = FaceLayout(int(resolution), float(crop), int(count))
            return FaceSet(layout, data["pictures"], data["landmarks"], data["points"], data["clips"], data["frames"])
    except ARRAY_FILE_ERRORS as error:
        log.warning("%s is not usable; the faces are cut out again: %s", path, error)
        return None


def _get_network_landmarks(face: Face, layout: FaceLayout) -> Points:
    """Return the landmarks that the network takes, in plate coordinates."""
    if layout.landmarks == 68:
        return face.landmarks
    wflw = getattr(face, "wflw", None)
    if wflw is None:
        raise EngineError(
            "this network needs 98 landmarks, but the track has 68; set analyse.landmarks=hrnet (its "
            "weights must be installed) and analyse again"
        )
    return np.asarray(wflw)


def _compute_crop(face: Face, aspect: float, layout: FaceLayout) -> Crop:
    return compute_face_crop(face, layout.crop, layout.resolution, aspect)


def _widen_crop(crop: Crop, layout: FaceLayout) -> Crop:
    """Widen a crop by its margin."""
    across, down = crop.width / MARGIN_DIVISOR, crop.height / MARGIN_DIVISOR
    return replace(
        crop,
        left=crop.left - across,
        top=crop.top - down,
        width=crop.width + 2 * across,
        height=crop.height + 2 * down,
        size=layout.side,
    )


def _cut_picture(plate: Plate, crop: Crop, clip: ClipFaces, layout: FaceLayout) -> Image8:
    wide = _widen_crop(crop, layout)
    window = wide.window()
    display_values = to_display(plate, window, clip.codec) * mark_plate_area(plate, window)[..., None]
    return _to_bytes(cut_crop(display_values, window, wide))


def _cut_mattes(
    plate: Plate, face: Face, crop: Crop, clip: ClipFaces, layout: FaceLayout, params: MaskParams
) -> Image8:
    """Measure the mattes of a face, uint8 (side, side, 4)."""
    wide = _widen_crop(crop, layout)
    measured = measure_mattes(FaceFrame(plate, face, wide.window(), clip.codec), params=params)
    return _to_bytes(cut_crop(measured.get(*MATTES), measured.data_window, wide, "linear"))


def _shrink_pictures(pictures: ImageStack8, side: int) -> ImageStack8:
    """Shrink pictures, uint8 (n, larger, larger, channels), to `side` pixels."""
    return np.stack([cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) for picture in pictures])


def _to_bytes(values: Image) -> Image8:
    result: Image8 = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return result
