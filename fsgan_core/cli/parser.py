"""The commands and flags of the command line. Other tools depend on the names of the flags."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from fsgan_core.cli import help_texts
from fsgan_core.cli.argument_parser import ArgumentParser
from fsgan_core.cli.report import add_limit_flag
from fsgan_core.contract.params import STAGE_PARAMS
from fsgan_core.contract.version import __version__

__all__ = ["make_parser"]


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line; the parsed `options.run(options, presenter)` runs the command."""
    from fsgan_core.cli import commands, export, farm, inspect, nuke, report, train, verify, weights
    from fsgan_core.cli import finetune as finetune_command

    parser = ArgumentParser(
        prog="fsgan",
        description=help_texts.MAIN,
        epilog=help_texts.EXIT_CODES,
        formatter_class=_make_formatter(),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fsgan {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add_command(name: str, summary: str, text: str, run: Callable[..., int]) -> argparse.ArgumentParser:
        added = subparsers.add_parser(
            name,
            help=summary,
            description=text,
            epilog=help_texts.EXIT_CODES,
            allow_abbrev=False,
            formatter_class=_make_formatter(),
        )
        added.set_defaults(run=run, command=name)
        return added

    swap = add_command("swap", "put the source's face on the target's head", help_texts.SWAP, commands.run_swap)
    _add_input_flags(swap, source=True)
    _add_output_flags(swap, final=True)
    _add_work_flags(swap, whole_shot=True)
    finetune_command.add_swap_flags(swap)

    drive = add_command("drive", "transfer a driver's expression to the plate", help_texts.DRIVE, commands.run_swap)
    _add_input_flags(drive, source=True, driven=True)
    _add_output_flags(drive, final=True)
    _add_work_flags(drive, whole_shot=True, quick=False)

    render = add_command("render", "render a shot file", help_texts.RENDER, commands.run_render)
    render.add_argument("shot", metavar="SHOT", help="the shot file (TOML)")
    render.add_argument("--output", "-o", metavar="PATTERN", help="write the result here instead")
    render.add_argument("--output-colorspace", metavar="SPACE", help="colour space of the result")
    _add_frames_flag(render)
    _add_layers_flag(render)
    _add_work_flags(render, whole_shot=True, save=False)

    analyse = add_command(
        "analyse", "find the people in a clip and write a track file", help_texts.ANALYSE, commands.run_analyse
    )
    clip_group = analyse.add_argument_group("clip").add_mutually_exclusive_group(required=True)
    clip_group.add_argument("--target", "--plate", metavar="CLIP", help="the clip, analysed as a target")
    clip_group.add_argument("--source", "--driver", metavar="CLIP", help="the clip, analysed as a source")
    analyse.add_argument(
        "--colorspace",
        "--target-colorspace",
        "--source-colorspace",
        metavar="SPACE",
        default="",
        help="colour space of the clip",
    )
    analyse.add_argument("--part", metavar="NAME", default="", help="part or view of a multi-part EXR")
    analyse.add_argument("--output", "-o", metavar="FILE", required=True, help="the track file to write (JSON)")
    _add_frames_flag(analyse)
    _add_work_flags(analyse)

    views = add_command(
        "views", "list a source's views and the angles that it lacks", help_texts.VIEWS, commands.run_views
    )
    _add_input_flags(views, source=True, target=False)
    _add_optional_target_flags(views)
    views.add_argument("--output", "-o", metavar="FILE", default="", help="write a contact sheet (PNG)")
    _add_work_flags(views)

    atlas = add_command(
        "atlas", "write a source's skin as a flat picture to paint on", help_texts.ATLAS, commands.run_atlas
    )
    _add_input_flags(atlas, source=True, target=False)
    atlas.add_argument("--output", "-o", metavar="FILE", required=True, help="the EXR file to write")
    _add_work_flags(atlas)

    reenact = add_command(
        "reenact", "stage 1: put the source's face in the target's pose", help_texts.REENACT, commands.run_stage
    )
    _add_input_flags(reenact, source=True, required=False, stage=True)
    _add_output_flags(reenact)
    _add_work_flags(reenact)

    mask = add_command("mask", "stage 2: find the part of the target to replace", help_texts.MASK, commands.run_stage)
    _add_input_flags(mask, source=False, stage=True)
    _add_output_flags(mask)
    _add_work_flags(mask)

    inpaint = add_command("inpaint", "stage 3: fill what the views do not show", help_texts.INPAINT, commands.run_stage)
    inpaint.add_argument("--reenacted", metavar="PATTERN", required=True, help="the files from `fsgan reenact`")
    inpaint.add_argument("--mask", metavar="PATTERN", required=True, help="the files from `fsgan mask`")
    _add_input_flags(inpaint, source=True, required=False, stage=True)
    _add_output_flags(inpaint)
    _add_work_flags(inpaint)

    blend = add_command("blend", "stage 4: blend the new face into the plate", help_texts.BLEND, commands.run_stage)
    blend.add_argument("--completed", metavar="PATTERN", required=True, help="the files from `fsgan inpaint`")
    blend.add_argument("--mask", metavar="PATTERN", required=True, help="the files from `fsgan mask`")
    _add_input_flags(blend, source=False, stage=True)
    _add_output_flags(blend, final=True)
    _add_work_flags(blend)

    finetune = add_command(
        "finetune",
        "fine-tune the reenactment network on a source",
        finetune_command.DESCRIPTION,
        finetune_command.run_finetune,
    )
    _add_input_flags(finetune, source=True, target=False)
    finetune_command.add_flags(finetune)
    _add_work_flags(finetune)

    train_parser = subparsers.add_parser(
        "train",
        help="train the networks on a studio's own footage",
        description=train.DESCRIPTION,
        epilog=help_texts.EXIT_CODES,
        allow_abbrev=False,
        formatter_class=_make_formatter(),
    )
    train.add_flags(train_parser, partial(_add_work_flags, preset=False), _make_formatter(), help_texts.EXIT_CODES)

    evaluate = add_command("evaluate", "measure a result", help_texts.EVALUATE, commands.run_evaluate)
    _add_evaluate_flags(evaluate)
    _add_work_flags(evaluate)

    weights_parser = add_command(
        "weights", "manage network weights: list, import, fetch, verify", weights.DESCRIPTION, weights.run_list
    )
    weights.add_flags(weights_parser, _add_message_flags, _make_formatter(), help_texts.EXIT_CODES)

    export_parser = add_command(
        "export", "export the networks for Nuke's Inference node", export.DESCRIPTION, export.run_cattery
    )
    export.add_flags(export_parser, _add_message_flags, _make_formatter(), help_texts.EXIT_CODES)

    nuke_parser = add_command("nuke", "add the nodes to Nuke, or take them out", nuke.DESCRIPTION, nuke.run_install)
    nuke.add_flags(nuke_parser, _add_message_flags, _make_formatter(), help_texts.EXIT_CODES)

    farm_parser = add_command(
        "farm", "render a shot on a farm: job bundle, tasks, estimate", farm.DESCRIPTION, farm.run_bundle
    )
    farm.add_flags(farm_parser, _add_message_flags, _make_formatter(), help_texts.EXIT_CODES)

    inspect_parser = add_command(
        "inspect", "print what files say of themselves", inspect.DESCRIPTION, inspect.run_inspect
    )
    inspect.add_flags(inspect_parser)
    _add_message_flags(inspect_parser)

    verify_parser = add_command(
        "verify", "check that finished frames are whole and up to date", verify.DESCRIPTION, verify.run_verify
    )
    verify.add_flags(verify_parser)
    _add_frames_flag(verify_parser)
    _add_message_flags(verify_parser)

    report_parser = add_command(
        "report", "write the report of a rendered shot, and check limits", report.DESCRIPTION, report.run_report
    )
    report.add_flags(report_parser)
    _add_frames_flag(report_parser)
    _add_message_flags(report_parser)

    doctor = add_command("doctor", "show what is installed and what works here", help_texts.DOCTOR, commands.run_doctor)
    _add_message_flags(doctor)

    params = add_command("params", "list the parameters of the stages", help_texts.PARAMS, commands.run_params)
    params.add_argument("stage", metavar="STAGE", nargs="?", choices=tuple(STAGE_PARAMS), help=", ".join(STAGE_PARAMS))
    params.add_argument("--presets", action="store_true", help="list the presets instead, with the values they set")
    params.add_argument("--markdown", action="store_true", help="print as Markdown, like docs/parameters.md")
    _add_message_flags(params)

    from fsgan_core.cli import worker

    worker_parser = add_command("worker", "run jobs for another program", worker.DESCRIPTION, worker.run_worker)
    worker.add_flags(worker_parser)
    return parser


def _make_formatter() -> Any:
    """Make a help formatter: coloured if the terminal can show it, with the line breaks of our texts."""
    from rich_argparse import RawDescriptionRichHelpFormatter

    class Formatter(RawDescriptionRichHelpFormatter):
        # Square brackets in our texts are not markup.
        text_markup = False
        help_markup = False

    return Formatter


def _add_input_flags(
    parser: argparse.ArgumentParser,
    *,
    source: bool,
    required: bool = True,
    driven: bool = False,
    stage: bool = False,
    target: bool = True,
) -> None:
    """Add the flags of the clips.

    driven: for `fsgan drive`, whose clips are called --plate and --driver (--target and --source work too).
    stage: for a single stage.
    """
    group = parser.add_argument_group("inputs")

    def list_flag_names(name: str, suffix: str = "") -> tuple[str, ...]:
        driven_name = {"source": "driver", "target": "plate"}[name]
        return (f"--{driven_name}{suffix}", f"--{name}{suffix}") if driven else (f"--{name}{suffix}",)

    def add_flag(name: str, suffix: str, metavar: str, help: str, **options: Any) -> None:
        dest = name + suffix.replace("-", "_")
        group.add_argument(*list_flag_names(name, suffix), dest=dest, metavar=metavar, help=help, **options)

    each: dict[str, Any] = {"action": "append", "default": []}
    if source:
        add_flag(
            "source",
            "",
            "CLIP",
            "the performer whose expression to transfer"
            if driven
            else "the person whose face to use: stills, sequences, movies; several at once, or repeated",
            nargs="+",
            action="extend",
            required=required,
        )
    if target:
        add_flag("target", "", "CLIP", "the plate to change", required=True)
    if source:
        add_flag(
            "source",
            "-colorspace",
            "SPACE",
            "colour space by name, role or alias (default: sRGB for a movie, PNG or JPEG; the config's file rules, "
            "else scene_linear, for EXR); once for all sources, or once for each",
            **each,
        )
        add_flag("source", "-track", "FILE", "track file, once for each source (default: analyse the clip)", **each)
        add_flag("source", "-part", "NAME", "part or view of a multi-part EXR", **each)
        add_flag(
            "source",
            "-person",
            "WHO",
            "which person: largest, a number (0 is the largest), X,Y (nearest to a point), or a still of the person",
            **each,
        )
    if not target:
        return
    add_flag("target", "-colorspace", "SPACE", "colour space of the target, as for a source", default="")
    add_flag("target", "-track", "FILE", "track file (default: analyse the clip)", default="")
    add_flag("target", "-part", "NAME", "part or view of a multi-part EXR", default="")
    add_flag("target", "-person", "WHO", "which person in the target, as for a source", default="")
    if stage:
        # A stage belongs to a drive if it has a driver.
        group.add_argument(
            "--driver", metavar="CLIP", default="", help="the performer; the stage then works as in `fsgan drive`"
        )
        group.add_argument("--driver-colorspace", metavar="SPACE", default="", help="colour space of the driver")
        group.add_argument("--driver-track", metavar="FILE", default="", help="track file of the driver")
    group.add_argument(
        "--holdout",
        metavar="CLIP",
        default="",
        help="matte of what must not change (1 = protected): its alpha, or else its first channel",
    )
    group.add_argument("--holdout-part", metavar="NAME", default="", help="part, view or channel of the hold-out matte")
    _add_frames_flag(parser)


def _add_optional_target_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("target")
    group.add_argument("--target", metavar="CLIP", default="", help="the plate to find views for")
    for name, metavar, text in (
        ("colorspace", "SPACE", "colour space"),
        ("track", "FILE", "track file"),
        ("part", "NAME", "part or view of a multi-part EXR"),
        ("person", "WHO", "which person in it"),
    ):
        group.add_argument(f"--target-{name}", metavar=metavar, default="", help=text)
    _add_frames_flag(parser)


def _add_frames_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--frames", "-f", metavar="RANGE", default="", help="frames, like 1001-1048x2,1060 (default: all)"
    )


def _add_output_flags(parser: argparse.ArgumentParser, *, final: bool = False) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--output", "-o", metavar="PATTERN", required=True, help="EXR files, like out/swap.####.exr")
    if final:
        group.add_argument(
            "--output-colorspace",
            metavar="SPACE",
            default="",
            help="colour space of the result (default: the target's if it is scene-linear, else scene_linear)",
        )
        _add_layers_flag(group)


def _add_layers_flag(parser: Any) -> None:
    parser.add_argument(
        "--layers",
        choices=("result", "all"),
        default=None,
        help="all: also write the reenacted face, completed face, mattes, confidence and STMaps as layers",
    )


def _add_work_flags(
    parser: argparse.ArgumentParser,
    *,
    whole_shot: bool = False,
    save: bool = True,
    preset: bool = True,
    quick: bool = True,
) -> None:
    group = parser.add_argument_group("work")
    if preset:
        group.add_argument(
            "--preset",
            metavar="NAME",
            default="",
            dest="stage_preset",
            help="set the parameters of a preset, by its name or file (`fsgan params --presets` lists them); --set "
            "comes after it",
        )
    group.add_argument(
        "--set",
        metavar="STAGE.PARAMETER=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="set a parameter; may be repeated (`fsgan params` lists them)",
    )
    group.add_argument(
        "--device",
        metavar="NAME",
        default="auto",
        help="where networks run: auto, cpu, cuda, cuda:1, mps (default: auto)",
    )
    group.add_argument("--force", action="store_true", help="do the work again even if the result is up to date")
    if whole_shot:
        if quick:
            group.add_argument(
                "--quick",
                action="store_true",
                help="for a look: analyse only the frames to render, not whole clips; the frames are flagged, and "
                "rendered again without it",
            )
        if save:
            group.add_argument("--save-shot", metavar="FILE", default="", help="write the shot file before rendering")
        group.add_argument(
            "--report", metavar="DIR", default="", help="write a report with pictures and times to this folder"
        )
        add_limit_flag(group, "with --report: ")
    _add_message_flags(parser)


def _add_message_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("messages")
    group.add_argument(
        "--json",
        action="store_true",
        help="print the result as one JSON object on standard output, and events as JSON lines on standard error",
    )
    group.add_argument("-v", "--verbose", action="count", default=0, help="log more; -vv logs everything")
    group.add_argument("-q", "--quiet", action="store_true", help="print only errors")
    group.add_argument(
        "--progress",
        choices=("openjd",),
        default=None,
        help="print progress, status and failures to standard error as lines that a farm's engine reads; "
        "$FSGAN_PROGRESS does the same",
    )


def _add_evaluate_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("inputs")
    group.add_argument(
        "--source", metavar="CLIP", nargs="+", action="extend", required=True, help="the person whose face was used"
    )
    group.add_argument("--target", metavar="CLIP", required=True, help="the untouched plate")
    group.add_argument("--result", metavar="CLIP", required=True, help="the rendered result")
    group.add_argument(
        "--source-colorspace",
        metavar="SPACE",
        action="append",
        default=[],
        help="colour space of the source, once for all sources, or once for each",
    )
    group.add_argument("--target-colorspace", metavar="SPACE", default="", help="colour space of the target")
    group.add_argument(
        "--result-colorspace",
        metavar="SPACE",
        default="",
        help="colour space of the result (default: from its metadata, or else by file type)",
    )
    group.add_argument("--target-part", metavar="NAME", default="", help="part or view of the target")
    group.add_argument(
        "--matte",
        metavar="CLIP",
        default="",
        help="matte, above 0 where pixels may have changed (default: the result's matte.soft, else the face's hull)",
    )
    group.add_argument(
        "--offset", metavar="N", type=int, default=0, help="the result's frame number minus the target's"
    )
    group.add_argument(
        "--report",
        metavar="DIR",
        default="",
        help="folder that the render's --report wrote; adds the seconds per frame",
    )
    group.add_argument(
        "--output",
        "-o",
        metavar="DIR",
        default="",
        help="write evaluation.json, evaluation.csv and plots to this folder",
    )
    parser.set_defaults(source_track=[], source_part=[], source_person=[], target_track="", target_person="")
    _add_frames_flag(parser)
