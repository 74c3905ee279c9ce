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

from fsgan_core.contract.params import ReenactParams
from fsgan_core.faces.geometry import apply, sampled
from fsgan_core.faces.identity import CHIP, chip_matrix, face_chip
from fsgan_core.faces.landmarks import MOUTH_INNER, MOUTH_OUTER
from fsgan_core.faces.pose import MIRROR
from fsgan_core.plates.plate import Window
from fsgan_core.stages import warp_points
from fsgan_core.stages.image_ops import polygon_matte
from fsgan_core.stages.performance import LOWER_LIDS, LOWER_LIPS, UPPER_LIDS, UPPER_LIPS
from fsgan_core.stages.reenact import spline_stiffness
from fsgan_core.stages.views import ViewRef
from fsgan_core.stages.warp import spline_shares

if TYPE_CHECKING:
    from torch import Tensor

    from fsgan_core.networks.architectures.dlib_resnet import FaceResNet

OFF_LANDMARKS = 0.37  # of a descriptor's unit: what one percent of the eyes' distance off the landmarks costs
MISREAD = 0.02  # of the eyes' distance: lips that far off count half; further off they are misread, not misplaced
FAR = 0.01  # of a descriptor's unit per mm squared: what a move costs for itself
STEPS, STEP = 60, 0.15  # mm
_LIPS = slice(MOUTH_OUTER.start, MOUTH_INNER.stop)
FINER, BESIDE = 1.5, 33  # times a chip's pixels, and pixels of a chip around it: what is kept of a view
MOUTH_GROWN = 1.6  # times the lips' size: what counts as the mouth
SOFT, LIGHT = 4.0, 16.0  # pixels of a chip: what edges fade by; and what is coarser is light
CHIP_WINDOW = Window(0, 0, CHIP, CHIP)
NODES = 39  # across the face: where the spline is evaluated; in between it is interpolated


def _together() -> np.ndarray:
    """float32 (68, 68): upper and lower lid, and the inner lips, move as one: what is shut stays shut."""
    share = np.eye(68, dtype=np.float32)
    upper, lower = np.r_[UPPER_LIDS, UPPER_LIPS], np.r_[LOWER_LIDS, LOWER_LIPS]
    share[upper] = share[lower] = (share[upper] + share[lower]) / 2
    return share


TOGETHER = _together()


