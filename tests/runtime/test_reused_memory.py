"""Tests of copies in memory that was used before: never in memory that somebody still holds."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fsgan_core.runtime import reused_memory
from fsgan_core.runtime.memo import remember_with
from fsgan_core.runtime.memory import clear_caches
from fsgan_core.runtime.reused_memory import copy_into_reused_memory, take_reused_memory


@pytest.fixture(autouse=True)
def _start_empty() -> Iterator[None]:
    clear_caches()
    yield
    clear_caches()


def get_address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def make_picture(value: float, height: int = 40) -> np.ndarray:
    return np.full((height, 30, 3), value, np.float32)


def test_memory_is_used_again_once_nobody_holds_it():
    first = copy_into_reused_memory(make_picture(1))
    address = get_address(first)
    del first
    between = np.empty((40, 30, 3), np.float32)  # takes what the allocator would give next
    second = copy_into_reused_memory(make_picture(2))
    assert get_address(second) == address != get_address(between)
    assert (second == 2).all()


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array,
        lambda array: array[3:5, ::2, 1],
        lambda array: array[3:][2:].reshape(-1)[5:],
        lambda array: memoryview(array),
        lambda array: {"plate": array},
        lambda array: np.frombuffer(array, np.float32)[7:],
    ],
    ids=["itself", "view", "view of a view", "buffer", "container", "array of its buffer"],
)
def test_what_is_held_stays_as_it_is(hold):
    held = hold(copy_into_reused_memory(make_picture(1)))
    others = [copy_into_reused_memory(make_picture(value)) for value in (2, 3)]
    assert (np.asarray(held["plate"] if isinstance(held, dict) else held) == 1).all()
    assert [float(other.min()) for other in others] == [2, 3]


def test_a_tensor_holds_its_memory():
    torch = pytest.importorskip("torch")
    held = torch.from_numpy(copy_into_reused_memory(make_picture(1)))[2:]
    copy_into_reused_memory(make_picture(2))
    assert bool((held == 1).all())


def test_little_is_kept(monkeypatch):
    size = make_picture(0).nbytes
    monkeypatch.setattr(reused_memory, "MAX_KEPT_BYTES", 2 * size)
    held = [copy_into_reused_memory(make_picture(value)) for value in range(4)]
    assert [float(picture.max()) for picture in held] == [0, 1, 2, 3]
    assert len(reused_memory._kept) == 2
    held.clear()
    other = copy_into_reused_memory(make_picture(5, height=20))
    assert [kept.shape for kept in reused_memory._kept] == [other.shape]


def test_threads_never_share_memory():
    def copy_and_look(value: int) -> bool:
        copied = copy_into_reused_memory(make_picture(value))
        return all(bool((copied == value).all()) for _ in range(20))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(copy_and_look, range(400)))


def test_what_is_remembered_with_an_array_ends_with_it():
    @remember_with
    def sum_up(array: np.ndarray) -> float:
        return float(array.sum())

    for value in (1, 2):
        array = take_reused_memory((40, 30, 3))
        array[:] = value
        assert sum_up(array) == value * 3600
        del array
