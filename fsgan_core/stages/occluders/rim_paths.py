"""The strongest path through a picture that is unrolled around an eye, or along a bridge."""

from __future__ import annotations

import numpy as np

from fsgan_core.runtime.arrays import AnyArray, IndexArray

LARGEST_STEP = 2  # rows between neighbouring columns
FREE_STEP_COST = 0.1  # of a strong line's value, for each row of a step of a path that may turn
STEP_COST = 0.05  # likewise, of a smooth path
BEND_COST = 0.4  # likewise, for each row by which a step differs from the one before
LEAD = 0.5  # turns before and after the one that counts: so it closes


def find_closed_paths(gains: AnyArray) -> IndexArray:
    """Find paths as `find_paths` does that close: they run three times around, and the middle one counts."""
    turn = gains.shape[2]
    return find_paths(np.tile(gains, 3))[:, turn : 2 * turn]


def find_paths(gains: AnyArray) -> IndexArray:
    """Find the row of each column on the path of most gain, which may turn, for each of some (count, rows, columns)."""
    count, rows, length = gains.shape
    padded = np.full((length, count, rows + 2 * LARGEST_STEP), -np.inf)
    totals = padded[..., LARGEST_STEP:-LARGEST_STEP]
    around = np.lib.stride_tricks.sliding_window_view(padded, rows, 2).swapaxes(1, 2)  # length, moves, count, rows
    costs = FREE_STEP_COST * np.abs(np.arange(-LARGEST_STEP, LARGEST_STEP + 1))[:, None, None]
    totals[0] = gains[..., 0]
    for column, reached, total in zip(np.moveaxis(gains, -1, 0)[1:].copy(), around, totals[1:], strict=False):
        np.add(column, (reached - costs).max(0), out=total)
    # The first of the best moves; numpy's `argmax` takes four times as long.
    best, moves = np.full(totals.shape, -np.inf), np.zeros(totals.shape, np.int8)
    for number, cost in enumerate(costs):
        reached = around[:, number] - cost
        np.copyto(moves, number - LARGEST_STEP, where=reached > best)
        np.maximum(best, reached, out=best)
    path = [totals[-1].argmax(-1).tolist()]
    for step in moves[-2::-1]:
        path.append([row + step.item(one, row) for one, row in enumerate(path[-1])])
    return np.array(path[::-1]).T


def find_smooth_paths(gains: AnyArray) -> IndexArray:
    """Find the smooth path of most gain through each of some unrolled pictures.

    One that turns sharply costs more than one that goes on as it went: creases of lids, hairs of brows and
    reflections leave a rim at an angle.

    Args:
        gains: (count, rows, columns); the last column is beside the first one.

    Returns:
        (count, columns) the row of each column.
    """
    count, rows, turn = gains.shape
    lead = round(LEAD * turn)
    order = np.arange(-lead, turn + lead) % turn
    # In one row of numbers for all paths, between which there are rows that are never the best.
    framed = np.full((len(order), count, rows + 2 * LARGEST_STEP), -np.inf, np.float32)
    framed[..., LARGEST_STEP:-LARGEST_STEP] = np.moveaxis(gains, -1, 0)[order]
    columns = framed.reshape(len(order), -1)
    steps = np.arange(-LARGEST_STEP, LARGEST_STEP + 1)
    costs = (-STEP_COST * np.abs(steps)[:, None]).astype(np.float32)
    # Totals by column, step and row; one more step at both ends is never the best either.
    totals = np.full((len(order), len(steps) + 2, columns.shape[1]), -np.inf, np.float32)
    reached = np.full((len(steps), columns.shape[1] + 2 * LARGEST_STEP), -np.inf, np.float32)
    inner = reached[:, LARGEST_STEP:-LARGEST_STEP]
    inner[:] = 0
    # What each row is reached from: one row less for each step.
    by_step, by_row = reached.strides
    origins = np.lib.stride_tricks.as_strided(
        reached[:, 2 * LARGEST_STEP :], inner.shape, (by_step - by_row, by_row), writeable=False
    )
    for number, column in enumerate(columns):
        if number:
            before = totals[number - 1]
            np.maximum(before[:-2], before[2:], out=inner)
            np.subtract(inner, np.float32(BEND_COST), out=inner)
            np.maximum(inner, before[1:-1], out=inner)
        now = np.add(origins, costs, out=totals[number, 1:-1])
        now += column
    return _trace_back(totals, count)[:, lead : lead + turn]


def _trace_back(totals: AnyArray, count: int) -> IndexArray:
    """The rows of the best paths; what a step was before is told from its total and those of its neighbours."""
    length, steps, width = totals.shape
    paths = np.arange(count) * (width // count)
    last = totals[-1].reshape(steps, count, -1)
    step, row = np.divmod(last.swapaxes(0, 1).reshape(count, -1).argmax(1), width // count)
    path = np.zeros((length, count), np.int64)
    bends = np.array([[-1], [0], [1]])
    costs = np.float32(-BEND_COST) * np.abs(bends).astype(np.float32)
    for number in range(length - 1, -1, -1):
        path[number] = row
        row = row - (step - 1 - LARGEST_STEP)
        less, same, more = totals[number - 1].take((step + bends) * width + paths + row) + costs
        step = step + np.where((less > same) & (less >= more), -1, more > same)
    return np.asarray(path.T - LARGEST_STEP)
