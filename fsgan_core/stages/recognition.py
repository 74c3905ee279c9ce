"""Recognition: small changes that make the new face look more like its person, found with a face descriptor.

Landmarks do not tell how much of its person a warped view still shows; the descriptor measures it. A face that meets
the target's landmarks exactly has the target's proportions and is half a stranger; one that keeps its own proportions
misses pose and expression. Which millimetres matter differs from face to face. So a gradient through the descriptor
finds the small moves of landmarks, the same in every frame of a shot, that gain the most likeness for the least
distance from the target's landmarks. Only the smooth warp is changed, no colour and no texture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fsgan_core.contract.landmarks import LANDMARK_COUNT, MOUTH, MOUTH_OUTER, OUTER_EYE_CORNERS
from fsgan_core.contract.params import ReenactParams
from fsgan_core.faces.geometry import apply_affine, sample_crop
from fsgan_core.faces.identity import CHIP_SIDE, crop_face_chip, fit_chip_matrix
from fsgan_core.faces.pose import MIRROR_ORDER
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Image8, Matrix, Matte, Points, Points3D, Points68, Vector
from fsgan_core.stages import warp_points
from fsgan_core.stages.image_ops import draw_polygon
from fsgan_core.stages.motion.performance import LOWER_LIDS, LOWER_LIPS, UPPER_LIDS, UPPER_LIPS
from fsgan_core.stages.reenactment import make_spline_stiffness
from fsgan_core.stages.views import ViewRef
from fsgan_core.stages.warp import compute_spline_shares

if TYPE_CHECKING:
    from torch import Tensor

    from fsgan_core.networks.architectures.dlib_resnet import FaceResNet

# Costs, in the descriptor's unit of distance.
LANDMARK_COST = 0.37  # per percent of the eyes' distance off the target's landmarks
MISREAD_SHARE = 0.02  # of the eyes' distance: lips this far off count half, as they may be misread
MOVE_COST = 0.01  # per mm squared of a move
SEARCH_STEPS, SEARCH_STEP_SIZE = 60, 0.15  # of Adam; mm

# A chip is the descriptor's aligned picture of a face.
CHIP_WINDOW = Window(0, 0, CHIP_SIDE, CHIP_SIDE)
CLOSE_UP_SCALE = 1.5  # pixels of a close-up for each pixel of a chip
CLOSE_UP_MARGIN = 33  # pixels of a chip around it
MOUTH_GROWTH = 1.6  # times the size of the lips: what counts as the mouth
CHIP_EDGE_SIGMA, LIGHT_SIGMA = 4.0, 16.0  # pixels of a chip: softness of edges; what is coarser is light
LIGHT_FLOOR = 2.0  # of 255: added to light before it is divided by
LIGHT_GAIN_LIMIT = 4.0  # largest change of light, either way
SPLINE_NODES = 39  # across the face: the spline is evaluated there and interpolated between


def _pair_landmarks() -> Matrix:
    """(68, 68) averages that move upper and lower lid, and the inner lips, as one, so that what is shut stays shut."""
    share = np.eye(LANDMARK_COUNT, dtype=np.float32)
    upper, lower = np.r_[UPPER_LIDS, UPPER_LIPS], np.r_[LOWER_LIDS, LOWER_LIPS]
    share[upper] = share[lower] = (share[upper] + share[lower]) / 2
    return share


LANDMARK_PAIRING = _pair_landmarks()


@dataclass(frozen=True)
class Recognition:
    """What recognition found for a shot.

    Attributes:
        moves: (68, 3) mm that each landmark the warp aims at moves, in every frame.
        unlikeness: `measure_unlikeness` of the views that were examined.
    """

    moves: Points3D
    unlikeness: Mapping[ViewRef, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ShownFace:
    """A picture of a face.

    Attributes:
        picture: Display values, square pixels.
        landmarks: In pixels of the picture.
    """

    picture: Image8
    landmarks: Points68

    def mirror(self) -> ShownFace:
        """Flip the picture, left for right."""
        return ShownFace(
            np.ascontiguousarray(self.picture[:, ::-1]),
            ((self.picture.shape[1] - 1, 0) + self.landmarks * (-1, 1))[MIRROR_ORDER],
        )


@dataclass(frozen=True)
class SwappedFrame:
    """A frame that already has the new face.

    Attributes:
        picture: Display values, square pixels.
        matte: How much of the new face is in it.
        found_landmarks: Landmarks found in the picture.
        target_landmarks: Landmarks that the target has there, found in the same way.
    """

    picture: Image8
    matte: Matte
    found_landmarks: Points68
    target_landmarks: Points68


def find_recognition_moves(
    frames: Sequence[SwappedFrame],
    person: Matrix,
    network: FaceResNet,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Points3D:
    """Search the moves of landmarks that make the new face look most like its person.

    Args:
        frames: Some frames of the shot, already swapped.
        person: (n, 128) the network's descriptors of the source.
        network: The face descriptor.
        on_progress: Called at each step with the steps done and their total.

    Returns:
        (68, 3) mm on the head, depth 0.
    """
    import torch

    from fsgan_core.networks.architectures.dlib_resnet import measure_distances

    seen = [_FrameChip.from_frame(frame) for frame in frames]
    chips, mattes, found, off = (
        torch.from_numpy(np.stack([getattr(one, name) for one in seen]))
        for name in ("chip", "matte", "landmarks", "offsets")
    )
    bases, eyes = (
        [torch.from_numpy(one.motion_basis) for one in seen],
        torch.tensor([one.eye_distance for one in seen]),
    )
    far_off = (off[:, MOUTH].norm(dim=2) / eyes[:, None]).mean(0)
    off[:, MOUTH] /= (1 + (far_off / MISREAD_SHARE) ** 2)[:, None]
    references = torch.from_numpy(person.astype(np.float32))
    pairing = torch.from_numpy(LANDMARK_PAIRING)
    parameters = torch.zeros(LANDMARK_COUNT, 2, requires_grad=True)
    optimizer = torch.optim.Adam([parameters], lr=SEARCH_STEP_SIZE)
    for step in range(SEARCH_STEPS):
        on_progress(step, SEARCH_STEPS)
        moves = pairing @ parameters
        motion = torch.stack([torch.einsum("cyxki,ki->cyx", basis, moves) for basis in bases])
        motion = mattes * torch.nn.functional.interpolate(
            motion, size=chips.shape[2:], mode="bicubic", align_corners=True
        )
        distance = measure_distances(network(_warp_chips(chips, motion)), references).amin(1).mean()
        missed = (off + _sample_motion(motion, found)).norm(dim=2).mean(1) / eyes
        loss = distance + LANDMARK_COST * 100 * missed.mean() + MOVE_COST * (moves**2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moves = pairing @ parameters
    return np.column_stack([moves.detach().numpy().astype(np.float64), np.zeros(LANDMARK_COUNT)])


def compute_descriptors(faces: Iterable[ShownFace], network: FaceResNet) -> Matrix:
    """Compute the network's descriptor of each face, (n, 128)."""
    return np.array(
        [_describe_chips(crop_face_chip(face.picture, face.landmarks)[None], network)[0].numpy() for face in faces]
    )


