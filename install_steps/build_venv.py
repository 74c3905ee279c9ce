"""Makes .venv, installs the pinned packages and the project in it, and explains what pip says if it fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from install_steps.checkout import (
    EXIT_MACHINE,
    CheckoutPaths,
    InstallError,
    compute_digest,
    format_duration,
    get_python_version,
    indent_text,
    make_environment,
    print_line,
)
from install_steps.plan import REQUIRED_GB, InstallPlan

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


def install_venv(plan: InstallPlan, places: CheckoutPaths, torch_index: str = "", held: tuple[int, ...] = ()) -> None:
    """Installs by plan. If it raises InstallError, the marker stays, so that the next run starts over."""
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
        result = subprocess.run(
            [sys.executable, "-m", "venv", str(places.venv)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode:
            raise InstallError(EXIT_MACHINE, f"python -m venv failed:\n{indent_text(result.stdout)}")
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
    """Removes a folder, or a link to one. Raises InstallError."""
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


def run_pip(command: list[str], places: CheckoutPaths, held: tuple[int, ...] = ()) -> None:
    """Runs pip, prints what it collects, and logs everything. Raises InstallError that says what went wrong."""
    printed = []
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
                printed.append(line)
                if re.match(r"(Collecting|Installing|Building|Retrying|WARNING: Retrying)\b", line.strip()):
                    print_line("  " + (line.strip() if len(line) < 100 else line.strip()[:97] + "..."))
    if process.returncode:
        raise InstallError(EXIT_MACHINE, explain_failure("".join(printed), places))


def explain_failure(output: str, places: CheckoutPaths) -> str:
    """Explains why pip failed, from what it printed."""
    for pattern, meaning in PIP_PROBLEMS:
        matching = [line for line in output.splitlines() if re.search(pattern, line)]
        if matching:
            explanation = meaning.format(need=REQUIRED_GB, root=places.root, python=get_python_version())
            return f"pip failed:\n{indent_text(matching[-1][:300])}\nThat means: {explanation}"
    return f"pip failed:\n{indent_text(output, last=6)}\nAll that it said is in {places.shorten_path(places.log)}."


def check_libraries(places: CheckoutPaths) -> None:
    """Imports every library in the new environment. Raises InstallError for one that does not load."""
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
