"""Nodes into Nuke and out again: what changes in init.py and the preferences, and what stays."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fsgan_core import nuke_install
from fsgan_core.contract.errors import InputError, MachineError
from install_steps.checkout import EXIT_MACHINE, EXIT_OK, EXIT_WRONG_INPUT, CheckoutPaths, compute_digest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the fake environments are shell scripts")


@pytest.fixture(scope="module")
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fsgan_install_nuke", ROOT / "install.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, with a space and letters that are not Latin."""
    home = tmp_path / "Анна Müller 家"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("FSGAN_SETTINGS", "XDG_CONFIG_HOME", "FSGAN_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def checkout(install: ModuleType, tmp_path: Path) -> Path:
    """A checkout that is installed, as far as install.py can see; its Python is this one."""
    root = tmp_path / 'a "checkout" été'
    (root / "nuke_plugin" / "fsgan_nuke").mkdir(parents=True)
    (root / "nuke_plugin" / "init.py").write_text("loaded = True\n")
    shutil.copy(ROOT / "nuke_plugin" / "fsgan_nuke" / "settings.py", root / "nuke_plugin" / "fsgan_nuke")
    (root / "fsgan_core").symlink_to(ROOT / "fsgan_core")
    (root / "constraints.txt").write_text("numpy==2.0\n")
    (root / "pyproject.toml").write_text("[project]\nname = 'fsgan'\n")
    binaries = root / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (root / ".venv" / "pyvenv.cfg").write_text("home = /usr\n")
    for name, body in (("python", f'exec "{sys.executable}" "$@"'), ("fsgan", "exit 0")):
        (binaries / name).write_text(f"#!/bin/sh\n{body}\n")
        (binaries / name).chmod(0o755)
    places = CheckoutPaths(root)
    places.stamp.write_text(json.dumps({"digest": compute_digest(places), "root": str(root)}))
    return root


def preferences(home: Path) -> Path:
    folder = home / "Library" / "Application Support" if sys.platform == "darwin" else home / ".config"
    return folder / "fsgan" / "nuke.json"


def run_init(init: Path, tmp_path: Path) -> list[str]:
    """What an init.py adds to the plugin path, read by another Python with a stand-in for the host."""
    fake = tmp_path / "fake"
    fake.mkdir(exist_ok=True)
    (fake / "nuke.py").write_text("paths = []\ndef pluginAddPath(path): paths.append(path)\n")
    code = f"import json, runpy, nuke; runpy.run_path({str(init)!r}); print(json.dumps(nuke.paths))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(fake)},
    )
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


