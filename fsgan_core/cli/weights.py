"""`fsgan weights ...`: list, import, fetch, check and export the weights of the networks."""

from __future__ import annotations

import argparse
import dataclasses
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsgan_core.contract.errors import WeightsError
from fsgan_core.contract.licences import LICENCE_CLASSES
from fsgan_core.runtime.user_paths import expand_home

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter
    from fsgan_core.networks.weights.catalogue import WeightsInfo
    from fsgan_core.networks.weights.importing import ImportResult

__all__ = ["DESCRIPTION", "add_flags"]

MEGABYTE = 1 << 20

DESCRIPTION = """\
Manages the weights of the networks: lists them, imports them, fetches them, checks them.

  fsgan weights list
  fsgan weights import /studio/fsgan_weights        (a folder with the authors' files, or one file)
  fsgan weights fetch ijbc_msrunet_256_1_2_blending_v2
  fsgan weights verify

The search path is the folders in $FSGAN_WEIGHTS, then the user's data folder, then the package. Rendering never
downloads anything. See docs/weights.md.
"""

FlagAdder = Callable[[argparse.ArgumentParser], None]


def add_flags(parser: argparse.ArgumentParser, add_message_flags: FlagAdder, formatter: Any, epilog: str) -> None:
    """Add the actions of `fsgan weights`; `add_message_flags` adds the flags that every command has."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add_action(name: str, short: str, run: Callable[[Namespace, Presenter], int]) -> argparse.ArgumentParser:
        action_parser = actions.add_parser(
            name, help=short, description=short, epilog=epilog, allow_abbrev=False, formatter_class=formatter
        )
        action_parser.set_defaults(run=run, command="weights")
        return action_parser

    listed = add_action("list", "Lists the known weights, and those on this machine.", run_list)
    add_message_flags(listed)

    info = add_action(
        "info", "Shows what is known about weights or about a file. Nothing in the file is run.", run_info
    )
    info.add_argument("what", metavar="NAME|PATH", help="a name from the list, or a file")
    add_message_flags(info)

    brought = add_action(
        "import",
        "Imports published files: recognises them by content, converts them, records their digest.",
        run_import,
    )
    brought.add_argument("place", metavar="PATH", help="a file, or a folder of files")
    brought.add_argument(
        "--name", metavar="NAME", default="", help="which weights the file holds, or a name for them; for one file"
    )
    _add_licence_flag(brought)
    add_message_flags(brought)

    fetched = add_action("fetch", "Downloads published weights and imports them.", run_fetch)
    fetched.add_argument(
        "names",
        metavar="NAME",
        nargs="+",
        help="names from the list; 'default' stands for the weights that 'auto' uses",
    )
    fetched.add_argument(
        "--from", metavar="URL", default="", dest="url", help="download from this address instead; for one name"
    )
    _add_licence_flag(fetched)
    add_message_flags(fetched)

    verified = add_action("verify", "Checks the digests and tensors of the weights on this machine.", run_verify)
    verified.add_argument("names", metavar="NAME", nargs="*", help="names from the list, or files (default: all)")
    add_message_flags(verified)

    exported = add_action("export", "Writes weights for other programs, as .safetensors or as .pth.", run_export)
    exported.add_argument("what", metavar="NAME|PATH", help="a name from the list, or a file")
    exported.add_argument("--output", "-o", metavar="FILE", required=True, help="FILE.safetensors or FILE.pth")
    add_message_flags(exported)


def _add_licence_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--licence",
        metavar="CLASS",
        default="",
        choices=LICENCE_CLASSES,
        help=f"licence class that your studio has determined: {', '.join(LICENCE_CLASSES)} (default: the class given "
        "for the same file before, or else the class in the list)",
    )


def run_list(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan weights list`."""
    from fsgan_core.contract.licences import is_allowed
    from fsgan_core.networks.weights.catalogue import PICKLED_SUFFIXES, load_catalogue
    from fsgan_core.networks.weights.installed import list_broken_weights, list_present_weights
    from fsgan_core.networks.weights.search_folders import list_search_folders

    installed = {weight.name: (weight, path) for weight, path in list_present_weights()}
    rows = [installed.get(name, (weight, None)) for name, weight in load_catalogue().items()]
    rows += [row for name, row in installed.items() if name not in load_catalogue()]
    folders = list_search_folders()
    raw = [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.name.endswith(PICKLED_SUFFIXES)
    ]
    if options.json:
        presenter.print_json(
            {
                "ok": True,
                "exit_code": 0,
                "folders": [str(folder) for folder in folders],
                "weights": [
                    {**dataclasses.asdict(weight), "path": path and str(path), "allowed": is_allowed(weight.licence)}
                    for weight, path in rows
                ],
                "not_imported": [str(path) for path in raw],
                "broken": [{"path": str(path), "message": message} for path, message in list_broken_weights()],
            }
        )
        return 0
    presenter.print_table(
        _make_table(
            ("role", "name", "points", "crop", "licence", "on this machine"),
            [
                (
                    weight.role,
                    weight.name + (" *" if weight.default else ""),
                    str(weight.landmarks or ""),
                    f"{weight.crop:g}",
                    weight.licence + ("" if is_allowed(weight.licence) else " (refused)"),
                    _describe_location(weight, path),
                )
                for weight, path in rows
            ],
        )
    )
    presenter.print_line("* default: used by engines and landmarks set to 'auto', and (identity) by fine-tuning.")
    presenter.print_line("Search path, first to last:")
    for folder in folders:
        presenter.print_line(f"  {folder}{'' if folder.is_dir() else ' (does not exist)'}")
    for path in raw:
        presenter.print_line(f"not imported yet: {path}; run: fsgan weights import {path}")
    for _, message in list_broken_weights():
        presenter.print_line(f"not usable: {message}")
    return 0


