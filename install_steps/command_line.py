"""Options of install.py, and what each of them does."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from install_steps.build_venv import install_venv
from install_steps.checkout import EXIT_INTERRUPTED, EXIT_OK, ROOT, CheckoutPaths, InstallError, print_line
from install_steps.demo_and_tests import MIN_COVERAGE, make_demo_command, make_test_commands, run_demo, run_tests
from install_steps.nuke_nodes import change_nuke, import_nuke_install, list_uninstall_steps
from install_steps.plan import InstallPlan, hold_install_lock, make_plan

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


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Runs install.py; returns its exit code."""
    options = parse_arguments(arguments)
    try:
        return run_install(options, CheckoutPaths(root))
    except InstallError as trouble:
        sys.stderr.write(f"install.py: {trouble}\n")
        return trouble.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\ninstall.py: interrupted; run it again to start over.\n")
        return EXIT_INTERRUPTED


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Parses the options."""
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
    """Does what the options say. Raises InstallError."""
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


def describe_plan(plan: InstallPlan, options: argparse.Namespace, places: CheckoutPaths) -> None:
    """Prints what would be done."""
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
