"""Adds the nodes to Nuke, and takes them out again: a few lines in a user's init.py, and the plugin's preferences.

`fsgan nuke install` and `python3 install.py --nuke` both call `install_plugin`. A checkout is used in place. A
wheel carries the plugin and the gizmos inside the package; they are first copied into a folder of their own, together
with `fsgan_core.contract`, so that Nuke's interpreter never sees the packages of the environment that fsgan runs in.

Standard library only, so that install.py can use it before anything is installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from fsgan_core.contract.errors import InputError, MachineError
from fsgan_core.contract.plain_data import parse_json
from fsgan_core.contract.version import __version__
from fsgan_core.runtime.user_paths import expand_home, resolve_links

__all__ = [
    "change_init_file",
    "deploy_plugin",
    "find_nuke_folder",
    "find_plugin",
    "find_plugin_copies",
    "find_settings_file",
    "install_plugin",
    "uninstall_plugin",
]

BLOCK_BEGIN, BLOCK_END = b"# >>> fsgan >>>", b"# <<< fsgan <<<"
BLOCK_NOTES = {"new": b" (a new file)", "line": b" (and the end of the line before)"}
"""What else the block brought with it, so that removing it restores the file byte for byte."""
BACKUP_NAME = "init.py.before-fsgan"
WORKER_TIMEOUT = 180
"""Seconds until a worker that does not answer counts as broken; the first start reads much from disk."""

PACKAGE = Path(__file__).resolve().parent
DEPLOYED = ("nuke_plugin", "gizmos", "docs")
"""Folders that a wheel carries in `fsgan_core/nuke_files`."""


def find_nuke_folder(given: str = "") -> Path:
    """Returns the folder where Nuke looks for a user's init.py: `given`, else `.nuke` in the home folder."""
    return expand_home(given).absolute() if given else Path.home() / ".nuke"


def find_plugin() -> Path:
    """Finds the plugin's folder: beside the package in a checkout, else inside the installed package.

    Raises:
        InputError: neither is there.
    """
    for folder in (PACKAGE.parent / "nuke_plugin", PACKAGE / "nuke_files" / "nuke_plugin"):
        if (folder / "init.py").is_file():
            return folder
    raise InputError(f"this installation in {PACKAGE} has no Nuke plugin; install fsgan again")


def deploy_plugin(destination: Path) -> Path:
    """Copies the plugin, the gizmos, the manual and the contract into `destination`, complete or not at all.

    An older copy is replaced.

    Returns:
        The plugin's folder in `destination`, for Nuke's plugin path.

    Raises:
        InputError: the installation has no plugin, or `destination` is something else.
        MachineError: the folder cannot be written.
    """
    source = find_plugin().parent
    destination = expand_home(destination).absolute()
    if destination.exists() and any(destination.iterdir()) and not (destination / "nuke_plugin" / "init.py").is_file():
        raise InputError(f"{destination} is there and is no copy of the plugin; name another folder")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=str(destination.parent), prefix=f".{destination.name}."))
        try:
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
            for name in DEPLOYED:
                shutil.copytree(str(source / name), str(temporary / name), ignore=ignored)
            shutil.copytree(str(PACKAGE / "contract"), str(temporary / "fsgan_core" / "contract"), ignore=ignored)
            # The package's own __init__ hands out names that need other packages; Nuke needs the contract alone.
            text = '"""The contract of fsgan, for the Nuke plugin beside it."""\n'
            (temporary / "fsgan_core" / "__init__.py").write_text(text, encoding="utf-8")
            temporary.chmod(0o755)
            if destination.exists():
                shutil.rmtree(str(destination))
            temporary.replace(destination)
        except BaseException:
            shutil.rmtree(str(temporary), ignore_errors=True)
            raise
    except OSError as error:
        raise MachineError(f"{destination} cannot be written: {error}") from error
    return destination / "nuke_plugin"


