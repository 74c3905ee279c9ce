"""Commands and flags, with a help that teaches. What a flag is called is an agreement with other tools."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from fsgan_core.contract.params import STAGE_PARAMS
from fsgan_core.contract.version import __version__

__all__ = ["make_parser"]

EXIT_CODES = """\
exit codes:
  0    done (frames without a face are passed through and listed)
  1    some frames failed; the others were rendered, the failed ones are listed
  2    what was asked for is wrong; asking again will not help
  3    this machine is in trouble (disk full, read-only, out of memory); another one may do
  130  interrupted; start it again and it goes on where it stopped
"""

MAIN_DESCRIPTION = """\
Face swap and face reenactment for compositing: scene-linear EXR plates in, EXR plates out.

the first job:
  fsgan swap --source anna.mov --target plate.####.exr --output out/swap.####.exr

Frames that are already right are kept, so the same command again renders only what changed; a render that
was killed goes on. A shot can be put into a file, rendered in pieces on many machines, and looks the same:
  fsgan swap --source anna.mov --target plate.####.exr --output out/swap.####.exr --save-shot shot.toml
  fsgan render shot.toml --frames 1001-1020

how things are written:
  clips      plate.####.exr, plate.%04d.exr, movie.mov, still.jpg, 'stills/*.jpg'; a movie's first frame is 1
  frames     1001-1048, 1001-1048x2, 1001,1005,1010-1020
  settings   --set blend.engine=multiband --set mask.feather=0.1   (`fsgan params` lists them)
"""

SWAP_DESCRIPTION = """\
Puts the source's face on the target's head. The target keeps its head, hair, pose and expression.
Everything outside the matte stays as it is in the plate, bit for bit.

  fsgan swap --source anna.mov --target plate.####.exr --output out/swap.####.exr
  fsgan swap --source anna.mov anna_02.jpg --target plate.####.exr --frames 1001-1060 \\
             --output out/swap.####.exr --set blend.engine=multiband --layers all --report out/report

What is learned about a clip (who is where) always comes from the whole clip and is kept in a cache, so
--frames never changes what a frame looks like. --output takes EXR; its colour space is the target's own
where that is scene-linear, else the config's scene_linear.
"""

DRIVE_DESCRIPTION = """\
Moves the plate's own actor with another performer's expression. Identity, light and (unless drive.pose is
set) the head's pose stay the plate's.

  fsgan drive --plate plate.####.exr --driver take3.mov --output out/drive.####.exr --set drive.brows=0.5
"""

RENDER_DESCRIPTION = """\
Renders a shot file (see docs/shot-file.md). Flags given here win over the file; relative paths in the file
start at the file's folder.

  fsgan render shot.toml
  fsgan render shot.toml --frames 1001-1020 --json
"""

ANALYSE_DESCRIPTION = """\
Finds the people in a clip, frame by frame: boxes, 68 landmarks, head pose, and writes a track (JSON, see
docs/track-file.md). A track that is already there is made anew; corrections by hand in it are kept.

  fsgan analyse --target plate.####.exr --output plate.track.json
  fsgan swap ... --target-track plate.track.json

