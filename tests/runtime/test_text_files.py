"""Text files and paths from outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsgan_core.contract.errors import InputError, MachineError
from fsgan_core.runtime import process_memory
from fsgan_core.runtime.process_memory import check_address_space
from fsgan_core.runtime.text_files import read_text_file
from fsgan_core.runtime.user_paths import expand_home, resolve_links


def test_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ä\r\n", encoding="utf-8", newline="")
    assert read_text_file(tmp_path / "a.txt") == "ä\r\n"
    with pytest.raises(OSError, match="larger than 0 MiB"):
        read_text_file(tmp_path / "a.txt", 3)
    (tmp_path / "a.txt").write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        read_text_file(tmp_path / "a.txt")
    assert read_text_file(tmp_path / "a.txt", errors="replace") == "\ufffd"


@pytest.mark.skipif(os.name == "nt", reason="devices and pipes of POSIX")
def test_what_is_no_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match=r"plain file|directory"):
            read_text_file(path)


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_paths(tmp_path: Path) -> None:
    assert expand_home("~/a") == Path.home() / "a" and expand_home("a/~b") == Path("a/~b")
    with pytest.raises(InputError, match="there is no such user"):
        expand_home("~nouser/a")
    with pytest.raises(InputError, match="zero byte"):
        expand_home("a\0")
    (tmp_path / "loop").symlink_to("loop")
    assert resolve_links(tmp_path / "loop") == tmp_path / "loop"
    assert resolve_links(tmp_path / ".." / tmp_path.name) == tmp_path.resolve()


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_address_space(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    check_address_space()
    monkeypatch.setattr(resource, "getrlimit", lambda what: (900_000 << 10, -1))
    with pytest.raises(MachineError, match=r"may use only 0\.9 GiB .* at least 3 GiB"):
        check_address_space()
    monkeypatch.setattr(resource, "getrlimit", lambda what: (process_memory.MIN_ADDRESS_BYTES, -1))
    check_address_space()
