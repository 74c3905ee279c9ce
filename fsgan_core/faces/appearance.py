"""The appearance map: all views of a face laid out by yaw and pitch, as published (FSGAN, arXiv 1908.05932).

From each crowd of views within `minimum_radius` degrees one is kept, the most crowded first. With four added points
at (+-75, +-75) the kept ones are triangulated (Delaunay); a pose asks the triangle that holds it. Where the
published code leaves the map silently, a pose is brought back to it here and the answer says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import Delaunay, cKDTree

EDGE_ANGLE = 75.0  # degrees; the four added points, published
_ADDED_POINTS = np.array(
    [(-EDGE_ANGLE, -EDGE_ANGLE), (EDGE_ANGLE, -EDGE_ANGLE), (-EDGE_ANGLE, EDGE_ANGLE), (EDGE_ANGLE, EDGE_ANGLE)]
)
_EDGE_MARGIN = 1e-6  # degrees; a pose on the very edge is in no triangle


@dataclass(frozen=True)
class ViewMix:
    """The views for a pose. indices (3,): positions in AppearanceMap.keep, len(keep) for an added point. weights
    (3,): barycentric, 0 for added points, sum 1. outside: degrees between the pose and the views' convex hull.
    clamped: no mix of the views has that pose (it is farther out than the views' spacing)."""

    indices: np.ndarray
    weights: np.ndarray
    outside_degrees: float
    is_clamped: bool


class AppearanceMap:
    """Views by pose. poses: (n, 2) or more columns, degrees: yaw, pitch; n is at least 1. keep: indices of the kept
    views, ascending."""

    def __init__(self, poses: np.ndarray, minimum_radius: float = 2.0) -> None:
        poses = np.asarray(poses, np.float64)
        if poses.ndim != 2 or poses.shape[1] < 2 or not len(poses) or not np.isfinite(poses[:, :2]).all():
            raise ValueError(f"an appearance map needs the yaw and pitch of at least one view, not {poses.shape}")
        self.minimum_radius = minimum_radius
        self._poses = np.clip(poses[:, :2], -EDGE_ANGLE + 1e-3, EDGE_ANGLE - 1e-3)  # an added point stays a corner
        self.kept_indices = _select_crowded_first(self._poses, minimum_radius)
        self._kept_poses = self._poses[self.kept_indices]
        self._triangulation = Delaunay(np.vstack([self._kept_poses, _ADDED_POINTS]))
        self._hull = cv2.convexHull(self._kept_poses.astype(np.float32))

    def query(self, yaw: float, pitch: float) -> ViewMix:
        """The views around a pose in degrees."""
        asked = np.array([yaw, pitch], np.float64)
        pose = np.clip(asked, -EDGE_ANGLE + _EDGE_MARGIN, EDGE_ANGLE - _EDGE_MARGIN)
        triangle = int(self._triangulation.find_simplex(pose))
        if triangle < 0:  # rounding, on the line between two triangles
            triangle = int(
                np.argmax(
                    [
                        self._compute_barycentric(number, pose).min()
                        for number in range(len(self._triangulation.simplices))
                    ]
                )
            )
        corners = self._triangulation.simplices[triangle]
        weights = np.where(
            corners < len(self.kept_indices), np.maximum(self._compute_barycentric(triangle, pose), 0.0), 0.0
        )
        if weights.sum() <= 1e-12:  # on the line between two added points, or upon one
            near = int(np.argmin(np.linalg.norm(self._kept_poses - pose, axis=1)))
            corners, weights = (
                np.array([near, len(self.kept_indices), len(self.kept_indices)]),
                np.array([1.0, 0.0, 0.0]),
            )
        outside = float(max(0.0, -cv2.pointPolygonTest(self._hull, (float(pose[0]), float(pose[1])), True)))
        outside += float(np.linalg.norm(asked - pose))
        return ViewMix(
            np.minimum(corners, len(self.kept_indices)),
            weights / weights.sum(),
            outside,
            outside > max(self.minimum_radius, 1e-3),
        )

    def compute_cells(self) -> tuple[np.ndarray, ...]:
        """For each kept view the indices of all views that are nearest to it, itself included, ascending."""
        _, nearest = cKDTree(self._kept_poses).query(self._poses)
        nearest[self.kept_indices] = np.arange(len(self.kept_indices))
        return tuple(np.flatnonzero(nearest == number) for number in range(len(self.kept_indices)))

    def _compute_barycentric(self, triangle: int, pose: np.ndarray) -> np.ndarray:
        """Barycentric coordinates (3,) of a pose; NaN-free also in a sliver without area."""
        transform = self._triangulation.transform[triangle]
        if not np.isfinite(transform).all():
            return np.array([-np.inf, -np.inf, -np.inf])
        two = transform[:2] @ (pose - transform[2])
        return np.array([*two, 1 - two.sum()])


def _select_crowded_first(points: np.ndarray, radius: float) -> np.ndarray:
    """Indices of one point per crowd; of two equally crowded ones the earlier."""
    tree = cKDTree(points)
    neighbours = [tree.query_ball_point(point, radius) for point in points]
    order = np.argsort([-len(near) for near in neighbours], kind="stable")
    taken = np.zeros(len(points), bool)
    kept = []
    for index in order:
        if not taken[index]:
            kept.append(index)
            taken[neighbours[index]] = True
    return np.sort(np.array(kept))
