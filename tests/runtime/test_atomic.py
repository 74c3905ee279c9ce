"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fsgan_core.contract.errors import OutputError
from fsgan_core.runtime import atomic
from fsgan_core.runtime.atomic import explain_os_error, probe_folder, write_atomically


class TestAtomicFile:
    def test_takes_its_name_at_the_end(self, tmp_path: Path) -> None:
        with write_atomically(tmp_path / "new" / "a.json") as temporary:
            temporary.write_text("text")
            assert temporary.parent == tmp_path / "new"
            assert not (tmp_path / "new" / "a.json").exists()
        assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["a.json"]
        assert (tmp_path / "new" / "a.json").read_text() == "text"

    def test_a_failure_leaves_what_was_there(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text("old")
        with pytest.raises(ValueError, match="mine"), write_atomically(tmp_path / "a.json") as temporary:
            temporary.write_text("half")
            raise ValueError("mine")
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
        assert (tmp_path / "a.json").read_text() == "old"

    def test_a_refusal_is_explained(self, tmp_path: Path) -> None:
        with (
            pytest.raises(OutputError, match=r"cannot write .*a\.json: the disk is full"),
            write_atomically(tmp_path / "a.json"),
        ):
            raise OSError(errno.ENOSPC, "No space left on device")
        assert list(tmp_path.iterdir()) == []

    def test_a_name_that_is_too_long(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="the name is too long"), write_atomically(tmp_path / ("x" * 300)):
            pytest.fail("no temporary file can have such a name")

    def test_names_are_long_but_still_fit(self, tmp_path: Path) -> None:
        name = "x" * 180
        with write_atomically(tmp_path / name):
            pass
        assert (tmp_path / name).is_file()

    def test_what_a_killed_process_left_is_removed(self, tmp_path: Path) -> None:
        gone = subprocess.Popen([sys.executable, "-c", "pass"])
        gone.wait()
        here, token = atomic._describe_process_space(), "0123456789abcdef"
        elsewhere = "f" * len(here)
        left = [tmp_path / f".a.exr.{here}.{gone.pid}.{token}{end}" for end in (".tmp", ".raw.tmp")]
        old = tmp_path / f".a.exr.{elsewhere}.1.{token}.tmp"
        others = [
            tmp_path / f".b.exr.{here}.{gone.pid}.{token}.tmp",
            tmp_path / f".a.exr.{elsewhere}.{gone.pid}.{token}.tmp",
            tmp_path / f".a.exr.{here}.1.{token}.tmp",
        ]
        for path in [*left, old, *others]:
            path.touch()
        yesterday = time.time() - 25 * 3600
        os.utime(old, (yesterday, yesterday))
        with write_atomically(tmp_path / "a.exr"):
            pass
        assert not any(path.exists() for path in [*left, old])
        assert all(path.exists() for path in others)

    def test_containers_with_one_host_name_and_process_number(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two writers that are told apart by nothing: neither meets the other's file, and both end whole."""
        monkeypatch.setattr(atomic.os, "getpid", lambda: 7)
        monkeypatch.setattr(atomic, "_is_process_alive", lambda process: process == 7)

        def write(text: str) -> None:
            for _ in range(150):
                with write_atomically(tmp_path / "a.json") as temporary:
                    temporary.write_text(text * 1000)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, "abcd"))
        assert len(set((tmp_path / "a.json").read_text())) == 1
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]

    def test_another_container_with_the_same_process_number(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its process is not found here, but its file is not touched."""
        with write_atomically(tmp_path / "a.json") as theirs:
            theirs.write_text("theirs")
            monkeypatch.setattr(atomic, "_describe_process_space", lambda: "0" * 12)
            monkeypatch.setattr(atomic, "_is_process_alive", lambda process: False)
            with write_atomically(tmp_path / "a.json") as ours:
                ours.write_text("ours")
            assert theirs.read_text() == "theirs"
        assert (tmp_path / "a.json").read_text() == "theirs"


class TestMessages:
    @pytest.mark.parametrize(
        ("number", "words"),
        [
            (errno.ENOSPC, "the disk is full; free some space"),
            (errno.EROFS, "the disk is read-only"),
            (errno.EACCES, "no permission"),
            (errno.EDQUOT, "quota"),
            (errno.EIO, "Input/output error"),
        ],
    )
    def test_says_what_to_do(self, number: int, words: str) -> None:
        assert words in explain_os_error(Path("a.exr"), OSError(number, os.strerror(number)))
        assert "cannot write a.exr: odd" in explain_os_error(Path("a.exr"), OSError("odd"))

    def test_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        probe_folder(tmp_path / "new")
        assert list((tmp_path / "new").iterdir()) == []

        def refuse(**_: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(atomic.tempfile, "TemporaryFile", refuse)
        with pytest.raises(OutputError, match="read-only"):
            probe_folder(tmp_path)

    def test_folder_that_cannot_be_made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "mkdir", refuse)
        with pytest.raises(OutputError, match="no permission"):
            atomic.make_folder(tmp_path / "new")

    def test_a_folder_that_cannot_be_synced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        codes = iter([errno.EINVAL, errno.ENOSPC])

        def refuse(_: int) -> None:
            raise OSError(next(codes), "no")

        monkeypatch.setattr(atomic.os, "fsync", refuse)
        atomic._sync_to_disk(tmp_path)  # some network file systems cannot; that is no failure
        with pytest.raises(OSError, match="no"):
            atomic._sync_to_disk(tmp_path)
