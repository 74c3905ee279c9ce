"""Openings of the face: the outlines of lids and lips from the mesh, soft mattes inside them, and small smooth maps.

Everything is computed on a small window around the opening, in square pixels (rows), so that it costs little at any
plate size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import splev, splrep

from fsgan_core.faces.mesh import INNER_LIPS, IRIS_L, IRIS_R, LIDS_L, LIDS_R, MIRROR_ORDER
from fsgan_core.plates.curve import LUMA_WEIGHTS
from fsgan_core.plates.plate import Window, compute_slices
from fsgan_core.runtime.arrays import AnyArray, Image, Matrix, Matte, Mesh, Plane, PointMap, Points, Vector
from fsgan_core.stages.image_ops import blur_weighted, find_window_around, make_disc, smoothstep
from fsgan_core.stages.warp import fit_spline_map

# Skin around the right eye, a ring of vertices within the next; upper part from the outer side, then the lower part.
_ORBIT_R = (247, 30, 29, 27, 28, 56, 190, 243, 112, 26, 22, 23, 24, 110, 25, 130)
_SOCKET_R = (113, 225, 224, 223, 222, 221, 189, 244, 233, 232, 231, 230, 229, 228, 31, 226)

ARC_SAMPLES = 24  # points of an outline's upper and lower arc
MIN_WINDOW = 12  # pixels, in each direction
WINDOW_EDGE = 16  # pixels: nearer to a window's edge a picture is filtered differently (four times `warp.NEED_SIGMA`)
MIN_MOVE = 0.02  # pixels: a smaller move is none
MAP_STIFFNESS = 1e-4  # of the spline that moves an opening
SKIN_SIGMAS = (0.5, 0.25, 0.12)  # of the opening's width: the blurs that continue skin, widest first
REACHED_WEIGHT = 0.12  # of a blur, from which on it is taken in place of the wider one
RELIEF_SIGMA = 0.05  # of the opening's width: finer shading is not taken
LINE_SIGMA = 0.012  # of the opening's width: softens the line where lids meet
LINE_REACH = 0.06  # of the opening's width, from where the lids meet
LARGEST_RELIEF, DARKEST_LINE = 0.3, -1.6  # of soft shading and of the line, log of display values
LARGEST_REDNESS = 0.25  # by how much red may darken less than the line's luma, green and blue more, as a share
FAINT_LINE = 0.1  # log of display values: a line that is no darker than skin by more says little about its hue
THIN_LINE = 0.04  # of the opening's width: half the thickness of dark lines (a rim of glasses) that are no shading
LOG_FLOOR = 0.02  # display values: added before a logarithm
MIDDLE_PAIRS = slice(2, 5)  # of the seven pairs of opposite lid points: those that tell how far an eye is open


@dataclass(frozen=True)
class OpeningPicture:
    """What is put over a face inside the lids or the lips.

    Attributes:
        picture: Display-like, on the region.
        matte: Where it shows, 0..1.
    """

    picture: Image
    matte: Matte


@dataclass(frozen=True)
class Eye:
    """The vertices of one eye.

    Attributes:
        lids: Ring of 16: outer corner, lower lid, inner corner (ninth), upper lid back.
        orbit: Ring of 16 around the lids.
        socket: Ring of 16 around that.
        iris: Middle and four points of the edge.
    """

    lids: tuple[int, ...]
    orbit: tuple[int, ...]
    socket: tuple[int, ...]
    iris: slice


def _mirror(vertices: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(vertex) for vertex in MIRROR_ORDER[list(vertices)])


EYES = (
    Eye(LIDS_R, _ORBIT_R, _SOCKET_R, IRIS_R),
    Eye(LIDS_L, _mirror(_ORBIT_R), _mirror(_SOCKET_R), IRIS_L),
)
"""The right eye (at the picture's left), the left eye."""


def square_points(mesh: Mesh, vertices: Sequence[int] | slice, aspect: float) -> Points:
    """Returns vertices of a mesh as (n, 2) in square pixels.

    Args:
        mesh: (478, 3), plate coordinates.
        vertices: Which.
        aspect: Width of a pixel over its height.
    """
    index = vertices if isinstance(vertices, slice) else list(vertices)
    return np.asarray(mesh, np.float64)[index, :2] * (aspect, 1.0)


def measure_lid_openings(mesh: Mesh, aspect: float = 1.0) -> Vector:
    """Measures how far each eye is open, as a share of its width: (2,), right eye first.

    About 0.3 is open, below 0.08 shut. The width counts in depth too: a head that turns away shows an eye narrower, and
    no further open.
    """
    openings = []
    for eye in EYES:
        ring = square_points(mesh, eye.lids, aspect)
        gaps = np.linalg.norm(ring[1:8] - ring[:8:-1], axis=1)[MIDDLE_PAIRS]
        corners = np.asarray(mesh, np.float64)[[eye.lids[0], eye.lids[8]]] * (aspect, 1.0, 1.0)
        openings.append(gaps.mean() / max(float(np.linalg.norm(corners[1] - corners[0])), 1e-6))
    return np.array(openings)


def measure_lip_opening(mesh: Mesh, aspect: float = 1.0) -> float:
    """Measures how far the inner lips are apart in the middle, as a share of the outer eye corners' distance."""
    lips = square_points(mesh, (INNER_LIPS[5], INNER_LIPS[15]), aspect)
    corners = square_points(mesh, (LIDS_R[0], LIDS_L[0]), aspect)
    return float(np.linalg.norm(lips[1] - lips[0]) / max(float(np.linalg.norm(corners[1] - corners[0])), 1e-6))


def measure_ring_width(ring: Points) -> float:
    """Measures the distance between the corners of a ring (n, 2): its first point and the one opposite."""
    return float(np.linalg.norm(ring[len(ring) // 2] - ring[0]))


def trace_ring(ring: Points) -> Points:
    """Draws a smooth outline through a ring that has a corner at its first point and one opposite.

    Args:
        ring: (n, 2), n even.

    Returns:
        (2 * ARC_SAMPLES, 2): the first arc from corner to corner, then the second one back.
    """
    half = len(ring) // 2
    arcs = []
    for arc in (ring[: half + 1], np.vstack([ring[half:], ring[:1]])):
        length = np.linalg.norm(np.diff(arc, axis=0), axis=1)
        at = np.concatenate([[0.0], np.cumsum(np.maximum(length, 1e-6))])
        along = np.linspace(0, at[-1], ARC_SAMPLES, endpoint=False)
        arcs.append(np.column_stack([splev(along, splrep(at, values, s=0)) for values in arc.T]))
    return np.vstack(arcs)


def measure_ring_distance(outline: Points, places: AnyArray) -> Plane:
    """Measures the signed distance from places to a closed outline, positive inside.

    Args:
        outline: (n, 2) corners.
        places: (height, width, 2), same coordinates.
    """
    x, y = np.moveaxis(places, -1, 0).astype(np.float32, order="C")
    start, end = outline.astype(np.float32), np.roll(outline, -1, axis=0).astype(np.float32)
    best = np.full(x.shape, np.inf, np.float32)
    inside = np.zeros(x.shape, bool)
    for a, b in zip(start, end, strict=True):
        edge = b - a
        across, down = x - a[0], y - a[1]
        along = np.clip((across * edge[0] + down * edge[1]) / np.float32(max(float(edge @ edge), 1e-12)), 0, 1)
        off_x, off_y = across - along * edge[0], down - along * edge[1]
        np.minimum(best, off_x * off_x + off_y * off_y, out=best)
        if edge[1]:  # where a line to the right crosses the edge
            inside ^= ((y < a[1]) != (y < b[1])) & (across < down * (edge[0] / edge[1]))
    distance = np.sqrt(best)
    return np.where(inside, distance, -distance)


@dataclass(frozen=True)
class OpeningWindow:
    """A small window around an opening.

    Attributes:
        window: Plate coordinates, within the region.
        slices: Of the region's arrays.
        places: (height, width, 2) the pixels' places in square pixels.
    """

    window: Window
    slices: tuple[slice, slice]
    places: AnyArray


def make_opening_window(points: Points, margin: float, region: Window, aspect: float) -> OpeningWindow | None:
    """Makes the window around points, as far as it lies in a region; None if too little of it does.

    Args:
        points: (n, 2) square pixels.
        margin: Around them, square pixels.
        region: Plate coordinates.
        aspect: Width of a pixel over its height.
    """
    window = find_window_around(points, margin, aspect).intersect(region)
    if window.empty or min(window.width, window.height) < MIN_WINDOW:
        return None
    x, y = np.arange(window.x, window.right) * aspect, np.arange(window.y, window.bottom)
    return OpeningWindow(window, compute_slices(window, region), np.stack(np.meshgrid(x, y), -1))


def soften_edge(distance: Plane, begin: float, end: float) -> Matte:
    """Makes a matte from a signed distance: 0 up to `begin`, 1 from `end` on."""
    return np.asarray(smoothstep((distance - begin) / max(end - begin, 1e-6)), np.float32)


def carry_irises(goal: Mesh, target: Mesh) -> Mesh:
    """Returns the goal with its irises where the target looks: they keep their place between the lids.

    Args:
        goal: The mesh of the new face; its own irises may carry another person's mean gaze.
        target: The target's mesh.
    """
    result = np.array(goal, np.float64)
    for eye in EYES:
        around = [*eye.lids, *eye.orbit]
        iris = np.asarray(target, np.float64)[eye.iris, :2]
        result[eye.iris, :2] = apply_fit(fit_affine(target[around, :2], goal[around, :2]), iris)
    return result


def fit_affine(points: Points, goals: Points) -> Matrix:
    """Fits the affine map (3, 2) that takes points (n, 2) to goals by least squares."""
    return np.asarray(np.linalg.lstsq(np.column_stack([points, np.ones(len(points))]), goals, rcond=None)[0])


def apply_fit(affine: Matrix, points: AnyArray) -> AnyArray:
    """Applies a map of `fit_affine` to points (..., 2)."""
    return np.asarray(points @ affine[:2] + affine[2])


def find_middle_line(mesh: Mesh, ring: Sequence[int]) -> AnyArray:
    """Finds the line along which lids or lips meet: (n / 2 - 1, 3), from the ring's first corner to the other."""
    half = len(ring) // 2
    points = np.asarray(mesh, np.float64)
    return np.asarray((points[list(ring[1:half])] + points[list(ring[:half:-1])]) / 2)


def fit_opening_map(
    goal: AnyArray,
    target: AnyArray,
    window: OpeningWindow,
    region: Window,
    aspect: float,
    part: OpeningWindow | None = None,
) -> PointMap | None:
    """Fits a small smooth map from a window's pixels to where the target's own picture shows the same place.

    Args:
        goal: (n, 2 or 3) points of the new face, plate coordinates.
        target: The same points of the target's face.
        window: The pixels around the opening.
        region: What the map's coordinates are counted from.
        aspect: Width of a pixel over its height.
        part: The pixels whose map is wanted; None for all.

    Returns:
        (height, width, 2) array coordinates in the region's picture; None if nothing moves.
    """
    destination, source = goal[:, :2], target[:, :2]
    if float(np.abs(destination - source).max()) < MIN_MOVE:
        return None
    stiffness = np.full(len(goal), MAP_STIFFNESS)
    places = fit_spline_map(destination, source, window.window, stiffness, aspect)
    if part is not None:
        places = places[compute_slices(part.window, window.window)]
    return np.asarray(places - np.array([region.x, region.y], np.float32), np.float32)


def continue_skin(picture: AnyArray, known: Matte, size: float, aspect: float) -> AnyArray:
    """Continues a picture smoothly from where it is known, each place with the narrowest blur that reaches it.

    Args:
        picture: (height, width) or (height, width, channels).
        known: Where it is, 0..1.
        size: Width of the eye or mouth in square pixels; the blurs are shares of it.
        aspect: Width of a pixel over its height.
    """
    result: AnyArray | None = None
    for share in SKIN_SIGMAS:
        sigma = share * size
        blurred = blur_weighted(picture, known, sigma, aspect)
        if result is None:
            result = blurred
            continue
        weight = cv2.GaussianBlur(known, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma)
        reached = np.clip(weight / REACHED_WEIGHT, 0, 1)
        result = result + (reached if picture.ndim == 2 else reached[..., None]) * (blurred - result)
    return np.asarray(result, np.float32)


def take_shading(luma: Plane, usual: Plane, distance: Plane, size: float, aspect: float) -> Plane:
    """Takes the shading of closed lids from a plate: soft everywhere, and the dark line where they meet.

    Args:
        luma: Logarithm of the plate's luma.
        usual: The same continued from the skin around (`continue_skin`).
        distance: Into the opening, square pixels; the line is where it is near 0 or above.
        size: Width of the eye in square pixels.
        aspect: Width of a pixel over its height.

    Returns:
        Logarithm of the gain that the new skin takes.
    """
    closed = _close_lines(luma, size)
    sigma = RELIEF_SIGMA * size
    relief = cv2.GaussianBlur(closed, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma) - usual
    near = _mark_near_line(distance, size)
    shading = np.clip(relief, -LARGEST_RELIEF, LARGEST_RELIEF)
    line = np.clip(luma - usual, DARKEST_LINE, 0)
    change = (shading + near * (line - shading)).astype(np.float32)
    soft = LINE_SIGMA * size
    return np.asarray(cv2.GaussianBlur(change, (0, 0), sigmaX=soft / aspect, sigmaY=soft))


def tint_shading(change: Plane, logs: Image, usual: Image, distance: Plane, size: float) -> Image:
    """Gives darker shading of closed lids the hue of the plate's line of lashes.

    Between lids and lashes, light is redder than on skin: pale skin that is only made as dark looks olive. One hue for
    the whole line leaves the plate's make-up out. A line is never bluer than skin: that is a reflection on glasses.

    Args:
        change: Of `take_shading`.
        logs: Logarithms of the plate's channels.
        usual: The same continued from the skin around.
        distance: Into the opening, square pixels.
        size: Width of the eye in square pixels.

    Returns:
        Logarithms of the gains of the three channels.
    """
    near = _mark_near_line(distance, size)
    darker = (logs - usual) * near[..., None]
    luma = np.minimum(darker @ LUMA_WEIGHTS.astype(np.float32), 0)
    faint = FAINT_LINE**2 * float(near.sum(dtype=np.float64))
    hue = (darker * luma[..., None]).sum((0, 1), dtype=np.float64) + faint
    hue /= max(float((luma**2).sum(dtype=np.float64)) + faint, 1e-6)
    hue = np.clip(hue, (1 - LARGEST_REDNESS, 1, 1), (1, 1 + LARGEST_REDNESS, 1 + LARGEST_REDNESS))
    return np.asarray(np.where(change[..., None] < 0, hue, 1) * change[..., None], np.float32)


def _mark_near_line(distance: Plane, size: float) -> Matte:
    return np.asarray(np.exp(-0.5 * (np.minimum(distance, 0) / (LINE_REACH * size)) ** 2), np.float32)


def _close_lines(luma: Plane, size: float) -> Plane:
    """`luma` without dark lines thinner than twice `THIN_LINE`."""
    return np.asarray(cv2.morphologyEx(luma, cv2.MORPH_CLOSE, make_disc(THIN_LINE * size)))