def _describe_location(weight: WeightsInfo, path: Path | None) -> str:
    if path is not None:
        return str(path.parent)
    if not weight.arch:
        return "not used"
    return "no; fetch or import" if weight.source else "no; comes with the package"


def run_info(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan weights info`."""
    from fsgan_core.networks.weights.catalogue import load_catalogue
    from fsgan_core.networks.weights.digests import digest_weights_file, read_recorded_digest
    from fsgan_core.networks.weights.installed import list_present_weights

    path = next((path for weight, path in list_present_weights() if weight.name == options.what), None)
    catalogue_entry = load_catalogue().get(options.what)
    if path is None and catalogue_entry is None:
        path = Path(options.what)
        if not path.exists():
            raise WeightsError(f"{options.what}: neither a name from `fsgan weights list` nor a file")
    description: dict[str, Any] = {} if catalogue_entry is None else dataclasses.asdict(catalogue_entry)
    if path is not None:
        description |= _read_file_facts(path)
        description |= {"path": str(path), "sha256": digest_weights_file(path), "recorded": read_recorded_digest(path)}
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, **description})
        return 0
    for name, value in description.items():
        if value not in ("", 0, None):
            presenter.print_line(f"{name:12} {value}")
    if path is None:
        presenter.print_line("not on this machine")
    return 0


def _read_file_facts(path: Path) -> dict[str, Any]:
    """Read what a file holds, whatever program wrote it."""
    from fsgan_core.networks.weights.file_check import check_weights_file

    check_weights_file(path)  # before torch is imported
    from fsgan_core.networks.weights.checkpoint import read_checkpoint
    from fsgan_core.networks.weights.recognise import recognise_weights

    checkpoint = read_checkpoint(path)
    description: dict[str, Any] = {}
    try:
        description = dataclasses.asdict(recognise_weights(checkpoint, path)[0])
    except WeightsError as error:
        description["unrecognised"] = str(error)
    description |= {
        "tensors": len(checkpoint.state),
        "parameters": sum(
            tensor.numel()
            for name, tensor in checkpoint.state.items()
            if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        ),
        "size": path.stat().st_size,
    }
    return description


def run_import(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan weights import`."""
    from fsgan_core.networks.weights.importing import find_writable_folder, import_all_weights
    from fsgan_core.runtime.events import Event

    def report_file(number: int, total: int, file: Path) -> None:
        presenter.on_event(Event("import", "importing weights", number, total, message=file.name))

    folder = find_writable_folder()
    results = list(
        import_all_weights(
            expand_home(options.place),
            folder,
            name=options.name,
            licence=options.licence,
            on_progress=report_file,
        )
    )
    return _present_imports(results, folder, options, presenter)


def _present_imports(results: list[ImportResult], folder: Path, options: Namespace, presenter: Presenter) -> int:
    """Show the results; return 0 if all files were imported, 1 if some were. Raises WeightsError if none was."""
    refused = [result for result in results if result.state == "refused"]
    if refused and not any(result.state in ("imported", "kept") for result in results):
        raise WeightsError("\n".join(dict.fromkeys(result.message for result in refused)))
    code = 1 if refused else 0
    if options.json:
        presenter.print_json(
            {
                "ok": not refused,
                "exit_code": code,
                "folder": str(folder),
                "files": [
                    {
                        "file": str(result.file),
                        "state": result.state,
                        "name": result.info and result.info.name,
                        "path": result.path and str(result.path),
                        "sha256": result.sha256,
                        "message": result.message,
                    }
                    for result in results
                ],
            }
        )
        return code
    presenter.print_table(
        _make_table(
            ("", "weights", "role", "licence", "SHA-256"),
            [
                (
                    result.state,
                    result.info.name if result.info else result.file.name,
                    result.info.role if result.info else "",
                    result.info.licence if result.info else "",
                    result.sha256[:12],
                )
                for result in results
            ],
        )
    )
    for result in results:
        if result.message:
            presenter.print_line(
                f"{result.file.name}: {result.message}" if result.state != "refused" else result.message
            )
    presenter.print_line(f"weights folder: {folder}")
    return code


def run_fetch(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan weights fetch`."""
    from fsgan_core.networks.weights.catalogue import AUTO_ROLES, load_catalogue
    from fsgan_core.networks.weights.fetch import fetch_weights
    from fsgan_core.networks.weights.importing import ImportResult, find_writable_folder
    from fsgan_core.runtime.events import Event

    default_names = [
        weight.name
        for weight in load_catalogue().values()
        if weight.default and weight.source and weight.role in AUTO_ROLES
    ]
    names = list(
        dict.fromkeys(
            name for argument in options.names for name in (default_names if argument == "default" else [argument])
        )
    )
    unknown = [name for name in names if name not in load_catalogue()]
    if unknown:
        raise WeightsError(f"{', '.join(unknown)}: no such weights; `fsgan weights list` shows all names")
    if options.url and len(names) > 1:
        raise WeightsError("--from works with one name only")
    folder = find_writable_folder()
    results = []
    for name in names:
        subject = f"fetching {name} (MB)"
        reported = [-1]

        def report_megabytes(arrived: int, total: int, subject: str = subject, reported: list[int] = reported) -> None:
            if arrived // MEGABYTE != reported[0]:
                reported[0] = arrived // MEGABYTE
                presenter.on_event(Event("fetch", subject, reported[0], max(total // MEGABYTE, reported[0])))

        try:
            results.append(
                fetch_weights(
                    load_catalogue()[name],
                    folder,
                    url=options.url,
                    licence=options.licence,
                    on_progress=report_megabytes,
                )
            )
        except WeightsError as error:
            results.append(ImportResult(Path(name), "refused", message=str(error)))
    return _present_imports(results, folder, options, presenter)


def run_verify(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan weights verify`. The exit code is 1 if some weights are damaged."""
    from fsgan_core.networks.weights.catalogue import WEIGHTS_SUFFIX, read_weights_info
    from fsgan_core.networks.weights.installed import list_broken_weights, list_present_weights

    unread = [path for path, _ in list_broken_weights()]
    installed = {path.name.removesuffix(WEIGHTS_SUFFIX): path for path in reversed(unread)}
    installed |= {weight.name: path for weight, path in list_present_weights()}
    unknown = [name for name in options.names if name not in installed and not Path(name).exists()]
    if unknown:
        raise WeightsError(f"{', '.join(unknown)}: neither weights on this machine nor a file; see: fsgan weights list")
    paths = [installed.get(name) or Path(name) for name in options.names]
    paths = paths or list(dict.fromkeys((*installed.values(), *unread)))
    if not paths:
        raise WeightsError("there are no weights on this machine; see: fsgan weights list")
    rows = []
    for path in paths:
        try:
            name, ok, message = read_weights_info(path).name, True, _examine_weights(path)
        except WeightsError as error:
            name, ok, message = path.name, False, str(error)
        rows.append({"name": name, "path": str(path), "ok": ok, "message": message})
    damaged = [row for row in rows if not row["ok"]]
    code = 1 if damaged else 0
    if options.json:
        presenter.print_json({"ok": not damaged, "exit_code": code, "weights": rows})
    for row in rows:
        if row["ok"] and not options.json:
            presenter.print_line(f"{row['name']}: {row['message']}")
    for row in damaged:
        presenter.print_problem(str(row["message"]))
    return code


def _examine_weights(path: Path) -> str:
    """Read a whole file and return what was found. Raises WeightsError if the file has changed."""
    from fsgan_core.networks.architectures.build import build_network
    from fsgan_core.networks.weights.checkpoint import check_state, read_checkpoint
    from fsgan_core.networks.weights.digests import digest_weights_file, read_recorded_digest

    digest, recorded = digest_weights_file(path, again=True), read_recorded_digest(path)
    if recorded and digest != recorded:
        raise WeightsError(f"{path}: the SHA-256 is {digest}, but {recorded} was recorded; import or fetch it again")
    checkpoint = read_checkpoint(path)
    check_state(path, checkpoint.arch, build_network(checkpoint.arch, device="meta").state_dict(), checkpoint.state)
    return "sound" if recorded else "sound, but no digest was recorded to compare it with"


def run_export(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan weights export`."""
    from fsgan_core.networks.weights.checkpoint import export_checkpoint
    from fsgan_core.networks.weights.installed import list_present_weights

    path = next((path for weight, path in list_present_weights() if weight.name == options.what), Path(options.what))
    export_checkpoint(path, Path(options.output))
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, "output": options.output})
    else:
        presenter.print_line(f"weights: {options.output}")
    return 0


def _make_table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