Analysis happens by itself when a command needs it; this one is for looking at a track, correcting it, or
doing it once for many machines.
"""

VIEWS_DESCRIPTION = """\
Says what a source offers and what a shot wants of it: every view by yaw and pitch, which ones lead how many
frames, and the angles that the source lacks. --output writes a contact sheet. Leave views out, or prefer them,
by --set reenact.exclude=12,40-55 and --set reenact.weights=80=3 (numbers are frames of the source).

  fsgan views --source anna.mov --target plate.####.exr --frames 1001-1060 --output views.png
  fsgan views --source anna.mov stills/*.jpg --json
"""

REENACT_DESCRIPTION = """\
The first stage alone: the source's face in the target's pose, on the region around the face.
Writes float32 EXR with rgba (premultiplied, in the target's linear space), st.u and st.v (an STMap into the
leading source view) and confidence.Z.

  fsgan reenact --source anna.mov --target plate.####.exr --output work/re.####.exr
"""

MASK_DESCRIPTION = """\
The second stage alone: what of the target is replaced. Writes float32 EXR with matte.face, matte.hair,
matte.mouth and matte.occlusion.

  fsgan mask --target plate.####.exr --output work/mask.####.exr --set mask.feather=0.1
"""

INPAINT_DESCRIPTION = """\
The third stage alone: fills what the reenacted face does not show and the mask wants. Needs the files of
reenact and mask, and the source once more if other views are to be looked at.

  fsgan inpaint --reenacted work/re.####.exr --mask work/mask.####.exr --source anna.mov \\
                --target plate.####.exr --output work/fill.####.exr
"""

BLEND_DESCRIPTION = """\
The last stage alone: the completed face seated in the plate. Gives the same pixels as `fsgan swap`.

  fsgan blend --completed work/fill.####.exr --mask work/mask.####.exr --target plate.####.exr \\
              --output out/swap.####.exr
"""

EVALUATE_DESCRIPTION = """\
Measures a result against its source and target: identity, head pose, landmarks, pixels changed outside the
matte, flicker, sharpness, frames without a detected face.

  fsgan evaluate --source anna.mov --target plate.####.exr --result out/swap.####.exr --json
"""

DOCTOR_DESCRIPTION = """\
Says what is installed, which engines and devices can be used here, which colour config, where the cache is.
"""

PARAMS_DESCRIPTION = """\
Lists the parameters of the stages, as --set and a shot file take them.

  fsgan params
  fsgan params blend
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; `options.run(options, presenter)` does the command."""
    from fsgan_core.cli import commands, export, farm, nuke, train, weights
    from fsgan_core.cli import finetune as finetuning

    parser = argparse.ArgumentParser(
        prog="fsgan",
        description=MAIN_DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=_make_formatter(),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fsgan {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add_command(name: str, short: str, text: str, run: Callable[..., int]) -> argparse.ArgumentParser:
        made = subparsers.add_parser(
            name, help=short, description=text, epilog=EXIT_CODES, allow_abbrev=False, formatter_class=_make_formatter()
        )
        made.set_defaults(run=run, command=name)
        return made

    swap = add_command("swap", "the source's face on the target's head", SWAP_DESCRIPTION, commands.run_swap)
    _add_input_flags(swap, source=True)
    _add_output_flags(swap, final=True)
    _add_work_flags(swap, whole_shot=True)
    finetuning.add_swap_flags(swap)

    drive = add_command(
        "drive", "the plate's own actor, moved by another performer", DRIVE_DESCRIPTION, commands.run_swap
    )
    _add_input_flags(drive, source=True, driven=True)
    _add_output_flags(drive, final=True)
    _add_work_flags(drive, whole_shot=True)

    render = add_command("render", "a shot file", RENDER_DESCRIPTION, commands.run_render)
    render.add_argument("shot", metavar="SHOT", help="the shot file (TOML)")
    render.add_argument("--output", "-o", metavar="PATTERN", help="write here instead")
    render.add_argument("--output-colorspace", metavar="SPACE", help="colour space of the result")
    _add_frames_flag(render)
    _add_layers_flag(render)
    _add_work_flags(render, whole_shot=True, save=False)

    analyse = add_command("analyse", "who is where in a clip: a track file", ANALYSE_DESCRIPTION, commands.run_analyse)
    one = analyse.add_argument_group("clip").add_mutually_exclusive_group(required=True)
    one.add_argument("--target", "--plate", metavar="CLIP", help="the clip, as a target is looked at")
    one.add_argument("--source", "--driver", metavar="CLIP", help="the clip, as a source is looked at")
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
        "views", "a source's views by pose, and the angles that it lacks", VIEWS_DESCRIPTION, commands.run_views
    )
    _add_input_flags(views, source=True, target=False)
    _add_optional_target_flags(views)
    views.add_argument("--output", "-o", metavar="FILE", default="", help="a contact sheet (PNG)")
    _add_work_flags(views)

    reenact = add_command(
        "reenact", "stage 1: the source's face in the target's pose", REENACT_DESCRIPTION, commands.run_stage
    )
    _add_input_flags(reenact, source=True, required=False, stage=True)
    _add_output_flags(reenact)
    _add_work_flags(reenact)

    mask = add_command("mask", "stage 2: what of the target is replaced", MASK_DESCRIPTION, commands.run_stage)
    _add_input_flags(mask, source=False, stage=True)
    _add_output_flags(mask)
    _add_work_flags(mask)

    inpaint = add_command("inpaint", "stage 3: what the views do not show", INPAINT_DESCRIPTION, commands.run_stage)
    inpaint.add_argument("--reenacted", metavar="PATTERN", required=True, help="files of `fsgan reenact`")
    inpaint.add_argument("--mask", metavar="PATTERN", required=True, help="files of `fsgan mask`")
    _add_input_flags(inpaint, source=True, required=False, stage=True)
    _add_output_flags(inpaint)
    _add_work_flags(inpaint)

    blend = add_command("blend", "stage 4: the new face seated in the plate", BLEND_DESCRIPTION, commands.run_stage)
    blend.add_argument("--completed", metavar="PATTERN", required=True, help="files of `fsgan inpaint`")
    blend.add_argument("--mask", metavar="PATTERN", required=True, help="files of `fsgan mask`")
    _add_input_flags(blend, source=False, stage=True)
    _add_output_flags(blend, final=True)
    _add_work_flags(blend)

    finetune = add_command(
        "finetune", "teaches the reenactment network one source", finetuning.DESCRIPTION, finetuning.run_finetune
    )
    _add_input_flags(finetune, source=True, target=False)
    finetuning.add_flags(finetune)
    _add_work_flags(finetune)

    training = subparsers.add_parser(
        "train",
        help="trains the networks on a studio's footage",
        description=train.DESCRIPTION,
        epilog=EXIT_CODES,
        allow_abbrev=False,
        formatter_class=_make_formatter(),
    )
    train.add_flags(training, _add_work_flags, _make_formatter(), EXIT_CODES)

    evaluate = add_command("evaluate", "measures a result", EVALUATE_DESCRIPTION, commands.run_evaluate)
    _add_evaluate_flags(evaluate)
    _add_work_flags(evaluate)

    stored = add_command(
        "weights", "the networks' weights: list, import, fetch, verify", weights.DESCRIPTION, weights.run_list
    )
    weights.add_flags(stored, _add_talk_flags, _make_formatter(), EXIT_CODES)

    exported = add_command(
        "export", "what other programs take: the networks for Nuke's Inference", export.DESCRIPTION, export.run_cattery
    )
    export.add_flags(exported, _add_talk_flags, _make_formatter(), EXIT_CODES)

    hosted = add_command("nuke", "add the nodes to Nuke, or take them out", nuke.DESCRIPTION, nuke.run_install)
    nuke.add_flags(hosted, _add_talk_flags, _make_formatter(), EXIT_CODES)

    farming = add_command(
        "farm", "a shot on a render farm: job bundle, tasks, estimate", farm.DESCRIPTION, farm.run_bundle
    )
    farm.add_flags(farming, _add_talk_flags, _make_formatter(), EXIT_CODES)

    doctor = add_command("doctor", "what is installed and what works here", DOCTOR_DESCRIPTION, commands.run_doctor)
    _add_talk_flags(doctor)

    params = add_command("params", "every parameter of every stage", PARAMS_DESCRIPTION, commands.run_params)
    params.add_argument("stage", metavar="STAGE", nargs="?", choices=tuple(STAGE_PARAMS), help=", ".join(STAGE_PARAMS))
    params.add_argument("--markdown", action="store_true", help="as docs/parameters.md")
    _add_talk_flags(params)

    from fsgan_core.cli import worker

    staying = add_command("worker", "a process that stays, for programs", worker.DESCRIPTION, worker.run_worker)
    worker.add_flags(staying)
    return parser


def _make_formatter() -> Any:
    """Coloured help where the terminal can; the text is laid out by hand."""
    from rich_argparse import RawDescriptionRichHelpFormatter

    class Formatter(RawDescriptionRichHelpFormatter):
        # Square brackets in our texts are brackets.
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
    """The flags of the clips. driven: a drive's, which are called --plate and --driver (the others work too). stage: of
    a single stage."""
    group = parser.add_argument_group("inputs")

    def list_flag_names(name: str, rest: str = "") -> tuple[str, ...]:
        other = {"source": "driver", "target": "plate"}[name]
        return (f"--{other}{rest}", f"--{name}{rest}") if driven else (f"--{name}{rest}",)

    def add_flag(name: str, rest: str, metavar: str, help: str, **options: Any) -> None:
        dest = name + rest.replace("-", "_")
        group.add_argument(*list_flag_names(name, rest), dest=dest, metavar=metavar, help=help, **options)

    each: dict[str, Any] = {"action": "append", "default": []}
    if source:
        add_flag(
            "source",
            "",
            "CLIP",
            "the performer whose expression is wanted"
            if driven
            else "the person whose face is wanted: stills, sequences, movies; several at once, or repeat it",
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
            "colour space by name, role or alias; empty: by file (movie, PNG, JPEG: "
            "sRGB; EXR: file rules, else scene_linear); once for all sources or once for each",
            **each,
        )
        add_flag("source", "-track", "FILE", "track file, once for each; else the clip is analysed", **each)
        add_flag("source", "-part", "NAME", "part or view of a multi-part EXR", **each)
        add_flag(
            "source",
            "-person",
            "WHO",
            "whom: largest, a number (0 is the largest), X,Y (nearest to a point), or a still of the person",
            **each,
        )
    if not target:
        return
    add_flag("target", "-colorspace", "SPACE", "colour space, likewise", default="")
    add_flag("target", "-track", "FILE", "track file; else the clip is analysed", default="")
    add_flag("target", "-part", "NAME", "part or view of a multi-part EXR", default="")
    add_flag("target", "-person", "WHO", "whom in the target; likewise", default="")
    if stage:
        # A single stage of a drive is told by its driver.
        group.add_argument("--driver", metavar="CLIP", default="", help="the performer; makes it a stage of a drive")
        group.add_argument("--driver-colorspace", metavar="SPACE", default="", help="colour space of the driver")
        group.add_argument("--driver-track", metavar="FILE", default="", help="track file of the driver")
    group.add_argument(
        "--holdout",
        metavar="CLIP",
        default="",
        help="a matte of what must stay as it is (1 stays): its alpha, else its first channel",
    )
    group.add_argument("--holdout-part", metavar="NAME", default="", help="part, view or channel of the hold-out")
    _add_frames_flag(parser)


def _add_optional_target_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("target")
    group.add_argument("--target", metavar="CLIP", default="", help="the plate that the views are for")
    for name, metavar, text in (
        ("colorspace", "SPACE", "colour space"),
        ("track", "FILE", "track file"),
        ("part", "NAME", "part or view of a multi-part EXR"),
        ("person", "WHO", "whom in it"),
    ):
        group.add_argument(f"--target-{name}", metavar=metavar, default="", help=text)
    _add_frames_flag(parser)


def _add_frames_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--frames", "-f", metavar="RANGE", default="", help="which frames, like 1001-1048x2,1060; empty is all"
    )


def _add_output_flags(parser: argparse.ArgumentParser, *, final: bool = False) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--output", "-o", metavar="PATTERN", required=True, help="EXR files, like out/swap.####.exr")
    if final:
        group.add_argument(
            "--output-colorspace",
            metavar="SPACE",
            default="",
            help="colour space of the result; empty: the target's if scene-linear, else scene_linear",
        )
        _add_layers_flag(group)


def _add_layers_flag(parser: Any) -> None:
    parser.add_argument(
        "--layers",
        choices=("result", "all"),
        default=None,
        help="all: raw reenactment, completed face, mattes, confidence and STMap beside the picture",
    )


def _add_work_flags(parser: argparse.ArgumentParser, *, whole_shot: bool = False, save: bool = True) -> None:
    group = parser.add_argument_group("work")
    group.add_argument(
        "--set",
        metavar="STAGE.PARAMETER=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="a parameter; repeat it. `fsgan params` lists them",
    )
    group.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    group.add_argument("--force", action="store_true", help="render frames again that are already right")
    if whole_shot:
        if save:
            group.add_argument("--save-shot", metavar="FILE", default="", help="write the shot file first")
        group.add_argument("--report", metavar="DIR", default="", help="write a report with pictures and times there")
    _add_talk_flags(parser)


def _add_talk_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("talk")
    group.add_argument(
        "--json",
        action="store_true",
        help="the result as one JSON object on standard output, events as JSON lines on standard error",
    )
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice for everything")
    group.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    group.add_argument(
        "--progress",
        choices=("openjd",),
        default=None,
        help="progress, status and failures as lines that a farm's engine reads, on standard error; "
        "$FSGAN_PROGRESS does the same",
    )


def _add_evaluate_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("inputs")
    group.add_argument(
        "--source", metavar="CLIP", nargs="+", action="extend", required=True, help="the person whose face was wanted"
    )
    group.add_argument("--target", metavar="CLIP", required=True, help="the untouched plate")
    group.add_argument("--result", metavar="CLIP", required=True, help="what was made of it")
    group.add_argument(
        "--source-colorspace",
        metavar="SPACE",
        action="append",
        default=[],
        help="colour space of the source, once for all or once for each",
    )
    group.add_argument("--target-colorspace", metavar="SPACE", default="", help="colour space of the target")
    group.add_argument(
        "--result-colorspace",
        metavar="SPACE",
        default="",
        help="colour space of the result; empty: what its metadata says, else by file",
    )
    group.add_argument("--target-part", metavar="NAME", default="", help="part or view of the target")
    group.add_argument(
        "--matte",
        metavar="CLIP",
        default="",
        help="above 0 where pixels may have changed; else the result's matte.soft, else the face's hull",
    )
    group.add_argument(
        "--offset", metavar="N", type=int, default=0, help="the result's frame number minus the target's"
    )
    group.add_argument(
        "--report",
        metavar="DIR",
        default="",
        help="the folder that the render's --report wrote: tells the seconds per frame",
    )
    group.add_argument("--output", "-o", metavar="DIR", default="", help="write evaluation.json and plots there")
    parser.set_defaults(source_track=[], source_part=[], source_person=[], target_track="", target_person="")
    _add_frames_flag(parser)
