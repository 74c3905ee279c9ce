"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import subprocess
import sys
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

    def test_what_a_killed_process_left_is_removed(self, tmp_path: Path) -> None:
        gone = subprocess.Popen([sys.executable, "-c", "pass"])
        gone.wait()
        host = atomic._get_host_name()
        left = [tmp_path / f".a.exr.{host}.{gone.pid}.{end}" for end in ("0.tmp", "1.raw.tmp")]
        others = [
            tmp_path / f".b.exr.{host}.{gone.pid}.0.tmp",
            tmp_path / f".a.exr.elsewhere.{gone.pid}.0.tmp",
            tmp_path / f".a.exr.{host}.1.0.tmp",
        ]
        for path in left + others:
            path.touch()
        with write_atomically(tmp_path / "a.exr"):
            pass
        assert not any(path.exists() for path in left)
        assert all(path.exists() for path in others)


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
        import os

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
