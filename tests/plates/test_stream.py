"""Reading ahead and writing behind: order, bounds, errors, no threads left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from fsgan_core.plates.stream import BackgroundWriter, read_ahead


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


class Gauge:
    """Counts how many calls run or lie ready at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def add(self, change: int) -> None:
        with self._lock:
            self.now += change
            self.most = max(self.most, self.now)


class TestReadAhead:
    @pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (2, 4), (4, 2), (0, 0)])
    def test_order_does_not_depend_on_the_threads(self, workers: int, ahead: int) -> None:
        def read(frame: int) -> int:
            time.sleep(0.002 * (frame % 3))
            return frame * frame

        frames = [5, 3, 9, 1, 2, 8, 8]
        assert list(read_ahead(read, frames, workers=workers, ahead=ahead)) == [(f, f * f) for f in frames]

    def test_nothing_to_read(self) -> None:
        assert list(read_ahead(lambda frame: frame, [])) == []

    def test_is_bounded(self) -> None:
        gauge = Gauge()

        def read(frame: int) -> int:
            gauge.add(1)
            return frame

        for _ in read_ahead(read, range(30), workers=3, ahead=4):
            time.sleep(0.001)
            gauge.add(-1)
        assert gauge.most <= 5

    def test_reads_ahead(self) -> None:
        read = threading.Event()
        stream = read_ahead(lambda frame: read.set() if frame == 1 else None, [0, 1], ahead=1)
        next(stream)
        assert read.wait(5)
        assert list(stream) == [(1, None)]

    def test_an_error_comes_at_its_turn(self) -> None:
        def read(frame: int) -> int:
            if frame == 2:
                raise ValueError("frame 2")
            return frame

        seen = []
        with pytest.raises(ValueError, match="frame 2"):
            for frame, _ in read_ahead(read, range(5), ahead=4):
                seen.append(frame)
        assert seen == [0, 1]

    def test_leaving_early(self) -> None:
        stream = read_ahead(lambda frame: frame, range(1000))
        assert next(stream) == (0, 0)
        stream.close()

    def test_frames_that_never_end(self) -> None:
        import itertools

        stream = read_ahead(lambda frame: frame, itertools.count())
        assert [next(stream)[0] for _ in range(10)] == list(range(10))
        stream.close()


class TestWriteBehind:
    def test_all_is_written_before_the_block_ends(self) -> None:
        written: list[int] = []

        def write(number: int, *, delay: float) -> None:
            time.sleep(delay)
            written.append(number)

        with BackgroundWriter(limit=3) as writer:
            for number in range(10):
                writer.submit(write, number, delay=0.001)
        assert sorted(written) == list(range(10))

    def test_is_bounded(self) -> None:
        gauge = Gauge()

        def write() -> None:
            time.sleep(0.002)
            gauge.add(-1)

        with BackgroundWriter(limit=3, workers=2) as writer:
            for _ in range(20):
                gauge.add(1)
                writer.submit(write)
        assert gauge.most <= 4  # three unfinished, one that waits to be taken

    def test_an_error_surfaces_at_the_next_submit(self) -> None:
        def fail() -> None:
            raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"), BackgroundWriter() as writer:
            writer.submit(fail)
            time.sleep(0.05)
            writer.submit(fail)
            pytest.fail("the second submit came through")

    def test_an_error_surfaces_at_the_end(self) -> None:
        written = []
        with pytest.raises(ZeroDivisionError), BackgroundWriter(limit=8, workers=1) as writer:
            writer.submit(lambda: 1 // 0)
            try:
                writer.submit(written.append, 1)
            except ZeroDivisionError:
                writer = None
        assert written == []

    def test_the_block_s_own_error_wins(self) -> None:
        with pytest.raises(KeyError), BackgroundWriter() as writer:
            writer.submit(lambda: 1 // 0)
            raise KeyError("mine")
