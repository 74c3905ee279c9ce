"""98 landmarks in the WFLW order, and how to convert between them and the 68 of iBUG.

WFLW (arXiv 1805.10483), the person's right side (at the picture's left) first:
    0-32   contour, ear to chin to ear           51-54  bridge of the nose, 55-59 under the nose
    33-41  right brow, 42-50 left brow           60-67  right eye, 68-75 left eye
    76-87  outer lips, 88-95 inner lips          96, 97 right and left pupil
A brow is an outline: five points on the upper edge and four back on the lower one. The right brow begins at its outer
end (33-37 upper, 38-41 lower), the left one at its inner end (42-46 upper, 47-50 lower). An eye has eight points:
corner, three of the upper lid, corner, three of the lower lid; the right eye begins at its outer corner (60; 64 inner),
the left one at its inner corner (68; 72 outer).

98 to 68, `TO_IBUG`:
    jaw            every second point of the contour
    brows          the five points of the upper edge, where the annotators of iBUG put theirs
    nose, lips     the same points in the same order
    eyes           corners: the same. iBUG's points on a lid lie at thirds of it, those of WFLW at quarters: two
                   thirds of the outer neighbour and one third of the middle one
    pupils         left out
68 to 98, `FROM_IBUG`, is an estimate: the points that iBUG does not have (every other point of the contour, lower edges
of the brows, middles of lids, pupils) are put where an average face has them. 68 points converted to 98 and back are
unchanged. Both maps are linear and the shares in each row sum to 1, so they hold for any place, size and rotation of a
face, also for pixels that are not square, and for differences.
"""

from __future__ import annotations

import numpy as np

from fsgan_core.runtime.arrays import IndexArray, Matrix, Points68, Points98

WFLW_COUNT = 98
CONTOUR = slice(0, 33)
BROW_R = slice(33, 42)
BROW_L = slice(42, 51)
NOSE = slice(51, 60)
EYE_R = slice(60, 68)
EYE_L = slice(68, 76)
MOUTH = slice(76, 96)
PUPIL_R, PUPIL_L = 96, 97
OUTER_EYE_CORNERS = (60, 72)

_BROW_THICKNESS = 0.3  # share of the brow's distance from the eye


def to_ibug(wflw: Points98) -> Points68:
    """Converts 98 points (..., 98, 2) to 68, float64 (..., 68, 2)."""
    return np.asarray(TO_IBUG @ np.asarray(wflw, np.float64))


def from_ibug(landmarks: Points68) -> Points98:
    """Estimates 98 points, float64 (..., 98, 2), from 68 (..., 68, 2); see the module's text.

    >>> points = np.random.default_rng(0).random((68, 2))
    >>> bool(np.allclose(to_ibug(from_ibug(points)), points))
    True
    """
    return np.asarray(FROM_IBUG @ np.asarray(landmarks, np.float64))


def carry_points(wflw: Points98, before: Points68, after: Points68) -> Points98:
    """Moves the 98 points of a face along with its 68, which went from `before` to `after`."""
    return np.asarray(np.asarray(wflw, np.float64) + FROM_IBUG @ (np.asarray(after, np.float64) - before))


def _make_to_ibug() -> Matrix:
    table = np.zeros((68, WFLW_COUNT))
    table[np.arange(17), np.arange(0, 33, 2)] = 1
    table[np.arange(17, 22), np.arange(33, 38)] = 1
    table[np.arange(22, 27), np.arange(42, 47)] = 1
    table[np.arange(27, 36), np.arange(51, 60)] = 1
    for first, begin in ((36, 60), (42, 68)):
        for point, near, middle in ((1, 1, 2), (2, 3, 2), (4, 5, 6), (5, 7, 6)):
            table[first + point, begin + near] = 2 / 3
            table[first + point, begin + middle] = 1 / 3
        table[first, begin] = table[first + 3, begin + 4] = 1
    table[np.arange(48, 68), np.arange(76, 96)] = 1
    return table


def _guess_from_ibug() -> Matrix:
    """68 to 98 by interpolation between neighbours."""
    table = np.zeros((WFLW_COUNT, 68))
    table[np.arange(0, 33, 2), np.arange(17)] = 1
    for left in range(16):  # the point half way to the next one, on a cubic through four; at the ends a parabola
        if left == 0:
            table[1, :3] = (3 / 8, 6 / 8, -1 / 8)
        elif left == 15:
            table[31, 14:17] = (-1 / 8, 6 / 8, 3 / 8)
        else:
            table[2 * left + 1, left - 1 : left + 3] = (-1 / 16, 9 / 16, 9 / 16, -1 / 16)
    table[np.arange(33, 38), np.arange(17, 22)] = 1
    table[np.arange(42, 47), np.arange(22, 27)] = 1
    for lower, upper, eye in (
        (38, 21, 39),
        (39, 20, 38),
        (40, 19, 37),
        (41, 18, 36),
        (47, 25, 45),
        (48, 24, 44),
        (49, 23, 43),
        (50, 22, 42),
    ):
        table[lower, upper], table[lower, eye] = 1 - _BROW_THICKNESS, _BROW_THICKNESS
    table[np.arange(51, 60), np.arange(27, 36)] = 1
    for begin, first, pupil in ((60, 36, PUPIL_R), (68, 42, PUPIL_L)):
        around = [first + index for index in (0, 1, 2, 3, 4, 5, 0)]
        for corner, near, far, back, at in ((0, 1, 2, 3, 1), (3, 4, 5, 6, 5)):
            table[begin + at, [around[corner], around[near]]] = (0.25, 0.75)
            table[begin + at + 1, [around[near], around[far]]] = 0.5
            table[begin + at + 2, [around[far], around[back]]] = (0.75, 0.25)
        table[begin, first] = table[begin + 4, first + 3] = 1
        table[pupil, [first + 1, first + 2, first + 4, first + 5]] = 0.25
    table[np.arange(76, 96), np.arange(48, 68)] = 1
    return table


def _make_from_ibug(back: Matrix) -> Matrix:
    """The guess, corrected by the least that brings 68 points back unchanged (lids are curved)."""
    guess = _guess_from_ibug()
    return np.asarray(guess + np.linalg.pinv(back) @ (np.eye(68) - back @ guess))


def _make_mirror_order() -> IndexArray:
    order = np.arange(WFLW_COUNT)
    order[CONTOUR] = np.arange(33)[::-1]
    order[33:38], order[42:47] = np.arange(42, 47)[::-1], np.arange(33, 38)[::-1]
    order[38:42], order[47:51] = np.arange(47, 51)[::-1], np.arange(38, 42)[::-1]
    order[55:60] = np.arange(55, 60)[::-1]
    for right, left in (((60, 61, 62, 63, 64, 65, 66, 67), (72, 71, 70, 69, 68, 75, 74, 73)), ((PUPIL_R,), (PUPIL_L,))):
        order[list(right)], order[list(left)] = left, right
    order[76:83], order[83:88] = np.arange(76, 83)[::-1], np.arange(83, 88)[::-1]
    order[88:93], order[93:96] = np.arange(88, 93)[::-1], np.arange(93, 96)[::-1]
    return order


TO_IBUG = _make_to_ibug()
"""float64 (68, 98): 98 points to 68."""

FROM_IBUG = _make_from_ibug(TO_IBUG)
"""float64 (98, 68): 68 points to 98, an estimate."""

MIRROR_ORDER = _make_mirror_order()
"""(98,): which point of a face is at each place of the mirrored face."""

for _table in (TO_IBUG, FROM_IBUG, MIRROR_ORDER):
    _table.setflags(write=False)
