"""Digests, finished frames, files in the cache, values in memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fsgan_core.contract.errors import OutputError, TrackError
from fsgan_core.contract.layers import META_KEY
from fsgan_core.plates.exr_checksum import find_damage, find_obvious_damage
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.render.provenance import read_finished_metadata
from fsgan_core.runtime import cache
from fsgan_core.runtime.cache import (
    ByteLRU,
    NotCachedError,
    compute_code_digest,
    compute_digest,
    get_cache_folder,
    load_or_compute,
    seal_bytes,
    unseal_bytes,
    use_cache_only,
)
from fsgan_core.runtime.memory import clear_caches


@dataclass(frozen=True)
class Pair:
    a: int
    b: float


class TestDigest:
    def test_equal_in_another_process(self) -> None:
        value = [None, True, 1, -2.5, "é", b"x", {"b": 1, "a": [1, 2]}, (1, 2)]
        code = f"from fsgan_core.runtime.cache import compute_digest; print(compute_digest({value!r}))"
        environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(sys.path)}
        other = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert other.stdout.strip() == compute_digest(value)

    @pytest.mark.parametrize(
        ("one", "two"),
        [
            (1, 1.0),
            (1, True),
            (0, None),
            ("1", 1),
            ("", None),
            ([1, 2], [12]),
            (["ab"], ["a", "b"]),
            ([[1], 2], [[1, 2]]),
            ({"a": 1}, {"a": 2}),
            ({"a": 1}, [("a", 1)]),
            (0.0, -0.0),
            (b"a", "a"),
            (Pair(1, 2.0), Pair(2, 2.0)),
            (np.zeros(2), np.zeros((2, 1))),
            (np.zeros(2), np.zeros(2, np.float32)),
        ],
    )
    def test_tells_apart(self, one: object, two: object) -> None:
        assert compute_digest(one) != compute_digest(two)

    def test_order_of_keys_does_not_matter(self) -> None:
        assert compute_digest({"a": 1, "b": 2}) == compute_digest({"b": 2, "a": 1})

    def test_parts_are_not_glued(self) -> None:
        assert compute_digest("ab", "c") != compute_digest("a", "bc")

    def test_numpy_scalars_are_numbers(self) -> None:
        assert compute_digest(np.float64(2.5), np.int32(3), np.bool_(True)) == compute_digest(2.5, 3, True)

    def test_nothing_enters_by_its_address(self) -> None:
        with pytest.raises(TypeError, match="object"):
            compute_digest({"a": object()})


SOURCE = '''
"""A module."""

LIMIT = 2.0
"""Seconds."""


def wait(times: int = 1) -> float:
    """Waits."""
    return LIMIT * times  # all of it
'''


class TestCodeDigest:
    @pytest.fixture
    def digest(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
        """Gives the digest of a package with one module of this text."""
        monkeypatch.setattr(cache, "CODE_ROOT", tmp_path)
        (tmp_path / "stages").mkdir()

        def compute(text: str) -> str:
            (tmp_path / "stages" / "wait.py").write_text(text, encoding="utf-8")
            clear_caches()
            return compute_code_digest(("stages",))

        yield compute
        clear_caches()

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"""A module."""', '"""Another text."""'),
            ('"""A module."""\n', ""),
            ('"""Seconds."""', '"""Minutes.""" # really'),
            ('"""Waits."""', '"""Waits.\n\n    Args:\n        times: How often.\n    """'),
            ("  # all of it", ""),
            ("# all of it", "# most of it"),
            ("LIMIT * times", "(\n        LIMIT * times\n    )"),
            ("2.0", "2.00"),
        ],
    )
    def test_comments_docstrings_and_formatting_do_not_count(
        self, digest: Callable[[str], str], old: str, new: str
    ) -> None:
        assert old in SOURCE
        assert digest(SOURCE.replace(old, new)) == digest(SOURCE)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("2.0", "3.0"),
            ("2.0", "2"),
            ("2.0", "'2.0'"),
            ("times: int = 1", "times: int = 2"),
            ("times: int = 1", "times: int"),
            ("LIMIT * times", "LIMIT + times"),
            ("LIMIT * times", "times * LIMIT"),
            ("return LIMIT * times", "LIMIT * times"),
        ],
    )
    def test_code_counts(self, digest: Callable[[str], str], old: str, new: str) -> None:
        assert old in SOURCE
        assert digest(SOURCE.replace(old, new)) != digest(SOURCE)

    def test_packages_and_files(self) -> None:
        both = [compute_code_digest((part,)) for part in ("plates", "plates/curve.py")]
        assert both == [compute_code_digest((part,)) for part in ("plates", "plates/curve.py")]
        assert both[0] != both[1]


class TestFinished:
    @pytest.fixture
    def plate(self) -> Plate:
        window = Window(0, 0, 4, 3)
        return Plate(np.ones((3, 4, 3), np.float32), ("R", "G", "B"), window, window, metadata={META_KEY: "abc"})

    def test_right_key(self, tmp_path: Path, plate: Plate) -> None:
        write_exr(tmp_path / "a.exr", plate)
        metadata = read_finished_metadata(tmp_path / "a.exr", "abc")
        assert metadata is not None and metadata[META_KEY] == "abc"

    def test_other_key_or_none(self, tmp_path: Path, plate: Plate) -> None:
        write_exr(tmp_path / "a.exr", plate)
        assert read_finished_metadata(tmp_path / "a.exr", "abd") is None
        assert read_finished_metadata(tmp_path / "b.exr", "abc") is None
        assert read_finished_metadata(tmp_path, "abc") is None

    def test_any_damage_is_noticed(self, tmp_path: Path, plate: Plate, caplog: pytest.LogCaptureFixture) -> None:
        """Cut short, zeroed in the middle, another pixel, another entry of the metadata, another size."""
        path = tmp_path / "a.exr"
        write_exr(path, plate)
        whole = path.read_bytes()
        assert find_damage(path) == find_obvious_damage(path) == ""
        middle = len(whole) - 20
        for content in (
            whole[:-1],
            whole + b"x",
            whole[:middle] + bytes(4) + whole[middle + 4 :],
            whole[:-1] + b"\xff",
        ):
            path.write_bytes(content)
            assert find_damage(path)
            assert read_finished_metadata(path, "abc") is None
        path.write_bytes(whole)
        assert read_finished_metadata(path, "abc") is not None
        assert "rendered again" in caplog.text

    def test_broken_file(self, tmp_path: Path, plate: Plate) -> None:
        write_exr(tmp_path / "a.exr", plate)
        for content in (b"", b"v/1\x01 and no more", b"text"):
            (tmp_path / "a.exr").write_bytes(content)
            assert read_finished_metadata(tmp_path / "a.exr", "abc") is None


def save(path: Path, value: str) -> None:
    path.write_text(value)


def load(path: Path) -> str:
    text = path.read_text()
    if "broken" in text:
        raise TrackError("broken")
    return text.lower()


class TestKeptFile:
    def test_made_once_and_always_as_the_file_has_it(self, tmp_path: Path) -> None:
        made = []

        def compute() -> str:
            made.append(1)
            return "VALUE"

        path = tmp_path / "folder" / "x.json"
        assert [load_or_compute(path, compute, save, load) for _ in range(3)] == ["value"] * 3
        assert len(made) == 1

    def test_broken_file_is_made_again(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("broken")
        assert load_or_compute(tmp_path / "x", lambda: "NEW", save, load) == "new"
        assert (tmp_path / "x").read_text() == "NEW"

    @pytest.mark.parametrize("byte", [0, 2, 4])
    def test_a_changed_byte_is_noticed(self, tmp_path: Path, byte: int, caplog: pytest.LogCaptureFixture) -> None:
        path = tmp_path / "x"
        load_or_compute(path, lambda: "VALUE", save, load)
        content = bytearray(path.read_bytes())
        content[byte] ^= 1
        path.write_bytes(content)
        assert load_or_compute(path, lambda: "VALUE", save, load) == "value"
        assert path.read_bytes() == b"VALUE" and "not what was written" in caplog.text

    def test_a_file_without_its_checksum_is_made_again(self, tmp_path: Path) -> None:
        """As if its writer had been killed."""
        path = tmp_path / "x"
        path.write_text("HALF")
        assert load_or_compute(path, lambda: "VALUE", save, load) == "value"

    def test_sealed_bytes(self) -> None:
        sealed = seal_bytes(b"numbers")
        assert unseal_bytes(sealed) == b"numbers"
        for wrong in (b"", sealed[:-1], b"Numbers" + sealed[7:], sealed[:-1] + b"x"):
            with pytest.raises(ValueError, match="not what was written"):
                unseal_bytes(wrong)

    def test_who_comes_second_waits(self, tmp_path: Path) -> None:
        """Two processes want the same file; the first is slow. One of them makes it."""
        code = (
            "import sys, time; from pathlib import Path; from fsgan_core.runtime.cache import load_or_compute\n"
            "folder = Path(sys.argv[1])\n"
            "def compute():\n"
            "    (folder / f'made.{sys.argv[2]}').touch(); time.sleep(1.0); return 'value'\n"
            "print(load_or_compute(folder / 'cache' / 'x.json', compute, Path.write_text, Path.read_text))"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        both = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(tmp_path), name], env=environment, text=True, stdout=subprocess.PIPE
            )
            for name in "ab"
        ]
        assert [process.communicate()[0].strip() for process in both] == ["value", "value"]
        assert len(list(tmp_path.glob("made.*"))) == 1
        assert [path.name for path in sorted((tmp_path / "cache").iterdir())] == ["x.json", "x.json.sum"]

    def test_never_two_at_once_when_each_fails(self, tmp_path: Path) -> None:
        """Whoever waits when a holder fails takes its place alone."""
        code = (
            "import sys, time; from pathlib import Path; from fsgan_core.runtime.cache import load_or_compute\n"
            "folder = Path(sys.argv[1])\n"
            "def compute():\n"
            "    with (folder / 'log').open('ab', buffering=0) as log:\n"
            "        log.write(b'+'); time.sleep(0.01); log.write(b'-')\n"
            "    raise ZeroDivisionError\n"
            "for _ in range(10):\n"
            "    try:\n"
            "        load_or_compute(folder / 'cache' / 'x.json', compute, Path.write_text, Path.read_text)\n"
            "    except ZeroDivisionError:\n"
            "        pass\n"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment) for _ in range(4)]
        assert [process.wait() for process in processes] == [0] * 4
        assert (tmp_path / "log").read_bytes() == b"+-" * 40
        assert list((tmp_path / "cache").iterdir()) == []

    def test_cache_only(self, tmp_path: Path) -> None:
        with use_cache_only(), pytest.raises(NotCachedError, match=r"x\.json is not in the cache"):
            load_or_compute(tmp_path / "x.json", lambda: "NEW", save, load)
        assert load_or_compute(tmp_path / "x.json", lambda: "NEW", save, load) == "new"
        with use_cache_only():
            assert load_or_compute(tmp_path / "x.json", lambda: "OTHER", save, load) == "new"

    def test_does_without_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        assert load_or_compute(tmp_path / "file" / "x", lambda: "NEW", save, load) == "new"

    def test_does_without_when_saving_fails(self, tmp_path: Path) -> None:
        def full(path: Path, value: str) -> None:
            if path.parent == tmp_path:
                raise OutputError("full")
            save(path, value)

        assert load_or_compute(tmp_path / "x", lambda: "NEW", full, load) == "new"
        assert not (tmp_path / "x").exists()


def test_cache_folder_by_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FSGAN_CACHE", str(tmp_path))
    assert get_cache_folder() == tmp_path
    monkeypatch.delenv("FSGAN_CACHE")
    assert get_cache_folder().name == "fsgan"


class TestByteLRU:
    def make(self, limit: int = 100) -> ByteLRU[int, bytes]:
        return ByteLRU(limit, len)

    def test_makes_once(self) -> None:
        held = self.make()
        made: list[int] = []
        for key in (1, 1, 1):
            held.get(key, lambda: made.append(1) or b"x" * 10)
        assert len(made) == 1 and len(held) == 1 and held.used_bytes == 10

    def test_drops_what_was_used_longest_ago(self) -> None:
        held = self.make()
        for key in (1, 2):
            held.get(key, lambda: b"x" * 40)
        held.get(1, lambda: b"")
        held.get(3, lambda: b"x" * 40)
        assert 1 in held and 2 not in held and 3 in held and held.used_bytes == 80

    def test_never_above_the_limit(self) -> None:
        held = self.make()
        assert held.get(1, lambda: b"x" * 101) == b"x" * 101
        assert len(held) == 0
        for key in range(50):
            held.get(key, lambda: b"x" * 33)
            assert held.used_bytes <= 100

    def test_never_more_than_so_many(self) -> None:
        held: ByteLRU[int, bytes] = ByteLRU(1000, len, count=3)
        for key in range(10):
            held.get(key, lambda: b"x")
        assert [key for key in range(10) if key in held] == [7, 8, 9] and held.used_bytes == 3

    def test_failures_are_not_kept(self) -> None:
        held = self.make()
        with pytest.raises(ZeroDivisionError):
            held.get(1, lambda: 1 // 0)
        assert held.get(1, lambda: b"ok") == b"ok"

    def test_who_comes_while_a_value_is_made_waits_for_it(self) -> None:
        held = self.make()
        made: list[int] = []
        begun = threading.Event()

        def slowly() -> bytes:
            made.append(1)
            begun.set()
            time.sleep(0.05)
            return b"x"

        first = threading.Thread(target=held.get, args=(1, slowly))
        first.start()
        begun.wait()
        assert held.get(1, slowly) == b"x"
        first.join()
        assert len(made) == 1

    def test_one_at_a_time_after_a_failure(self) -> None:
        """A waits for nothing and fails, B waited for A, C comes while B works: B and C must not work side by side."""
        held = self.make()
        lock = threading.Lock()
        running, most, calls = 0, 0, 0

        def make() -> bytes:
            nonlocal running, most, calls
            with lock:
                running, calls = running + 1, calls + 1
                most, number = max(most, running), calls
            time.sleep(0.1)
            with lock:
                running -= 1
            if number == 1:
                raise ZeroDivisionError
            return b"x"

        def get() -> None:
            with contextlib.suppress(ZeroDivisionError):
                held.get(1, make)

        threads = [threading.Thread(target=get) for _ in range(3)]
        for thread, pause in zip(threads, (0.02, 0.1, 0.0), strict=True):
            thread.start()
            time.sleep(pause)
        for thread in threads:
            thread.join()
        assert (calls, most) == (2, 1)

    def test_from_several_threads(self) -> None:
        held = self.make(1000)

        def work(seed: int) -> None:
            for i in range(300):
                key = (seed * 7 + i * 13) % 40
                assert held.get(key, lambda key=key: bytes([key]) * 50) == bytes([key]) * 50

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert held.used_bytes == 50 * len(held) <= 1000


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_the_users_own_cache_is_closed_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds measurements of faces. A folder that is there, or that a studio names, keeps its permissions."""
    monkeypatch.delenv("FSGAN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = get_cache_folder()
    assert folder.is_relative_to(tmp_path) and folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o750)
    assert get_cache_folder().stat().st_mode & 0o777 == 0o750
    monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "studio"))
    assert not get_cache_folder().exists()
