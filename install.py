#!/usr/bin/env python3
"""Make .venv beside this file, install the pinned dependencies and the project in it, and try it out.

Standard library only. The syntax is Python 3.6's, so that an old Python gets as far as saying what is wrong.
"""

import sys

OLDEST_PYTHON = (3, 11)


def describe_old_python() -> str:
    """What to tell an old Python."""
    from shutil import which

    oldest = f"{OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]}"
    text = f"install.py: this is Python {sys.version.split()[0]}; the project needs {oldest} or newer."
    newer = [name for name in ("python3.11", "python3.12", "python3.13", "python3.14") if which(name)]
    if newer:
        return f"{text} Run: {newer[0]} install.py"
    return f"{text} Install one (python.org, your system's packages, pyenv or conda) and run install.py with it."


if sys.version_info < OLDEST_PYTHON:
    sys.stderr.write(describe_old_python() + "\n")
    sys.exit(2)

import argparse  # noqa: E402
import contextlib  # noqa: E402
import hashlib  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import types  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

ROOT = Path(__file__).resolve().parent
INPUT_FILES = ("constraints.txt", "pyproject.toml")
REQUIRED_GB = 3.0
"""What a finished .venv takes, and what pip unpacks on the way, with PyTorch's build for the CPU."""
REQUIRED_AGAIN_GB, REQUIRED_TEMPORARY_GB = 1.0, 0.5
MIN_COVERAGE = 85
"""Per cent of the lines of fsgan_core and of the Nuke plugin that the tests must run through."""

PARALLEL_TESTS = ("--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile")
"""Tests in a process for each core, a file's in one of them; each may take 2 GB."""

EXIT_OK, EXIT_FAILED, EXIT_WRONG_INPUT, EXIT_MACHINE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

DESCRIPTION = """\
Makes .venv beside this file, installs the dependencies in the versions that constraints.txt names, and the
project itself, so that .venv/bin/fsgan runs. Outside this folder only pip's cache is changed, and with --nuke your
~/.nuke/init.py. Run it again whenever you like: what is finished is left alone, what was interrupted is done again.
PyTorch comes from your package index: on Linux, PyPI has the build for CUDA, which is several GB larger. For the CPU
build pass --torch-index https://download.pytorch.org/whl/cpu.
"""

EPILOG = """\
exit codes:
  0  done
  1  installed, but the demo or a test failed
  2  cannot work as asked: Python too old, no venv module, a .venv that is something else (do not retry)
  3  this machine failed: no network, no space, no permission (mend that, then run the same command again)

Needs Python 3.11 or newer, about 3 GB of disk (several GB more with PyTorch's build for CUDA) and, the first time, a
package index. pip's own settings (PIP_INDEX_URL, PIP_FIND_LINKS, pip.conf) are used, so a studio's mirror or a folder
of wheels works without a network.
"""

PIP_PROBLEMS = (
    (
        r"No space left on device|Disk quota exceeded|Errno 28\b|Errno 122\b",
        "the disk is full. Free {need:g} GB (or set TMPDIR to a folder on a larger disk) and run this again.",
    ),
    (
        r"Permission denied|Errno 13\b|Read-only file system|Errno 30\b",
        "a file could not be written. Check the permissions of {root} and of pip's cache, and run this again.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError",
        "the package index's certificate is not trusted here. Set PIP_CERT to your company's certificate bundle.",
    ),
    (
        r"NewConnectionError|NameResolutionError|Temporary failure in name resolution|Name or service not known|"
        r"Connection refused|Network is unreachable|Max retries exceeded|ReadTimeout|ConnectTimeout|Read timed out|"
        r"ProxyError|getaddrinfo failed|No route to host|Connection reset|RemoteDisconnected|IncompleteRead",
        "the package index could not be reached. Check the network, HTTPS_PROXY and pip's settings, or point pip to a "
        "mirror (PIP_INDEX_URL) or to a folder of wheels (PIP_NO_INDEX=1 and PIP_FIND_LINKS), and run this again.",
    ),
    (
        r"\(from versions: none\)",
        "nothing was found under that name: there is no network, or the package index in use has nothing for Python "
        "{python} on this platform. Check the network and pip's settings (PIP_INDEX_URL, PIP_FIND_LINKS), or use "
        "another Python, and run this again.",
    ),
    (
        r"No matching distribution found|Could not find a version that satisfies",
        "the package index in use has no such version for Python {python} on this platform. Use another index, or "
        "another Python.",
    ),
    (
        r"DO NOT MATCH THE HASHES|BadZipFile|is not a valid wheel|has an invalid wheel",
        "a download was damaged. Run 'pip cache purge' and then this again.",
    ),
)
"""(what pip prints, what it means); the first that is found counts."""


