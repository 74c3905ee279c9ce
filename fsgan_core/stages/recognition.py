"""A face that is recognised: by views in which the person still is when they are bent to the target's face, and by
small moves of the landmarks aimed at, alike in every frame of a shot, found by a gradient through a face descriptor.

How much of its person a bent view shows, no landmark says; the descriptor looks at it. And a face that meets the
target's landmarks has the target's proportions and is half a stranger; one that keeps its own misses the pose and
expression by as much. Which millimetres make a likeness differs from face to face, and the descriptor knows: of all
small moves it shows those that bring the most likeness for the least way off the target's landmarks. Only the warp's
smooth bending is at its disposal, no colour and no texture: what it cannot do by moving features it does not do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fsgan_core.contract.landmarks import MOUTH_INNER, MOUTH_OUTER
from fsgan_core.contract.params import ReenactParams
from fsgan_core.faces.geometry import apply_affine, sample_crop
from fsgan_core.faces.identity import CHIP_SIDE, crop_face_chip, fit_chip_matrix
from fsgan_core.faces.pose import MIRROR_ORDER
from fsgan_core.plates.plate import Window
from fsgan_core.stages import warp_points
from fsgan_core.stages.image_ops import draw_polygon
from fsgan_core.stages.motion.performance import LOWER_LIDS, LOWER_LIPS, UPPER_LIDS, UPPER_LIPS
from fsgan_core.stages.reenactment import make_spline_stiffness
from fsgan_core.stages.views import ViewRef
from fsgan_core.stages.warp import compute_spline_shares

if TYPE_CHECKING:
    from torch import Tensor

    from fsgan_core.networks.architectures.dlib_resnet import FaceResNet

LANDMARK_COST = 0.37  # of a descriptor's unit: what one percent of the eyes' distance off the landmarks costs
MISREAD_SHARE = 0.02  # of the eyes' distance: lips that far off count half; further off they are misread, not misplaced
MOVE_COST = 0.01  # of a descriptor's unit per mm squared: what a move costs for itself
SEARCH_STEPS, SEARCH_STEP_SIZE = 60, 0.15  # mm
_ALL_LIPS = slice(MOUTH_OUTER.start, MOUTH_INNER.stop)
CLOSE_UP_SCALE, CLOSE_UP_MARGIN = (
    1.5,
    33,
)  # times a chip's pixels, and pixels of a chip around it: what is kept of a view
MOUTH_GROWTH = 1.6  # times the lips' size: what counts as the mouth
CHIP_EDGE_SIGMA, LIGHT_SIGMA = 4.0, 16.0  # pixels of a chip: what edges fade by; and what is coarser is light
CHIP_WINDOW = Window(0, 0, CHIP_SIDE, CHIP_SIDE)
SPLINE_NODES = 39  # across the face: where the spline is evaluated; in between it is interpolated


def _pair_landmarks() -> np.ndarray:
    """float32 (68, 68): upper and lower lid, and the inner lips, move as one: what is shut stays shut."""
    share = np.eye(68, dtype=np.float32)
    upper, lower = np.r_[UPPER_LIDS, UPPER_LIPS], np.r_[LOWER_LIDS, LOWER_LIPS]
    share[upper] = share[lower] = (share[upper] + share[lower]) / 2
    return share


LANDMARK_PAIRING = _pair_landmarks()


@dataclass(frozen=True)
class Recognition:
    """moves: (68, 3) mm, how far each landmark that the warp aims at is to move in every frame. unlike: of views that
    were looked at, `unlikeness`."""

    moves: np.ndarray
    unlikeness: Mapping[ViewRef, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ShownFace:
    """picture: uint8 (h, w, 3), display values, square pixels. landmarks: (68, 2) in it."""

    picture: np.ndarray
    landmarks: np.ndarray

    def mirror(self) -> ShownFace:
        """Flipped, left for right."""
        return ShownFace(
            np.ascontiguousarray(self.picture[:, ::-1]),
            ((self.picture.shape[1] - 1, 0) + self.landmarks * (-1, 1))[MIRROR_ORDER],
        )


@dataclass(frozen=True)
class SwappedFrame:
    """A frame that wears the new face already, its features where the target's are.

    picture: uint8 (h, w, 3), display values, square pixels. matte: float32 (h, w), how much of the new face is in it.
    found: (68, 2) landmarks in it. wanted: (68, 2) those that the target has there, read likewise.
    """

    picture: np.ndarray
    matte: np.ndarray
    found_landmarks: np.ndarray
    target_landmarks: np.ndarray


def find_recognition_moves(
    frames: Sequence[SwappedFrame],
    person: np.ndarray,
    network: FaceResNet,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """(68, 3) mm on the head, depth 0: the moves that let `network` see `person` (n, 128), its descriptors of the
    source, in `frames`. told: hears of each step, done of total."""
    import torch

    from fsgan_core.networks.architectures.dlib_resnet import measure_distances

    seen = [_FrameChip.from_frame(frame) for frame in frames]
    chips, mattes, found, off = (
        torch.from_numpy(np.stack([getattr(one, name) for one in seen]))
        for name in ("chip", "matte", "landmarks", "offsets")
    )
    fields, eyes = (
        [torch.from_numpy(one.motion_basis) for one in seen],
        torch.tensor([one.eye_distance for one in seen]),
    )
    far_off = (off[:, _ALL_LIPS].norm(dim=2) / eyes[:, None]).mean(0)
    off[:, _ALL_LIPS] /= (1 + (far_off / MISREAD_SHARE) ** 2)[:, None]
    wanted = torch.from_numpy(person.astype(np.float32))
    together = torch.from_numpy(LANDMARK_PAIRING)
    free = torch.zeros(68, 2, requires_grad=True)
    optimizer = torch.optim.Adam([free], lr=SEARCH_STEP_SIZE)
    for step in range(SEARCH_STEPS):
        on_progress(step, SEARCH_STEPS)
        moves = together @ free
        motion = torch.stack([torch.einsum("cyxki,ki->cyx", field, moves) for field in fields])
        motion = mattes * torch.nn.functional.interpolate(
            motion, size=chips.shape[2:], mode="bicubic", align_corners=True
        )
        away = measure_distances(network(_warp_chips(chips, motion)), wanted).amin(1).mean()
        missed = (off + _sample_motion(motion, found)).norm(dim=2).mean(1) / eyes
        loss = away + LANDMARK_COST * 100 * missed.mean() + MOVE_COST * (moves**2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moves = together @ free
    return np.column_stack([moves.detach().numpy().astype(np.float64), np.zeros(68)])


def compute_descriptors(faces: Iterable[ShownFace], network: FaceResNet) -> np.ndarray:
    """(n, 128): `network`'s descriptor of each."""
    return np.array(
        [_describe_chips(crop_face_chip(face.picture, face.landmarks)[None], network)[0].numpy() for face in faces]
    )