def _describe_chips(chips: Image8, network: FaceResNet) -> Tensor:
    """(n, 128) of aligned chips (n, CHIP_SIDE, CHIP_SIDE, 3), 0..255."""
    import torch

    with torch.no_grad():
        result: Tensor = network(torch.from_numpy(chips.astype(np.float32)).permute(0, 3, 1, 2))
        return result


def make_close_up(face: ShownFace) -> ShownFace:
    """Cut out as much of a face as a chip of the warped face can show, at not much more than the chip's resolution."""
    matrix = fit_chip_matrix(face.landmarks) * CLOSE_UP_SCALE
    matrix[:, 2] += CLOSE_UP_MARGIN * CLOSE_UP_SCALE
    return ShownFace(
        sample_crop(face.picture, matrix, round((CHIP_SIDE + 2 * CLOSE_UP_MARGIN) * CLOSE_UP_SCALE)),
        apply_affine(matrix, face.landmarks),
    )


def measure_unlikeness(
    views: Sequence[ShownFace],
    targets: Sequence[ShownFace],
    person: Matrix,
    network: FaceResNet,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Vector:
    """Measure how far each view is from its person when it is warped to the target's face.

    The swap is as coarse as the descriptor's picture. All views get the same mouth, the mean of theirs: how a mouth
    moves in one frame is no likeness.

    Args:
        views: Close-ups (`make_close_up`) of the source.
        targets: Some frames of the target.
        person: (n, 128) the network's descriptors of the source.
        network: The face descriptor.
        on_progress: Called for each view with the views done and their total.

    Returns:
        (views,) mean over `targets` and `person`, in the descriptor's unit of distance.
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
    references = torch.from_numpy(person.astype(np.float32))
    found = []
    for number, chip in enumerate(chips):
        on_progress(number, len(chips))
        face = chip + mouths * (mean - chip)
        lit = np.clip(face * np.clip(light / _blur_light(face * faces), 1 / LIGHT_GAIN_LIMIT, LIGHT_GAIN_LIMIT), 0, 255)
        descriptors = _describe_chips(heads + faces * (lit - heads), network)
        found.append(float(measure_distances(descriptors, references).mean()))
    return np.array(found)


def _blur_light(pictures: AnyArray) -> AnyArray:
    """What of pictures (n, side, side, 3) is coarser than LIGHT_SIGMA, never 0."""
    return np.stack([cv2.GaussianBlur(picture, (0, 0), LIGHT_SIGMA) for picture in pictures]) + LIGHT_FLOOR


def _bend_views(views: Sequence[ShownFace], goal: Points68) -> AnyArray:
    """The chip of each view warped to the landmarks `goal`: uint8 (views, side, side, 3)."""
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


def _draw_mouth(goal: Points68) -> Matte:
    """The mouth, and some of what moves with it, in the chip of `goal`."""
    lips = apply_affine(fit_chip_matrix(goal), goal)[MOUTH_OUTER]
    hull = np.asarray(cv2.convexHull(lips.astype(np.float32))[:, 0])
    return draw_polygon(hull.mean(0) + MOUTH_GROWTH * (hull - hull.mean(0)), CHIP_WINDOW, CHIP_EDGE_SIGMA)


def _draw_face(goal: Points68) -> Matte:
    """The face in the chip of `goal`, its soft edge inside the outline."""
    parts = warp_points.compute_outline(apply_affine(fit_chip_matrix(goal), goal))
    outline = np.maximum.reduce([draw_polygon(part, CHIP_WINDOW) for part in parts])
    side = 2 * round(CHIP_EDGE_SIGMA) - 1
    eroded = cv2.erode(outline, np.ones((side, side), np.uint8))
    return np.asarray(cv2.GaussianBlur(eroded, (0, 0), CHIP_EDGE_SIGMA))


def _compute_chip_shares(landmarks: Points68, nodes: int) -> Matrix:
    """(nodes * nodes, 82): how much the value at each control point counts at a grid of places on the face's chip."""
    line = np.linspace(0, CHIP_SIDE - 1, nodes)
    places = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    knots = apply_affine(fit_chip_matrix(landmarks), warp_points.compute_control_points(landmarks))
    return compute_spline_shares(knots, places, make_spline_stiffness(ReenactParams().stiffness))


@dataclass(frozen=True)
class _FrameChip:
    """A frame as the descriptor sees it.

    Attributes:
        chip: float32 (3, side, side), 0..255.
        matte: float32 (1, side, side), 0..1.
        landmarks: Found landmarks, in pixels of the chip.
        offsets: (68, 2) found minus target landmarks, pixels of the chip.
        eye_distance: Distance of the outer corners of the eyes, pixels of the chip.
        motion_basis: (2, nodes, nodes, 68, 2) how each landmark's millimetres move the picture on a grid.
    """

    chip: AnyArray
    matte: AnyArray
    landmarks: Points68
    offsets: Points
    eye_distance: float
    motion_basis: AnyArray

    @staticmethod
    def from_frame(frame: SwappedFrame) -> _FrameChip:
        """Cut out a frame's face."""
        matrix = fit_chip_matrix(frame.found_landmarks)
        chip = sample_crop(frame.picture, matrix, CHIP_SIDE).astype(np.float32)
        matte = np.clip(sample_crop(frame.matte, matrix, CHIP_SIDE), 0, 1).astype(np.float32)
        found, goal = apply_affine(matrix, frame.found_landmarks), apply_affine(matrix, frame.target_landmarks)
        shares = _compute_chip_shares(frame.found_landmarks, SPLINE_NODES)
        follow = np.vstack([np.eye(LANDMARK_COUNT), warp_points.compute_forehead_shares(warp_points.FOREHEAD_POINTS)])
        moving = matrix[:, :2] @ warp_points.compute_landmark_jacobian(frame.target_landmarks)[..., :2]
        right_eye, left_eye = OUTER_EYE_CORNERS
        basis = np.einsum("pk,kci->cpki", shares @ follow, moving)
        basis = basis.reshape(2, SPLINE_NODES, SPLINE_NODES, LANDMARK_COUNT, 2)
        return _FrameChip(
            chip.transpose(2, 0, 1).copy(),
            matte[None],
            found.astype(np.float32),
            (found - goal).astype(np.float32),
            float(np.linalg.norm(goal[right_eye] - goal[left_eye])),
            basis.astype(np.float32),
        )


def _warp_chips(chips: Tensor, motion: Tensor) -> Tensor:
    """`chips` (n, 3, side, side) moved by `motion` (n, 2, side, side) pixels; differentiable."""
    import torch

    side = chips.shape[-1]
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    places = torch.stack([x - motion[:, 0], y - motion[:, 1]], -1)
    return torch.nn.functional.grid_sample(
        chips, 2 * places / (side - 1) - 1, padding_mode="border", align_corners=True
    )


def _sample_motion(motion: Tensor, points: Tensor) -> Any:
    """(n, k, 2): `motion` (n, 2, side, side) at `points` (n, k, 2)."""
    import torch

    places = 2 * points[:, None] / (motion.shape[-1] - 1) - 1
    return torch.nn.functional.grid_sample(motion, places, align_corners=True)[:, :, 0].permute(0, 2, 1)