@dataclass(frozen=True)
class Recognition:
    """moves: (68, 3) mm, how far each landmark that the warp aims at is to move in every frame. unlike: of views that
    were looked at, `unlikeness`."""

    moves: np.ndarray
    unlike: Mapping[ViewRef, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ShownFace:
    """picture: uint8 (h, w, 3), display values, square pixels. landmarks: (68, 2) in it."""

    picture: np.ndarray
    landmarks: np.ndarray

    def mirrored(self) -> ShownFace:
        """Flipped, left for right."""
        return ShownFace(np.ascontiguousarray(self.picture[:, ::-1]),
                         ((self.picture.shape[1] - 1, 0) + self.landmarks * (-1, 1))[MIRROR])


@dataclass(frozen=True)
class SwappedFrame:
    """A frame that wears the new face already, its features where the target's are.

    picture: uint8 (h, w, 3), display values, square pixels. matte: float32 (h, w), how much of the new face is in it.
    found: (68, 2) landmarks in it. wanted: (68, 2) those that the target has there, read likewise.
    """

    picture: np.ndarray
    matte: np.ndarray
    found: np.ndarray
    wanted: np.ndarray


def recognisable(frames: Sequence[SwappedFrame], person: np.ndarray, network: FaceResNet,
                 told: Callable[[int, int], None] = lambda done, total: None) -> np.ndarray:
    """(68, 3) mm on the head, depth 0: the moves that let `network` see `person` (n, 128), its descriptors of the
    source, in `frames`. told: hears of each step, done of total."""
    import torch

    from fsgan_core.networks.architectures.dlib_resnet import distances

    seen = [_Seen.of(frame) for frame in frames]
    chips, mattes, found, off = (torch.from_numpy(np.stack([getattr(one, name) for one in seen]))
                                 for name in ("chip", "matte", "found", "off"))
    fields, eyes = [torch.from_numpy(one.field) for one in seen], torch.tensor([one.eyes for one in seen])
    far_off = (off[:, _LIPS].norm(dim=2) / eyes[:, None]).mean(0)
    off[:, _LIPS] /= (1 + (far_off / MISREAD) ** 2)[:, None]
    wanted = torch.from_numpy(person.astype(np.float32))
    together = torch.from_numpy(TOGETHER)
    free = torch.zeros(68, 2, requires_grad=True)
    optimizer = torch.optim.Adam([free], lr=STEP)
    for step in range(STEPS):
        told(step, STEPS)
        moves = together @ free
        motion = torch.stack([torch.einsum("cyxki,ki->cyx", field, moves) for field in fields])
        motion = mattes * torch.nn.functional.interpolate(motion, size=chips.shape[2:], mode="bicubic",
                                                          align_corners=True)
        away = distances(network(_moved(chips, motion)), wanted).amin(1).mean()
        missed = (off + _at(motion, found)).norm(dim=2).mean(1) / eyes
        loss = away + OFF_LANDMARKS * 100 * missed.mean() + FAR * (moves**2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moves = together @ free
    return np.column_stack([moves.detach().numpy().astype(np.float64), np.zeros(68)])


def descriptors(faces: Iterable[ShownFace], network: FaceResNet) -> np.ndarray:
    """(n, 128): `network`'s descriptor of each."""
    return np.array([_described(face_chip(face.picture, face.landmarks)[None], network)[0].numpy() for face in faces])


def _described(chips: np.ndarray, network: FaceResNet) -> Tensor:
    """(n, 128) of aligned chips (n, 150, 150, 3), 0..255."""
    import torch

    with torch.no_grad():
        return network(torch.from_numpy(chips.astype(np.float32)).permute(0, 3, 1, 2))


def close_up(face: ShownFace) -> ShownFace:
    """As much of it as a chip of the bent face can show, not much finer than that."""
    matrix = chip_matrix(face.landmarks) * FINER
    matrix[:, 2] += BESIDE * FINER
    return ShownFace(sampled(face.picture, matrix, round((CHIP + 2 * BESIDE) * FINER)), apply(matrix, face.landmarks))


def unlikeness(views: Sequence[ShownFace], targets: Sequence[ShownFace], person: np.ndarray, network: FaceResNet,
               told: Callable[[int, int], None] = lambda done, total: None) -> np.ndarray:
    """(v,) how far each view is from its person when it wears the target's face, in a swap as coarse as the
    descriptor's picture. Mean over `targets` and `person`, in the descriptor's unit. All wear one mouth, the mean of
    theirs: what a mouth does in a frame, and a network may well like, is no likeness.

    views: `close_up`. targets: some of the target's frames. person: (n, 128), `network`'s descriptors of the source.
    told: hears of each view, done of total.
    """
    import torch

    from fsgan_core.networks.architectures.dlib_resnet import distances

    chips = np.stack([_bent(views, target.landmarks) for target in targets], 1)
    mean = chips.mean(0, dtype=np.float32)
    heads = np.stack([face_chip(target.picture, target.landmarks) for target in targets]).astype(np.float32)
    mouths, faces = (np.stack([part(target.landmarks) for target in targets])[..., None] for part in (_mouth, _face))
    light = _blurred(heads * faces)
    wanted = torch.from_numpy(person.astype(np.float32))
    found = []
    for number, one in enumerate(chips):
        told(number, len(chips))
        face = one + mouths * (mean - one)
        lit = np.clip(face * np.clip(light / _blurred(face * faces), 0.25, 4.0), 0, 255)
        found.append(float(distances(_described(heads + faces * (lit - heads), network), wanted).mean()))
    return np.array(found)


def _blurred(pictures: np.ndarray) -> np.ndarray:
    """(n, s, s, 3), what is coarser than LIGHT, never 0."""
    return np.stack([cv2.GaussianBlur(picture, (0, 0), LIGHT) for picture in pictures]) + 2.0


def _bent(views: Sequence[ShownFace], goal: np.ndarray) -> np.ndarray:
    """uint8 (v, s, s, 3): the chip of each view whose landmarks meet `goal`."""
    shares = _shares(goal, CHIP)
    maps = ((shares @ warp_points.control_points(view.landmarks)).T.reshape(2, CHIP, CHIP).astype(np.float32)
            for view in views)
    return np.stack([cv2.remap(view.picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                     for view, (x, y) in zip(views, maps, strict=True)])


def _mouth(goal: np.ndarray) -> np.ndarray:
    """float32 (s, s): the mouth with some of what moves with it, in the chip of `goal`."""
    lips = apply(chip_matrix(goal), goal)[MOUTH_OUTER]
    hull = cv2.convexHull(lips.astype(np.float32))[:, 0]
    return polygon_matte(hull.mean(0) + MOUTH_GROWN * (hull - hull.mean(0)), CHIP_WINDOW, SOFT)


def _face(goal: np.ndarray) -> np.ndarray:
    """float32 (s, s): the face's outline, its edge within, in the chip of `goal`."""
    parts = warp_points.outline(apply(chip_matrix(goal), goal))
    outline = np.maximum.reduce([polygon_matte(part, CHIP_WINDOW) for part in parts])
    side = 2 * round(SOFT) - 1
    return cv2.GaussianBlur(cv2.erode(outline, np.ones((side, side), np.uint8)), (0, 0), SOFT)


def _shares(landmarks: np.ndarray, nodes: int) -> np.ndarray:
    """(nodes * nodes, 82): how much a value at each control point counts at so many places across the face's chip."""
    line = np.linspace(0, CHIP - 1, nodes)
    places = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    knots = apply(chip_matrix(landmarks), warp_points.control_points(landmarks))
    return spline_shares(knots, places, spline_stiffness(ReenactParams().stiffness))


@dataclass(frozen=True)
class _Seen:
    """A frame as the descriptor sees it. chip: float32 (3, s, s). matte: (1, s, s). found: (68, 2) chip pixels. off:
    (68, 2), found minus wanted. eyes: distance of the outer corners. field: (2, n, n, 68, 2), how each landmark's
    millimetres move the picture at n x n places."""

    chip: np.ndarray
    matte: np.ndarray
    found: np.ndarray
    off: np.ndarray
    eyes: float
    field: np.ndarray

    @staticmethod
    def of(frame: SwappedFrame) -> _Seen:
        matrix = chip_matrix(frame.found)
        chip = sampled(frame.picture, matrix, CHIP).astype(np.float32)
        matte = np.clip(sampled(frame.matte, matrix, CHIP), 0, 1).astype(np.float32)
        found, wanted = apply(matrix, frame.found), apply(matrix, frame.wanted)
        shares = _shares(frame.found, NODES)
        follow = np.vstack([np.eye(68), warp_points.following(warp_points.FOREHEAD_POINTS)])
        moving = matrix[:, :2] @ warp_points.moving(frame.wanted)[..., :2]
        field = np.einsum("pk,kci->cpki", shares @ follow, moving).reshape(2, NODES, NODES, 68, 2)
        return _Seen(chip.transpose(2, 0, 1).copy(), matte[None], found.astype(np.float32),
                     (found - wanted).astype(np.float32), float(np.linalg.norm(wanted[36] - wanted[45])),
                     field.astype(np.float32))


def _moved(chips: Tensor, motion: Tensor) -> Tensor:
    """`chips` (n, 3, s, s) with everything moved by `motion` (n, 2, s, s), as far as it is smooth."""
    import torch

    side = chips.shape[-1]
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    places = torch.stack([x - motion[:, 0], y - motion[:, 1]], -1)
    return torch.nn.functional.grid_sample(chips, 2 * places / (side - 1) - 1, padding_mode="border",
                                           align_corners=True)


def _at(motion: Tensor, points: Tensor) -> Any:
    """(n, k, 2): `motion` (n, 2, s, s) at `points` (n, k, 2)."""
    import torch

    places = 2 * points[:, None] / (motion.shape[-1] - 1) - 1
    return torch.nn.functional.grid_sample(motion, places, align_corners=True)[:, :, 0].permute(0, 2, 1)
