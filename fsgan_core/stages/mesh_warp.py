"""A view of the source warped by the dense mesh: which place of the view each pixel of the target shows.

The map is a thin-plate spline (`stages.warp`) through the vertices that both pictures show, so it is smooth between
vertices, and skin that one of the two turns away bends nothing. What the view itself turns away or hides behind the
nose is marked as not shown: another view, or the atlas, fills it.
"""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.faces.mesh import (
    CANONICAL,
    FACE_OVAL,
    INNER_LIPS,
    LIDS_L,
    LIDS_R,
    OUTER_LIPS,
    SKIN_COUNT,
    TRIANGLES,
    compute_facing,
)
from fsgan_core.faces.mesh_pose import compute_rigidity, fit_rigid
from fsgan_core.plates.plate import Window
from fsgan_core.runtime.arrays import AnyArray, Matte, Mesh, PointMap, Points, Vector
from fsgan_core.runtime.memo import remember_results
from fsgan_core.stages.image_ops import ease_between
from fsgan_core.stages.warp import fit_spline_map
from fsgan_core.stages.warp_points import HAIRLINE

# Cosines between the skin's normal and the direction to the camera.
KNOT_FACING = 0.12  # a vertex must face the camera by this much to bend the map
SHOWN_FACING = (0.15, 0.4)  # from here to here a view begins to show skin

HIDDEN_DEPTH = 0.02  # of the face's width: skin that lies this far behind other skin is hidden
SHOWN_SOFTNESS = 0.03  # of the face's width, of the edge of what is shown
FACE_WIDTH = 140.0  # mm, of the generic mesh: the unit of lengths given "of the face's width"

REMEMBERED_MESHES = 256  # the views of a job and the frames at work: each is asked for several times

# Stiffness of the spline: 0 meets a vertex exactly.
OPENING_STIFFNESS = 0.0005  # of lids and lips, which carry the expression
HAIRLINE_STIFFNESS = 0.3  # of points beyond the mesh, which are only estimated
ANCHOR_REACH = 30.0  # mm: how far a vertex of the mesh's edge pulls a point beyond it

LOWER_BROWS = (46, 53, 52, 65, 55, 276, 283, 282, 295, 285)
BELOW_BROWS = (225, 224, 223, 222, 221, 445, 444, 443, 442, 441)
"""The lower edge of both brows, and the vertex of the lid below each of these."""


def square_mesh(mesh: Mesh, aspect: float) -> Mesh:
    """Returns a mesh in square pixels.

    Args:
        mesh: (478, 3), plate coordinates.
        aspect: Width of a pixel over its height.
    """
    return np.asarray(mesh, np.float64) * (aspect, 1.0, 1.0)


@remember_results(REMEMBERED_MESHES)
def measure_mesh_width(mesh: Mesh) -> float:
    """Measures the width of the face that a mesh would show from the front, in rows of square pixels."""
    return FACE_WIDTH * float(fit_rigid(CANONICAL, mesh, compute_rigidity())[0])


def find_visible_vertices(mesh: Mesh) -> Vector:
    """Finds how much the picture shows of the skin at each vertex.

    Args:
        mesh: (478, 3), square pixels.

    Returns:
        (478,): 1 shown, 0 turned away or behind other skin.
    """
    return np.where(find_hidden_vertices(mesh), 0.0, ease_between(compute_facing(mesh), *SHOWN_FACING))


@remember_results(REMEMBERED_MESHES)
def find_hidden_vertices(mesh: Mesh) -> AnyArray:
    """Finds the vertices (478,) that lie behind other skin of the mesh, in square pixels."""
    margin = HIDDEN_DEPTH * measure_mesh_width(mesh)
    a, b, c = (mesh[TRIANGLES[:, k]] for k in range(3))
    ab, ac = b - a, c - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    # Barycentric coordinates and depth are affine in a place, so one product gives them for all pairs.
    v = np.stack([ac[:, 1], -ac[:, 0], a[:, 1] * ac[:, 0] - a[:, 0] * ac[:, 1]]) / area
    w = np.stack([-ab[:, 1], ab[:, 0], a[:, 0] * ab[:, 1] - a[:, 1] * ab[:, 0]]) / area
    depth = v * ab[:, 2] + w * ac[:, 2]
    depth[2] += a[:, 2]
    places = np.column_stack([mesh[:, :2], np.ones(len(mesh))])
    covers = places @ depth < mesh[:, 2:] - margin
    for share in (v, w, [[0], [0], [1]] - v - w):
        covers &= places @ share > 0
    return np.asarray(covers.any(1))