def _describe_chips(chips: np.ndarray, network: FaceResNet) -> Tensor:
    """(n, 128) of aligned chips (n, 150, 150, 3), 0..255."""
    import torch

    with torch.no_grad():
        return network(torch.from_numpy(chips.astype(np.float32)).permute(0, 3, 1, 2))


def make_close_up(face: ShownFace) -> ShownFace:
    """As much of it as a chip of the bent face can show, not much finer than that."""
    matrix = fit_chip_matrix(face.landmarks) * CLOSE_UP_SCALE
    matrix[:, 2] += CLOSE_UP_MARGIN * CLOSE_UP_SCALE
    return ShownFace(
        sample_crop(face.picture, matrix, round((CHIP_SIDE + 2 * CLOSE_UP_MARGIN) * CLOSE_UP_SCALE)),
        apply_affine(matrix, face.landmarks),
    )


def measure_unlikeness(
    views: Sequence[ShownFace],
    targets: Sequence[ShownFace],
    person: np.ndarray,
    network: FaceResNet,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """(v,) how far each view is from its person when it wears the target's face, in a swap as coarse as the
    descriptor's picture. Mean over `targets` and `person`, in the descriptor's unit. All wear one mouth, the mean of
    theirs: what a mouth does in a frame, and a network may well like, is no likeness.

    views: `close_up`. targets: some of the target's frames. person: (n, 128), `network`'s descriptors of the source.
    told: hears of each view, done of total.
    """
    import torch

    from fsgan_core.networks.architectures.dlib_resnet import measure_distances

    chips = np.stack([_bend_views(views, target.landmarks) for target in targets], 1)
    mean = chips.mean(0, dtype=np.float32)
    heads = np.stack([crop_face_chip(target.picture, target.landmarks) for target in targets]).astype(np.float32)
    mouths, faces = (
        np.stack([part(target.landmarks) for target in targets])[..., None] for part in (_draw_mouth, _draw_face)
    )
    light = _blur_light(heads * faces)
    wanted = torch.from_numpy(person.astype(np.float32))
    found = []
    for number, one in enumerate(chips):
        on_progress(number, len(chips))
        face = one + mouths * (mean - one)
        lit = np.clip(face * np.clip(light / _blur_light(face * faces), 0.25, 4.0), 0, 255)
        found.append(float(measure_distances(_describe_chips(heads + faces * (lit - heads), network), wanted).mean()))
    return np.array(found)


def _blur_light(pictures: np.ndarray) -> np.ndarray:
    """(n, s, s, 3), what is coarser than LIGHT, never 0."""
    return np.stack([cv2.GaussianBlur(picture, (0, 0), LIGHT_SIGMA) for picture in pictures]) + 2.0


def _bend_views(views: Sequence[ShownFace], goal: np.ndarray) -> np.ndarray:
    """uint8 (v, s, s, 3): the chip of each view whose landmarks meet `goal`."""
    shares = _compute_chip_shares(goal, CHIP_SIDE)
    maps = (
        (shares @ warp_points.compute_control_points(view.landmarks))
        .T.reshape(2, CHIP_SIDE, CHIP_SIDE)
        .astype(np.float32)
        for view in views
    )
    return np.stack(
        [
            cv2.remap(view.picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for view, (x, y) in zip(views, maps, strict=True)
        ]
    )


def _draw_mouth(goal: np.ndarray) -> np.ndarray:
    """float32 (s, s): the mouth with some of what moves with it, in the chip of `goal`."""
    lips = apply_affine(fit_chip_matrix(goal), goal)[MOUTH_OUTER]
    hull = cv2.convexHull(lips.astype(np.float32))[:, 0]
    return draw_polygon(hull.mean(0) + MOUTH_GROWTH * (hull - hull.mean(0)), CHIP_WINDOW, CHIP_EDGE_SIGMA)


def _draw_face(goal: np.ndarray) -> np.ndarray:
    """float32 (s, s): the face's outline, its edge within, in the chip of `goal`."""
    parts = warp_points.compute_outline(apply_affine(fit_chip_matrix(goal), goal))
    outline = np.maximum.reduce([draw_polygon(part, CHIP_WINDOW) for part in parts])
    side = 2 * round(CHIP_EDGE_SIGMA) - 1
    return cv2.GaussianBlur(cv2.erode(outline, np.ones((side, side), np.uint8)), (0, 0), CHIP_EDGE_SIGMA)


def _compute_chip_shares(landmarks: np.ndarray, nodes: int) -> np.ndarray:
    """(nodes * nodes, 82): how much a value at each control point counts at so many places across the face's chip."""
    line = np.linspace(0, CHIP_SIDE - 1, nodes)
    places = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    knots = apply_affine(fit_chip_matrix(landmarks), warp_points.compute_control_points(landmarks))
    return compute_spline_shares(knots, places, make_spline_stiffness(ReenactParams().stiffness))


@dataclass(frozen=True)
class _FrameChip:
    """A frame as the descriptor sees it. chip: float32 (3, s, s). matte: (1, s, s). found: (68, 2) chip pixels. off:
    (68, 2), found minus wanted. eyes: distance of the outer corners. field: (2, n, n, 68, 2), how each landmark's
    millimetres move the picture at n x n places."""

    chip: np.ndarray
    matte: np.ndarray
    landmarks: np.ndarray
    offsets: np.ndarray
    eye_distance: float
    motion_basis: np.ndarray

    @staticmethod
    def from_frame(frame: SwappedFrame) -> _FrameChip:
        matrix = fit_chip_matrix(frame.found_landmarks)
        chip = sample_crop(frame.picture, matrix, CHIP_SIDE).astype(np.float32)
        matte = np.clip(sample_crop(frame.matte, matrix, CHIP_SIDE), 0, 1).astype(np.float32)
        found, wanted = apply_affine(matrix, frame.found_landmarks), apply_affine(matrix, frame.target_landmarks)
        shares = _compute_chip_shares(frame.found_landmarks, SPLINE_NODES)
        follow = np.vstack([np.eye(68), warp_points.compute_forehead_shares(warp_points.FOREHEAD_POINTS)])
        moving = matrix[:, :2] @ warp_points.compute_landmark_jacobian(frame.target_landmarks)[..., :2]
        field = np.einsum("pk,kci->cpki", shares @ follow, moving).reshape(2, SPLINE_NODES, SPLINE_NODES, 68, 2)
        return _FrameChip(
            chip.transpose(2, 0, 1).copy(),
            matte[None],
            found.astype(np.float32),
            (found - wanted).astype(np.float32),
            float(np.linalg.norm(wanted[36] - wanted[45])),
            field.astype(np.float32),
        )


def _warp_chips(chips: Tensor, motion: Tensor) -> Tensor:
    """`chips` (n, 3, s, s) with everything moved by `motion` (n, 2, s, s), as far as it is smooth."""
    import torch

    side = chips.shape[-1]
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    places = torch.stack([x - motion[:, 0], y - motion[:, 1]], -1)
    return torch.nn.functional.grid_sample(
        chips, 2 * places / (side - 1) - 1, padding_mode="border", align_corners=True
    )


def _sample_motion(motion: Tensor, points: Tensor) -> Any:
    """(n, k, 2): `motion` (n, 2, s, s) at `points` (n, k, 2)."""
    import torch

    places = 2 * points[:, None] / (motion.shape[-1] - 1) - 1
    return torch.nn.functional.grid_sample(motion, places, align_corners=True)[:, :, 0].permute(0, 2, 1)