def install_plugin(
    folder: Path,
    *,
    plugin: Path | None = None,
    python: Path | None = None,
    root: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Adds the nodes to Nuke and checks that the worker answers.

    Args:
        folder: Nuke's folder with the user's init.py, made if missing.
        plugin: the plugin's folder. None: the checkout's, else a fresh copy in the user's data folder.
        python: interpreter of the worker. None: this one.
        root: folder that the worker adds to its module path; "" where fsgan is installed in `python`. None: the
            checkout, if there is one.
        say: receives one line for each step.

    Raises:
        InputError: the plugin is missing, or the marks in init.py are damaged.
        MachineError: a file cannot be written, or the worker does not answer.
    """
    if plugin is None:
        plugin = find_plugin()
        if plugin.is_relative_to(PACKAGE):
            plugin = deploy_plugin(find_plugin_copies() / __version__)
            say(f"{plugin.parent}: the plugin is copied.")
    if not (plugin / "init.py").is_file():
        raise InputError(f"{plugin} has no init.py; clone the project again")
    python = Path(sys.executable) if python is None else python
    root = ("" if _is_installed() else str(PACKAGE.parent)) if root is None else root
    init = folder / "init.py"
    changed = change_init_file(init, plugin)
    say(f"{init}: {'the nodes are added' if changed else 'the nodes are there already'}.")
    settings = _load_settings_module(plugin)
    file = settings.get_settings_file()
    try:
        settings.write_settings({**_read_json(file), "python": str(python), "root": root}, file)
    except OSError as error:
        raise MachineError(f"the preferences {file} cannot be written: {error}") from error
    say(f"{file}: the worker's Python is written.")
    _check_worker(python, root)
    say("The worker answers. Start Nuke: the nodes are in the toolbar under FSGAN.")


def uninstall_plugin(folder: Path, *, plugin: Path | None = None, say: Callable[[str], None] = print) -> None:
    """Takes the nodes out of the init.py in `folder`, and the worker's Python out of the preferences.

    Raises:
        InputError: the marks in init.py are damaged.
        MachineError: a file cannot be changed.
    """
    init = folder / "init.py"
    changed = change_init_file(init, None)
    say(f"{init}: {'the nodes are removed' if changed else 'nothing of fsgan is in it'}.")
    settings = _load_settings_module(find_plugin() if plugin is None else plugin)
    file = settings.get_settings_file()
    kept = {name: value for name, value in _read_json(file).items() if name not in ("python", "root")}
    outcome = "your own settings are left" if kept else "removed" if file.exists() else "there are no preferences"
    try:
        if kept:
            settings.write_settings(kept, file)
        elif file.exists():
            file.unlink()
        copied = find_plugin_copies()
        if copied.is_dir():
            shutil.rmtree(str(copied))
            say(f"{copied}: removed.")
    except OSError as error:
        raise MachineError(f"the preferences {file} cannot be changed: {error}") from error
    say(f"{file}: {outcome}.")


def change_init_file(init: Path, plugin: Path | None) -> bool:
    """Puts the block for `plugin` at the end of init.py, or removes it where `plugin` is None.

    Everything else in the file stays, byte for byte. The first change keeps a copy, `init.py.before-fsgan`.

    Returns:
        Whether the file changed.

    Raises:
        InputError: the marks of the block are damaged.
        MachineError: the file cannot be changed.
    """
    try:
        before = init.read_bytes() if init.exists() else None
        rest, was_new = _remove_block(before or b"", init)
        if plugin is None:
            after = None if was_new and not rest.strip() else rest
            if before is None:
                return False
        else:
            after = _add_block(rest, plugin, was_new or before is None)
        if after == before:
            return False
        target = resolve_links(init)  # where init.py is a link, the file that it leads to changes
        target.parent.mkdir(parents=True, exist_ok=True)
        backup = init.with_name(BACKUP_NAME)
        if plugin is not None and before is not None and BLOCK_BEGIN not in before:
            shutil.copy2(str(target), str(backup))
        if after is None:
            init.unlink()
        else:
            _replace_file(target, after)
        if plugin is None and backup.exists() and backup.read_bytes() == (after or b""):
            backup.unlink()
    except OSError as error:
        raise MachineError(f"{init} cannot be changed: {error}. Correct that and run this again") from error
    return True


def _add_block(rest: bytes, plugin: Path, is_new: bool) -> bytes:
    """`rest` with the lines that add the plugin at its end. All ASCII, whatever letters the path has."""
    ending = b"\r\n" if b"\r\n" in rest else b"\n"
    unfinished = bool(rest) and not rest.endswith((b"\n", b"\r"))
    note = BLOCK_NOTES["new"] if is_new else BLOCK_NOTES["line"] if unfinished else b""
    path = ascii(plugin.as_posix()).encode("ascii")
    lines = [
        BLOCK_BEGIN + note,
        b"# Added by fsgan; `fsgan nuke uninstall` or `install.py --uninstall` removes it.",
        b"try:",
        b"    import nuke",
        b"",
        b"    nuke.pluginAddPath(" + path + b")",
        b"except Exception as error:",
        b"    print('fsgan is not loaded: %s' % error)",
        BLOCK_END,
        b"",
    ]
    return rest + (ending if unfinished else b"") + ending.join(lines)


def _remove_block(text: bytes, init: Path) -> tuple[bytes, bool]:
    """(init.py without our block, whether the file was made for it). Raises InputError where the marks are damaged."""
    begins, ends = text.count(BLOCK_BEGIN), text.count(BLOCK_END)
    if begins != ends or begins > 1 or text.find(BLOCK_END) < text.find(BLOCK_BEGIN):
        raise InputError(
            f"the marks of fsgan in {init} are damaged. Remove the lines from '{BLOCK_BEGIN.decode()}' to "
            f"'{BLOCK_END.decode()}' by hand and run this again"
        )
    pattern = re.escape(BLOCK_BEGIN) + rb"([^\r\n]*)\r?\n.*?" + re.escape(BLOCK_END) + rb"\r?\n?"
    found = re.search(pattern, text, re.DOTALL)
    if found is None:
        return text, False
    before, note = text[: found.start()], found.group(1)
    if note == BLOCK_NOTES["line"]:
        before = re.sub(rb"\r?\n\Z", b"", before)
    return before + text[found.end() :], note == BLOCK_NOTES["new"]


def _replace_file(path: Path, content: bytes) -> None:
    """Writes the file whole or not at all, with the permissions that it had."""
    descriptor, name = tempfile.mkstemp(dir=str(path.parent), prefix=path.name)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        if path.exists():
            shutil.copymode(str(path), name)
        else:
            temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


def find_settings_file(plugin: Path) -> Path:
    """Returns the plugin's preferences file of this user. It need not exist."""
    file: Path = _load_settings_module(plugin).get_settings_file()
    return file


def find_plugin_copies() -> Path:
    """Returns the folder of the plugin's copies, which an installed wheel makes. It need not exist."""
    return _find_data_folder() / "nuke"


def _load_settings_module(plugin: Path) -> ModuleType:
    """The plugin's own module of preferences, which knows where they lie. Standard library only."""
    path = plugin / "fsgan_nuke" / "settings.py"
    spec = importlib.util.spec_from_file_location("fsgan_nuke_settings", str(path))
    if spec is None or spec.loader is None or not path.is_file():
        raise InputError(f"{path} is missing; clone the project or install fsgan again")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _find_data_folder() -> Path:
    """Returns the folder for the copy of the plugin: in the user's data folder of this system."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "fsgan"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "fsgan"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "fsgan"


def _is_installed() -> bool:
    """Whether this package is an installed wheel, not a checkout."""
    return (PACKAGE / "nuke_files").is_dir()


def _read_json(file: Path) -> dict[str, object]:
    """The object that the file holds; empty where it is missing or is no JSON object."""
    try:
        values = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _check_worker(python: Path, root: str) -> None:
    """Starts the worker as the plugin does and says hello. Raises MachineError."""
    command = [str(python), "-P", "-m", "fsgan_core.cli", "worker"]
    lines = ({"request": "hello", "id": 1, "protocol": 1, "client": "install"}, {"request": "quit", "id": 2})
    away = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    environment = {name: value for name, value in os.environ.items() if name not in away}
    environment |= {"PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1", **({"PYTHONPATH": root} if root else {})}
    try:
        done = subprocess.run(
            command,
            input="".join(json.dumps(line) + "\n" for line in lines),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=WORKER_TIMEOUT,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise MachineError(f"the worker has not answered within {WORKER_TIMEOUT} s: {' '.join(command)}") from None
    except OSError as error:
        raise MachineError(f"the worker does not start: {error}") from error
    for line in done.stdout.splitlines():
        with contextlib.suppress(ValueError):
            event = parse_json(line)
            if isinstance(event, dict) and event.get("event") == "hello":
                return
    last = "\n".join(f"  {line}" for line in (done.stdout + done.stderr).splitlines()[-6:])
    raise MachineError(f"the worker does not answer:\n{last}")