@remember_results(REMEMBERED_MESHES)
def place_beyond(mesh: Mesh) -> Points:
    """Places the hairline (9, 2) beyond a mesh in square pixels: posed, then moved along with the mesh's edge."""
    scale, rotation, shift = fit_rigid(CANONICAL, mesh, compute_rigidity())
    edge = list(FACE_OVAL)
    misfit = mesh[edge] - (scale * CANONICAL[edge] @ rotation.T + shift)
    distance = np.linalg.norm(HAIRLINE[:, None] - CANONICAL[edge][None], axis=-1)
    near = np.exp(-((distance / ANCHOR_REACH) ** 2)) + 1e-9
    placed = scale * HAIRLINE @ rotation.T + shift + (near / near.sum(1, keepdims=True)) @ misfit
    return np.asarray(placed[:, :2])


def fit_mesh_map(
    goal: Mesh, view: Mesh, region: Window, stiffness: float, aspect: float = 1.0, view_aspect: float = 1.0
) -> PointMap:
    """Fits the map from a region's pixels to a view whose face becomes the goal.

    Args:
        goal: (478, 3) coordinates of the region's plate.
        view: (478, 3) coordinates of the view's plate.
        region: The window that the map is for.
        stiffness: Of the spline; 0 meets each vertex exactly.
        aspect: Width of the region's pixels over their height.
        view_aspect: The same of the view.

    Returns:
        Coordinates of the view's plate for each pixel of the region.
    """
    square_view = square_mesh(view, view_aspect)
    square_goal = keep_brow_breadth(square_mesh(goal, aspect), square_view)
    goal_facing, view_facing = compute_facing(square_goal), compute_facing(square_view)
    hidden = find_hidden_vertices(square_goal) | find_hidden_vertices(square_view)
    knots = (np.minimum(goal_facing, view_facing) > KNOT_FACING) & ~hidden
    knots[SKIN_COUNT:] = False
    destination = np.vstack([square_goal[knots, :2], place_beyond(square_goal)]) / (aspect, 1.0)
    source = np.vstack([view[knots, :2], place_beyond(square_view) / (view_aspect, 1.0)])
    resistance = np.append(_make_stiffness(stiffness)[knots], np.full(len(HAIRLINE), HAIRLINE_STIFFNESS))
    return fit_spline_map(destination, source, region, resistance, aspect)


def keep_brow_breadth(goal: Mesh, view: Mesh) -> Mesh:
    """Keeps brows from becoming broader than they are where the goal has more room between brow and eye.

    A brow's hair reaches below the mesh's brow, so its breadth would grow with that room: the lid takes it up instead.

    Args:
        goal: (478, 3), square pixels.
        view: (478, 3), square pixels of the view.

    Returns:
        The goal, in which the skin below a brow is at most as far from it as in the view.
    """
    scale = measure_mesh_width(goal) / measure_mesh_width(view)
    brow, below = list(LOWER_BROWS), list(BELOW_BROWS)
    wanted, there = (np.linalg.norm(mesh[below, :2] - mesh[brow, :2], axis=1) for mesh in (view, goal))
    share = np.minimum(1, scale * wanted / np.maximum(there, 1e-6))
    result = goal.copy()
    result[below] = goal[brow] + share[:, None] * (goal[below] - goal[brow])
    return result


def _make_stiffness(amount: float) -> Vector:
    stiffness = np.full(len(CANONICAL), amount)
    stiffness[[*LIDS_R, *LIDS_L, *INNER_LIPS, *OUTER_LIPS]] = min(amount, OPENING_STIFFNESS)
    return stiffness


def draw_vertex_values(mesh: Mesh, values: Vector, region: Window, aspect: float = 1.0) -> Matte:
    """Draws values of the vertices over a region, softly; beyond the mesh and in its openings the nearest value.

    Args:
        mesh: (478, 3), plate coordinates.
        values: (478,).
        region: The window to draw.
        aspect: Width of a pixel over its height.
    """
    square = square_mesh(mesh, aspect)
    scale = 16  # OpenCV's fixed point, four bits
    points = np.round((mesh[:, :2] - (region.x, region.y)) * scale).astype(np.int32)
    order = np.argsort(-square[TRIANGLES, 2].mean(1))
    canvas = np.full((region.height, region.width), np.nan, np.float32)
    corners, shades = points[TRIANGLES], values[TRIANGLES].mean(1).tolist()
    for index in order:  # far to near
        cv2.fillConvexPoly(canvas, corners[index], shades[index], cv2.LINE_8, 4)
    empty = np.isnan(canvas)
    if empty.all():
        return np.zeros(canvas.shape, np.float32)
    _, labels = cv2.distanceTransformWithLabels(
        empty.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    lookup = np.zeros(int(labels.max()) + 1, np.float32)
    lookup[labels[~empty]] = canvas[~empty]
    filled = lookup[labels]
    sigma = SHOWN_SOFTNESS * measure_mesh_width(square)
    return np.asarray(cv2.GaussianBlur(filled, (0, 0), sigmaX=sigma / aspect, sigmaY=sigma))