class TestWhole:
    def test_installed_twice_and_taken_out(
        self, install: ModuleType, home: Path, checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """With the real worker, in folders with quotes, spaces and other letters."""
        init = home / ".nuke" / "init.py"
        init.parent.mkdir()
        before = "# mine: ключ\nimport os".encode()
        init.write_bytes(before)
        assert install.main(["--nuke"], checkout) == EXIT_OK
        assert "The worker answers" in capsys.readouterr().out
        assert init.read_bytes().startswith(before + b"\n")
        assert run_init(init, tmp_path) == [(checkout / "nuke_plugin").as_posix()]
        assert (init.parent / "init.py.before-fsgan").read_bytes() == before
        said = json.loads(preferences(home).read_text("utf-8"))
        assert said == {"python": str(checkout / ".venv" / "bin" / "python"), "root": str(checkout)}

        first = init.read_bytes(), init.stat().st_mtime_ns
        assert install.main(["--nuke"], checkout) == EXIT_OK
        assert "there already" in capsys.readouterr().out
        assert (init.read_bytes(), init.stat().st_mtime_ns) == first

        assert install.main(["--uninstall"], checkout) == EXIT_OK
        assert [path.name for path in init.parent.iterdir()] == ["init.py"], "the backup is not needed any more"
        assert init.read_bytes() == before
        assert not preferences(home).exists()
        assert f"{preferences(home).name}: removed" in capsys.readouterr().out
        assert install.main(["--uninstall"], checkout) == EXIT_OK
        said = capsys.readouterr().out
        assert "nothing of fsgan" in said
        assert "there are no preferences" in said.splitlines()[-1], "a file that was not there is not called removed"

    def test_a_named_folder_that_is_not_there_yet(
        self, install: ModuleType, home: Path, checkout: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "studio" / "nuke 15"
        assert install.main(["--nuke", str(folder)], checkout) == EXIT_OK
        assert run_init(folder / "init.py", tmp_path) and not (home / ".nuke").exists()
        assert install.main(["--uninstall", "--nuke", str(folder)], checkout) == EXIT_OK
        assert list(folder.iterdir()) == []

    def test_dry_run(self, install: ModuleType, home: Path, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert install.main(["--nuke", "--dry-run"], checkout) == EXIT_OK
        said = capsys.readouterr().out
        assert "init.py" in said and "nuke.json" in said and "worker answers" in said
        assert list(home.iterdir()) == []

    def test_own_settings_are_kept(self, install: ModuleType, home: Path, checkout: Path) -> None:
        file = preferences(home)
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"device": "cuda:1", "python": "/old"}))
        assert install.main(["--nuke"], checkout) == EXIT_OK
        assert json.loads(file.read_text("utf-8"))["device"] == "cuda:1"
        assert json.loads(file.read_text("utf-8"))["python"] != "/old"
        assert install.main(["--uninstall"], checkout) == EXIT_OK
        assert json.loads(file.read_text("utf-8")) == {"device": "cuda:1"}

    def test_a_worker_that_does_not_answer(
        self, install: ModuleType, home: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        body = f'case "$*" in *worker*) echo "ImportError: libfoo" >&2; exit 1;; esac; exec "{sys.executable}" "$@"'
        (checkout / ".venv" / "bin" / "python").write_text(f"#!/bin/sh\n{body}\n")
        assert install.main(["--nuke"], checkout) == EXIT_MACHINE
        said = capsys.readouterr().err
        assert "the worker does not answer" in said and "ImportError: libfoo" in said

    def test_torn_checkout(
        self, install: ModuleType, home: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (checkout / "nuke_plugin" / "init.py").unlink()
        assert install.main(["--nuke"], checkout) == EXIT_WRONG_INPUT
        assert "clone the project again" in capsys.readouterr().err


class TestInit:
    PLUGIN = Path("/opt/fsgan/nuke_plugin")

    @pytest.mark.parametrize(
        "before",
        [
            b"",
            b"\n",
            b"import os\n",
            b"import os",
            b"import os\r\nimport sys\r\n",
            b"import os\r\nimport sys",
            b"\xef\xbb\xbf# with a mark\n",
            b"# latin-1: \xe9\n",
            b"import os\n\n\n",
        ],
    )
    def test_byte_for_byte(self, tmp_path: Path, before: bytes) -> None:
        """In, again in from elsewhere, out: as before."""
        init = tmp_path / "init.py"
        init.write_bytes(before)
        assert nuke_install.change_init_file(init, self.PLUGIN)
        once = init.read_bytes()
        assert once.startswith(before) and b"'/opt/fsgan/nuke_plugin'" in once
        assert (b"\r\n" in once) == (b"\r\n" in before) and once.replace(b"\r\n", b"").count(b"\r") == 0
        assert not nuke_install.change_init_file(init, self.PLUGIN)
        assert nuke_install.change_init_file(init, Path("/elsewhere"))
        again = init.read_bytes()
        assert again.count(nuke_install.BLOCK_BEGIN) == 1 and b"/opt/fsgan" not in again
        assert nuke_install.change_init_file(init, None)
        assert init.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["init.py"]

    def test_what_was_written_after_it_stays(self, tmp_path: Path) -> None:
        init = tmp_path / "init.py"
        nuke_install.change_init_file(init, self.PLUGIN)
        init.write_bytes(init.read_bytes() + b"print('mine')\n")
        nuke_install.change_init_file(init, None)
        assert init.read_bytes() == b"print('mine')\n"

    def test_a_new_file_goes_again(self, tmp_path: Path) -> None:
        assert nuke_install.change_init_file(tmp_path / "init.py", self.PLUGIN)
        assert nuke_install.change_init_file(tmp_path / "init.py", None)
        assert not (tmp_path / "init.py").exists()

    def test_permissions_and_links_stay(self, tmp_path: Path) -> None:
        real, init = tmp_path / "dotfiles.py", tmp_path / "init.py"
        real.write_text("import os\n")
        real.chmod(0o640)
        init.symlink_to(real)
        nuke_install.change_init_file(init, self.PLUGIN)
        assert init.is_symlink() and nuke_install.BLOCK_BEGIN in real.read_bytes()
        assert stat.S_IMODE(real.stat().st_mode) == 0o640

    @pytest.mark.parametrize("torn", ["begin", "end", "order", "twice"])
    def test_torn_marks_are_left_alone(self, tmp_path: Path, torn: str) -> None:
        begin, end = nuke_install.BLOCK_BEGIN + b"\n", nuke_install.BLOCK_END + b"\n"
        text = {"begin": begin, "end": end, "order": end + begin, "twice": (begin + end) * 2}[torn]
        (tmp_path / "init.py").write_bytes(text)
        with pytest.raises(InputError, match="by hand"):
            nuke_install.change_init_file(tmp_path / "init.py", self.PLUGIN)
        assert (tmp_path / "init.py").read_bytes() == text

    def test_hostile_names(self, tmp_path: Path) -> None:
        """Never Python, whatever the folder is called."""
        plugin = Path("/a');import os;os.abort()#\\/'\"$(x) [y] ñ\n")
        nuke_install.change_init_file(tmp_path / "init.py", plugin)
        assert run_init(tmp_path / "init.py", tmp_path) == [plugin.as_posix()]

    def test_a_host_without_our_folder_still_starts(self, tmp_path: Path) -> None:
        init = tmp_path / "init.py"
        nuke_install.change_init_file(init, self.PLUGIN)
        done = subprocess.run([sys.executable, str(init)], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "fsgan is not loaded" in done.stdout

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(MachineError, match="cannot be changed"):
            nuke_install.change_init_file(tmp_path / "file" / "init.py", self.PLUGIN)
