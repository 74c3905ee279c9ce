"""The appearance map: all views of a face laid out by yaw and pitch, as published (FSGAN, arXiv 1908.05932).

Of views closer together than `minimum_radius` degrees one is kept, most crowded places first. The kept views and four
added points at (+-75, +-75) are triangulated (Delaunay). A pose is mixed from the corners of the triangle that holds
it. A pose outside the map is clamped to its edge, and the answer says so; the published code does this silently.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import Delaunay, cKDTree

from fsgan_core.runtime.arrays import Angles, IndexArray, Vector

EDGE_ANGLE = 75.0  # degrees, yaw and pitch of the four added points, as published
_ADDED_POINTS = np.array(
    [(-EDGE_ANGLE, -EDGE_ANGLE), (EDGE_ANGLE, -EDGE_ANGLE), (-EDGE_ANGLE, EDGE_ANGLE), (EDGE_ANGLE, EDGE_ANGLE)]
)
_EDGE_MARGIN = 1e-6  # degrees; a pose exactly on the edge lies in no triangle
_VIEW_EDGE_MARGIN = 1e-3  # degrees; views stay inside the edge, so that the added points stay the corners


@dataclass(frozen=True)
class ViewMix:
    """The views to mix for a pose.

    Attributes:
        indices: (3,), positions in `AppearanceMap.kept_indices`; its length stands for an added point.
        weights: (3,), barycentric, sum 1; 0 for added points.
        outside_degrees: Distance of the pose from the convex hull of the views.
    """

    indices: IndexArray
    weights: Vector
    outside_degrees: float


class AppearanceMap:
    """Views of a face by yaw and pitch.

    Attributes:
        kept_indices: The kept views, ascending.
    """

    def __init__(self, poses: Angles, minimum_radius: float = 2.0) -> None:
        """Lays out the views.

        Args:
            poses: (n, 2) or more columns, degrees: yaw, pitch; n is at least 1.
            minimum_radius: Smallest distance of two kept views, in degrees.

        Raises:
            ValueError: There is no view, or a pose is not finite.
        """
        poses = np.asarray(poses, np.float64)
        if poses.ndim != 2 or poses.shape[1] < 2 or not len(poses) or not np.isfinite(poses[:, :2]).all():
            raise ValueError(f"an appearance map needs the yaw and pitch of at least one view, not {poses.shape}")
        self._poses = np.clip(poses[:, :2], -EDGE_ANGLE + _VIEW_EDGE_MARGIN, EDGE_ANGLE - _VIEW_EDGE_MARGIN)
        self.kept_indices = _select_crowded_first(self._poses, minimum_radius)
        self._kept_poses = self._poses[self.kept_indices]
        self._triangulation = Delaunay(np.vstack([self._kept_poses, _ADDED_POINTS]))
        self._hull = cv2.convexHull(self._kept_poses.astype(np.float32))

    def query(self, yaw: float, pitch: float) -> ViewMix:
        """Finds the views to mix for a pose in degrees.

        >>> views = AppearanceMap(np.array([[-20, 0], [20, 0], [0, 20]]))
        >>> mix = views.query(10, 0)
        >>> sorted(zip(mix.indices.tolist(), mix.weights.round(3).tolist()))
        [(0, 0.25), (1, 0.75), (2, 0.0)]
        """
        target_pose = np.array([yaw, pitch], np.float64)
        pose = np.clip(target_pose, -EDGE_ANGLE + _EDGE_MARGIN, EDGE_ANGLE - _EDGE_MARGIN)
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
        if weights.sum() <= 1e-12:  # on the line between two added points, or on one of them
            near = int(np.argmin(np.linalg.norm(self._kept_poses - pose, axis=1)))
            corners, weights = (
                np.array([near, len(self.kept_indices), len(self.kept_indices)]),
                np.array([1.0, 0.0, 0.0]),
            )
        outside = float(max(0.0, -cv2.pointPolygonTest(self._hull, (float(pose[0]), float(pose[1])), True)))
        outside += float(np.linalg.norm(target_pose - pose))
        return ViewMix(np.minimum(corners, len(self.kept_indices)), weights / weights.sum(), outside)

    def compute_cells(self) -> tuple[IndexArray, ...]:
        """Lists, for each kept view, the indices of all views that are nearest to it, itself included, ascending."""
        _, nearest = cKDTree(self._kept_poses).query(self._poses)
        nearest[self.kept_indices] = np.arange(len(self.kept_indices))
        return tuple(np.flatnonzero(nearest == number) for number in range(len(self.kept_indices)))

    def _compute_barycentric(self, triangle: int, pose: Angles) -> Vector:
        """Barycentric coordinates (3,) of a pose; -inf in a degenerate triangle, never NaN."""
        transform = self._triangulation.transform[triangle]
        if not np.isfinite(transform).all():
            return np.array([-np.inf, -np.inf, -np.inf])
        two = transform[:2] @ (pose - transform[2])
        return np.array([*two, 1 - two.sum()])


def _select_crowded_first(points: Angles, radius: float) -> IndexArray:
    """Selects one point per neighbourhood, most crowded first; of two equally crowded ones the earlier."""
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