class InstallError(Exception):
    """Something to tell and stop for; `code` is the exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = code


@dataclass(frozen=True)
class CheckoutPaths:
    """Where things lie in a checkout."""

    root: Path

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self._get_program("python")

    @property
    def fsgan(self) -> Path:
        return self._get_program("fsgan")

    @property
    def stamp(self) -> Path:
        """Written last: what is there is whole."""
        return self.venv / "fsgan-install.json"

    @property
    def discarded(self) -> Path:
        """An old .venv that is being removed."""
        return self.root / ".venv.discarded"

    @property
    def marker(self) -> Path:
        """There while an install is under way."""
        return self.venv / "fsgan-install.unfinished"

    @property
    def log(self) -> Path:
        return self.venv / "fsgan-install.log"

    def _get_program(self, name: str) -> Path:
        return self.venv / ("Scripts" if os.name == "nt" else "bin") / (f"{name}.exe" if os.name == "nt" else name)

    def shorten_path(self, path: "Path | str") -> str:
        """Relative to the checkout where it lies inside, and quoted where it needs to be."""
        path = Path(path)
        text = str(path.relative_to(self.root)) if path.is_absolute() and path.is_relative_to(self.root) else str(path)
        return f'"{text}"' if " " in text else text


@dataclass(frozen=True)
class InstallPlan:
    """What is to do; no steps: all is there. fresh: .venv is made (anew)."""

    steps: "tuple[str, ...]" = ()
    reason: str = ""
    is_fresh: bool = False


def main(arguments: "list[str] | None" = None, root: Path = ROOT) -> int:
    options = parse_arguments(arguments)
    try:
        return run_install(options, CheckoutPaths(root))
    except InstallError as trouble:
        sys.stderr.write(f"install.py: {trouble}\n")
        return trouble.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\ninstall.py: interrupted; run it again to start over.\n")
        return EXIT_INTERRUPTED


def parse_arguments(arguments: "list[str] | None") -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="install.py", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help="then run the main job on public-domain stills that installed packages carry: a face swap "
        "on a 24-frame 1920x1080 ACEScg plate; results lie in out/demo",
    )
    parser.add_argument(
        "--test",
        action="store_true",
        help="then check format, style, spelling, docs and types and run the whole test suite; "
        f"fails below {MIN_COVERAGE} %% coverage",
    )
    parser.add_argument("--dry-run", action="store_true", help="check this machine and say what would be done")
    parser.add_argument(
        "--nuke",
        metavar="DIR",
        nargs="?",
        const="",
        help="then add the nodes to Nuke: a few lines between marks at the end of init.py in DIR (else "
        "the .nuke folder of your home), and your preferences, which say where the worker's "
        "Python is. The init.py that was there is kept as init.py.before-fsgan",
    )
    parser.add_argument(
        "--uninstall",
        action="store_true",
        help="take both out of Nuke again, and do nothing else; with --nuke DIR, out of that folder",
    )
    parser.add_argument(
        "--torch-index",
        metavar="URL",
        default="",
        help="take torch from this package index, for example PyTorch's own one with the builds for "
        "the CPU (on Linux the one on PyPI is a CUDA build, several GB larger)",
    )
    return parser.parse_args(arguments)


def run_install(options: argparse.Namespace, places: CheckoutPaths) -> int:
    if options.uninstall and options.dry_run:
        for number, step in enumerate(list_uninstall_steps(options, places), 1):
            print_line(f"  {number}. {step}")
        return EXIT_OK
    if options.uninstall:
        change_nuke(options, places)
        return EXIT_OK
    if options.dry_run:
        describe_plan(make_plan(places), options, places)
        return EXIT_OK
    with hold_install_lock(places) as held:
        plan = make_plan(places)
        if plan.steps:
            install_venv(plan, places, options.torch_index, held)
        else:
            print_line(".venv is up to date.")
    if options.nuke is not None:
        change_nuke(options, places)
    code = run_demo(places) if options.demo else EXIT_OK
    if options.test:
        code = run_tests(places) or code
    if not (options.demo or options.test or options.nuke is not None):
        print_line(f"Next: python3 install.py --demo, or {places.shorten_path(places.fsgan)} --help")
    return code


@contextlib.contextmanager
def hold_install_lock(places: CheckoutPaths) -> "Iterator[tuple[int, ...]]":
    """Wait until no other install works in this folder; yields the descriptors that hold the lock.

    pip inherits them: where install.py is killed, its pip may live on for a while and write into .venv.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield ()
        return
    folder = os.open(places.root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_line("Another install is at work in this folder; waiting for it ...")
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            yield ()
            return
        yield (folder,)
    finally:
        os.close(folder)


def make_plan(places: CheckoutPaths) -> InstallPlan:
    """Raises Trouble where it cannot be done."""
    state, why = inspect_venv(places)
    if state == "foreign":
        raise InstallError(
            EXIT_WRONG_INPUT, f"{places.venv} is there but is no Python environment. Move it away and run this again."
        )
    if state == "whole":
        return InstallPlan()
    fresh = state in ("none", "broken")
    check_machine(places, REQUIRED_GB if fresh else REQUIRED_AGAIN_GB)
    steps = [f"remove .venv ({why})"] if state == "broken" else []
    if fresh:
        steps.append(f"make .venv with Python {sys.version.split()[0]}")
    steps.append(f"install {len(read_pins(places))} pinned packages (constraints.txt) with pip")
    steps.append(f"install the project, editable, so that {places.shorten_path(places.fsgan)} runs")
    steps.append("check that every library loads")
    return InstallPlan(tuple(steps), why, fresh)


def inspect_venv(places: CheckoutPaths) -> "tuple[str, str]":
    """("none" | "foreign" | "broken" | "stale" | "whole", why)."""
    if not os.path.lexists(places.venv):
        return "none", "there is no .venv yet"
    if not places.venv.is_dir():
        return "foreign", ""
    if not any(places.venv.iterdir()):
        return "none", ".venv is empty"
    if places.marker.exists():
        return "broken", "an earlier install did not finish"
    if not (places.venv / "pyvenv.cfg").exists():
        return "foreign", ""
    version = run_quick_command([str(places.python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    if version is None:
        return "broken", "its Python does not run"
    if version != get_python_version():
        return "broken", f"it was made with Python {version}"
    stamp = read_stamp(places)
    if stamp.get("root", str(places.root)) != str(places.root):
        return "broken", "the folder was moved"
    if stamp.get("digest") == compute_digest(places) and places.fsgan.exists():
        return "whole", ""
    if run_quick_command([str(places.python), "-m", "pip", "--version"]) is None:
        return "broken", "its pip does not run"
    return "stale", "the pinned packages have changed" if stamp else "it was not made by install.py"


def check_machine(places: CheckoutPaths, need_gb: float) -> None:
    """Raises Trouble where an install cannot work."""
    missing = [name for name in INPUT_FILES if not (places.root / name).is_file()]
    if missing:
        raise InstallError(EXIT_WRONG_INPUT, f"{missing[0]} is missing beside install.py; clone the project again.")
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise InstallError(
            EXIT_WRONG_INPUT,
            f"this Python has no module {missing[0]}. On Debian or Ubuntu: "
            f"apt install python{get_python_version()}-venv. Elsewhere use a Python from python.org, "
            "pyenv or conda.",
        )
    if not os.access(places.root, os.W_OK):
        raise InstallError(
            EXIT_MACHINE, f"no permission to write in {places.root}. Run as its owner, or clone elsewhere."
        )
    for folder, amount in ((places.root, need_gb), (Path(tempfile.gettempdir()), REQUIRED_TEMPORARY_GB)):
        free = shutil.disk_usage(folder).free / 1e9
        if free < amount:
            raise InstallError(
                EXIT_MACHINE,
                f"{free:.1f} GB are free on the disk of {folder}, {amount:g} GB are needed. Free "
                "some space and run this again.",
            )


def describe_plan(plan: InstallPlan, options: argparse.Namespace, places: CheckoutPaths) -> None:
    print_line(f"Python {sys.version.split()[0]}, folder {places.root}")
    print_line(f"To do, because {plan.reason}:" if plan.steps else "Nothing to install: .venv is up to date.")
    steps = list(plan.steps)
    if options.nuke is not None:
        nuke_install, plugin = import_nuke_install(), places.root / "nuke_plugin"
        folder = nuke_install.find_nuke_folder(options.nuke)
        steps.append(f"add {places.shorten_path(plugin)} to {places.shorten_path(folder / 'init.py')}")
        steps.append(f"write the preferences, {places.shorten_path(nuke_install.find_settings_file(plugin))}")
        steps.append("check that the worker answers")
    if options.demo:
        steps.append("run " + " ".join(map(places.shorten_path, make_demo_command(places))))
    if options.test:
        steps.extend("run " + " ".join(map(places.shorten_path, command)) for command in make_test_commands(places))
    for number, step in enumerate(steps, 1):
        print_line(f"  {number}. {step}")


def install_venv(plan: InstallPlan, places: CheckoutPaths, torch_index: str = "", held: "tuple[int, ...]" = ()) -> None:
    """Raises Trouble; leaves the marker then, so that the next run starts over."""
    started = time.monotonic()
    if os.path.lexists(places.discarded):  # an earlier install was interrupted while it removed this
        remove_folder(places.discarded)
    try:
        if plan.is_fresh and os.path.lexists(places.venv):
            # In one step: if the removal is interrupted, no half of a .venv is left that looks like something else.
            places.venv.rename(places.discarded)
        places.venv.mkdir(exist_ok=True)
        places.marker.write_text("An install is under way or was interrupted; install.py makes this folder anew.\n")
    except OSError as error:
        raise InstallError(
            EXIT_MACHINE, f"{places.venv} cannot be made: {error}. Close programs that use it, and run this again."
        ) from error
    if os.path.lexists(places.discarded):
        remove_folder(places.discarded)
    if plan.is_fresh:
        print_line("Making .venv ...")
        made = subprocess.run(
            [sys.executable, "-m", "venv", str(places.venv)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if made.returncode:
            raise InstallError(EXIT_MACHINE, f"python -m venv failed:\n{indent_text(made.stdout)}")
    pip = [
        str(places.python),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "-c",
        "constraints.txt",
    ]
    print_line("Installing pinned packages ...")
    run_pip([*pip, "setuptools", "hatchling", "editables"], places, held)  # they build what comes as source
    run_pip([*pip, *(["--index-url", torch_index] if torch_index else []), "torch"], places, held)
    run_pip([*pip, "--no-build-isolation", "-e", ".[test]"], places, held)
    print_line("Checking ...")
    check_libraries(places)
    seconds = time.monotonic() - started
    places.stamp.write_text(
        json.dumps({"digest": compute_digest(places), "root": str(places.root), "seconds": round(seconds)})
    )
    places.marker.unlink()
    print_line(f"Installed in {format_duration(seconds)}.")


def remove_folder(folder: Path) -> None:
    try:
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        raise InstallError(
            EXIT_MACHINE,
            f"{folder} cannot be removed ({error}). Close programs that use it, remove it, and run this again.",
        ) from error


def run_pip(command: "list[str]", places: CheckoutPaths, held: "tuple[int, ...]" = ()) -> None:
    """Run pip, show what it collects, keep all it says in the log. Raises Trouble that says what went wrong."""
    said = []
    with places.log.open("a") as log:
        log.write(f"$ {' '.join(command)}\n")
        with subprocess.Popen(
            command,
            cwd=places.root,
            env=make_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=held,
        ) as process:
            for line in process.stdout or ():
                log.write(line)
                said.append(line)
                if re.match(r"(Collecting|Installing|Building|Retrying|WARNING: Retrying)\b", line.strip()):
                    print_line("  " + (line.strip() if len(line) < 100 else line.strip()[:97] + "..."))
    if process.returncode:
        raise InstallError(EXIT_MACHINE, explain_failure("".join(said), places))


def explain_failure(output: str, places: CheckoutPaths) -> str:
    """What a failed pip means, by what it said."""
    for pattern, meaning in PIP_PROBLEMS:
        telling = [line for line in output.splitlines() if re.search(pattern, line)]
        if telling:
            means = meaning.format(need=REQUIRED_GB, root=places.root, python=get_python_version())
            return f"pip failed:\n{indent_text(telling[-1][:300])}\nThat means: {means}"
    return f"pip failed:\n{indent_text(output, last=6)}\nAll that it said is in {places.shorten_path(places.log)}."


def check_libraries(places: CheckoutPaths) -> None:
    code = "import cv2, numpy, OpenImageIO, PyOpenColorIO, scipy, skimage, torch, fsgan_core.contract.params"
    result = subprocess.run(
        [str(places.python), "-c", code],
        cwd=places.root,
        env=make_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        last = (result.stdout.strip().splitlines() or ["no message"])[-1]
        library = re.search(r"lib\w[\w.+-]*\.so[\d.]*", last)
        hint = f" Install the system library {library.group(0)} with your system's packages." if library else ""
        raise InstallError(EXIT_MACHINE, f"a library does not load: {last}.{hint}")


def make_demo_command(places: CheckoutPaths) -> "list[str]":
    output = places.root / "out" / "demo"
    return [str(places.python), str(places.root / "examples" / "demo.py"), "--output", str(output)]


def make_test_commands(places: CheckoutPaths) -> "list[list[str]]":
    python = str(places.python)
    return [
        [python, "-m", "ruff", "format", "--check", "."],
        [python, "-m", "ruff", "check", "."],
        [python, "-m", "codespell_lib"],
        [python, "-m", "mkdocs", "build", "--strict", "--quiet"],
        [python, "-m", "mypy"],
        [
            python,
            "-m",
            "pytest",
            *PARALLEL_TESTS,
            "--cov=fsgan_core",
            "--cov=fsgan_nuke",
            "--cov-report=term:skip-covered",
            f"--cov-fail-under={MIN_COVERAGE}",
        ],
    ]


def run_demo(places: CheckoutPaths) -> int:
    print_line("Running the demo ...")
    started = time.monotonic()
    code = subprocess.call(make_demo_command(places), cwd=places.root, env=make_environment())
    if code:
        sys.stderr.write(f"install.py: the demo failed (exit code {code}).\n")
        return EXIT_FAILED
    print_line(f"Demo done in {format_duration(time.monotonic() - started)}.")
    return EXIT_OK


def run_tests(places: CheckoutPaths) -> int:
    failed = []
    for command in make_test_commands(places):
        name = " ".join(word for word in command[2:4] if not word.startswith("-"))
        print_line(f"Running {name} ...")
        started = time.monotonic()
        code = subprocess.call(command, cwd=places.root, env=make_environment())
        print_line(f"{name} {'failed' if code else 'passed'} in {format_duration(time.monotonic() - started)}.")
        if code:
            failed.append(name)
    if failed:
        sys.stderr.write(f"install.py: failed: {', '.join(failed)}.\n")
        return EXIT_FAILED
    return EXIT_OK


def import_nuke_install() -> "types.ModuleType":
    """The project's own module, from this checkout: it needs the standard library alone."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module("fsgan_core.nuke_install")


def change_nuke(options: argparse.Namespace, places: CheckoutPaths) -> None:
    """Add the nodes to Nuke, or take them out. `fsgan nuke` does the same for an installed wheel."""
    nuke_install = import_nuke_install()
    from fsgan_core.contract.errors import FsganError

    folder, plugin = nuke_install.find_nuke_folder(options.nuke or ""), places.root / "nuke_plugin"
    try:
        if options.uninstall:
            nuke_install.uninstall_plugin(folder, plugin=plugin, say=print_line)
        else:
            nuke_install.install_plugin(
                folder, plugin=plugin, python=places.python, root=str(places.root), say=print_line
            )
    except FsganError as error:
        raise InstallError(error.exit_code, str(error)) from error


def list_uninstall_steps(options: argparse.Namespace, places: CheckoutPaths) -> "list[str]":
    """What --uninstall would do."""
    nuke_install = import_nuke_install()
    folder, plugin = nuke_install.find_nuke_folder(options.nuke or ""), places.root / "nuke_plugin"
    preferences = nuke_install.find_settings_file(plugin)
    steps = [
        f"take the nodes out of {places.shorten_path(folder / 'init.py')}, if they are in it",
        f"take the worker's Python out of the preferences, {places.shorten_path(preferences)}",
    ]
    copied = nuke_install.find_plugin_copies()
    if copied.is_dir():
        steps.append(f"remove {places.shorten_path(copied)}")
    return steps


def make_environment() -> "dict[str, str]":
    """This one, without what would let another Python's packages in or send these elsewhere."""
    away = (
        "PYTHONPATH",
        "PYTHONHOME",
        "VIRTUAL_ENV",
        "__PYVENV_LAUNCHER__",
        "PIP_USER",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_REQUIRE_VIRTUALENV",
    )
    kept = {name: value for name, value in os.environ.items() if name not in away}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1", "MPLBACKEND": "Agg", "NO_MKDOCS_2_WARNING": "1"}


def compute_digest(places: CheckoutPaths) -> str:
    """Of all that decides what is installed."""
    whole = hashlib.sha256(get_python_version().encode())
    for name in INPUT_FILES:
        whole.update((places.root / name).read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return whole.hexdigest()


def read_pins(places: CheckoutPaths) -> "list[str]":
    lines = (places.root / "constraints.txt").read_text().splitlines()
    return [line.strip() for line in lines if "==" in line and not line.startswith("#")]


def read_stamp(places: CheckoutPaths) -> "dict[str, str]":
    try:
        stamp = json.loads(places.stamp.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def run_quick_command(command: "list[str]") -> "str | None":
    """What a quick command prints; None when it does not run."""
    try:
        result = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=120,
            env=make_environment(),
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def get_python_version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def indent_text(text: str, last: int = 20) -> str:
    return "\n".join("  " + line for line in text.strip().splitlines()[-last:])


def format_duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"


def print_line(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
