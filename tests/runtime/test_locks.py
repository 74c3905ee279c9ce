"""The lock file."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fsgan_core.runtime.locks import FileLockedError, hold_file_lock


def test_one_thread_at_a_time(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(10):
            with hold_file_lock(tmp_path / "folder" / "a.lock"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert list((tmp_path / "folder").iterdir()) == []


def test_without_waiting(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fsgan_core.runtime.locks import hold_file_lock\n"
        "with hold_file_lock(Path(sys.argv[1])):\n"
        "    print('held', flush=True); sys.stdin.readline()\n"
    )
    path = tmp_path / "a.lock"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert other.stdin is not None and other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(FileLockedError, match=r"a\.lock"), hold_file_lock(path, wait=False):
        pass
    other.kill()
    other.communicate()
    with hold_file_lock(path, wait=False):
        assert path.exists()
    assert not path.exists()


def test_goes_on_without_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with hold_file_lock(tmp_path / "file" / "a.lock", wait=False):
        pass


def test_errors_inside_pass_through(tmp_path: Path) -> None:
    for kind in (OSError, TimeoutError, ZeroDivisionError):
        with pytest.raises(kind), hold_file_lock(tmp_path / "a.lock"):
            raise kind
    assert list(tmp_path.iterdir()) == []
