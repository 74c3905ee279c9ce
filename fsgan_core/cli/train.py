"""`fsgan train`: prepare faces, and train the four networks with them."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fsgan_core.cli.arguments import make_stages
from fsgan_core.contract.errors import InputError
from fsgan_core.contract.licences import LICENCE_CLASSES

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter
    from fsgan_core.training.train import TrainingResult

__all__ = ["DESCRIPTION", "add_flags", "run_prepare", "run_train"]

DESCRIPTION = """\
Trains the networks on a studio's own footage. First cut the faces out of the footage, then train a network with
them. Some people are held out: they show how well the network does on faces it has never seen. See docs/training.md.

  fsgan train prepare footage/ --output faces
  fsgan train reenact --data faces --preset small -o gr.safetensors
  fsgan swap ... --set reenact.network=gr.safetensors

If a run is interrupted, the same command continues it.
"""

PREPARE_DESCRIPTION = """\
Cuts the faces out of clips and stills. Writes one file for each clip, with a picture of each face, its landmarks, its
head pose and the mattes of the geometric engine. Files that are up to date are kept, so an interrupted run continues.

  fsgan train prepare footage/ --output faces --people people.csv

In a folder, every movie, every numbered sequence and every set of stills is a clip. A clip in a subfolder shows the
person that the subfolder is named after.
"""

NETWORK_DESCRIPTIONS = {
    "reenact": """\
Trains the reenactment network (Gr). Its input is a frame and the landmarks of another frame of the same clip; its
output should be that other frame. With the preset small, its input is already warped to these landmarks, and the
network repairs what warping cannot do.
""",
    "mask": """\
Trains the segmentation network (Gs) on the mattes of the geometric engine. Hands, bars, glasses and other objects are
put in front of the faces; their mattes are exact.
""",
    "inpaint": """\
Trains the inpainting network (Gc). Its input is a face with a random ellipse cut from its border; its output should be
the whole face.
""",
    "blend": """\
Trains the blending network (Gb). Its input is a face pasted over another face; its output should be the Poisson blend
of the two.
""",
}
NETWORK_SUMMARIES = {
    "reenact": "trains the reenactment network (Gr)",
    "mask": "trains the segmentation network (Gs)",
    "inpaint": "trains the inpainting network (Gc)",
    "blend": "trains the blending network (Gb)",
}
EXAMPLE_TEXT = """
  fsgan train {network} --data faces --preset small -o {network}.safetensors
  fsgan train {network} --data faces --plan mine.toml --change phases.batch=16 -o {network}.safetensors
  torchrun --nproc-per-node 2 -m fsgan_core.cli train {network} ...       (several GPUs or processes)

A plan is a TOML file that says how to train. --preset names one that comes with the package. See docs/training.md.
"""

FlagAdder = Callable[[argparse.ArgumentParser], None]


def add_flags(parser: argparse.ArgumentParser, add_work_flags: FlagAdder, formatter: Any, epilog: str) -> None:
    """Add the actions of `fsgan train`.

    Args:
        parser: The parser of the command.
        add_work_flags: Adds the flags that every working command has.
        formatter: The formatter class of the help.
        epilog: The last part of every help page.
    """
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add_action(
        name: str, summary: str, text: str, run: Callable[[Namespace, Presenter], int]
    ) -> argparse.ArgumentParser:
        added = actions.add_parser(
            name, help=summary, description=text, epilog=epilog, allow_abbrev=False, formatter_class=formatter
        )
        added.set_defaults(run=run, command="train", task=f"train-{name}")
        return added

    preparation = add_action("prepare", "cuts faces out of clips and stills", PREPARE_DESCRIPTION, run_prepare)
    _add_prepare_flags(preparation)
    add_work_flags(preparation)
    for network, text in NETWORK_DESCRIPTIONS.items():
        text += EXAMPLE_TEXT.format(network=network)
        action = add_action(network, NETWORK_SUMMARIES[network], text, run_train)
        _add_train_flags(action)
        add_work_flags(action)


def _add_prepare_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("footage")
    group.add_argument("footage", metavar="PATH", nargs="+", help="clips, and folders to search for clips")
    group.add_argument(
        "--people",
        metavar="FILE",
        default="",
        help="CSV file of FILE,PERSON lines; FILE is the name of a clip or the end of its path",
    )
    group.add_argument(
        "--licence",
        choices=LICENCE_CLASSES,
        default="unknown",
        help="licence class of the footage; weights that are trained with it inherit the class",
    )
    group.add_argument(
        "--most",
        metavar="N",
        type=int,
        default=200,
        help="most faces to take from a clip, evenly spread (default: 200)",
    )
    group = parser.add_argument_group("faces")
    group.add_argument("--output", "-o", metavar="DIR", required=True, help="folder for the prepared faces")
    group.add_argument(
        "--resolution",
        metavar="PIXELS",
        type=int,
        default=256,
        help="largest side of a network's input, a multiple of 32 (default: 256)",
    )
    group.add_argument(
        "--crop",
        metavar="N",
        type=float,
        default=1.2,
        help="side of the crop, as a multiple of the face's box (default: 1.2, as published)",
    )
    group.add_argument(
        "--landmarks",
        metavar="N",
        type=int,
        choices=(68, 98),
        default=68,
        help="68, or 98, which needs analyse.landmarks=hrnet (default: 68)",
    )
    group.add_argument(
        "--mattes",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure mattes too; this takes most of the time, and reenact can be trained without them",
    )


def _add_train_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument("--data", metavar="DIR", required=True, help="folder of prepared faces (`fsgan train prepare`)")
    group.add_argument(
        "--preset",
        choices=("published", "small"),
        default="small",
        help="a plan that comes with the package (default: small)",
    )
    group.add_argument("--plan", metavar="FILE", default="", help="your own plan (TOML), in place of a preset")
    group.add_argument(
        "--change",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        dest="changes",
        help="change a value of the plan, like phases.batch=16, losses.gan=0 or average=0.99; may be repeated",
    )
    group.add_argument(
        "--start",
        metavar="NAME",
        default="",
        help="weights to start from: a name from `fsgan weights list`, or a file (default: random weights)",
    )
    group.add_argument(
        "--limit",
        metavar="MINUTES",
        type=float,
        default=0.0,
        help="stop after this time, with everything written; the same command continues the run",
    )
    group.add_argument(
        "--workers",
        metavar="N",
        type=int,
        default=0,
        help="processes that prepare the batches; use about as many as there are cores if a GPU has to wait "
        "(default: 0, a thread)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="continue a run, and fail if there is none (without it: continue a run, or else start one)",
    )
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output",
        "-o",
        metavar="FILE",
        required=True,
        help="weights file to write (.safetensors): the weights that measured best; the last weights and the state of "
        "the run are written to FILE.run/",
    )
    group.add_argument("--half", action="store_true", help="write the weights as float16, half the size")
    group.add_argument("--no-curves", action="store_true", help="write no TensorBoard curves (FILE.run/curves/)")


def run_prepare(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan train prepare`."""
    from fsgan_core.training.data.face_crops import FaceLayout
    from fsgan_core.training.prepare import find_footage, prepare_faces, read_people

    result = prepare_faces(
        find_footage(options.footage, read_people(options.people) if options.people else {}),
        options.output,
        layout=FaceLayout(options.resolution, options.crop, options.landmarks),
        stages=make_stages(options),
        faces_per_clip=options.most,
        licence=options.licence,
        mattes=options.mattes,
        device=options.device,
        force=options.force,
        on_event=presenter.on_event,
    )
    code = 1 if result.left_out else 0
    if options.json:
        presenter.print_json({"ok": code == 0, "exit_code": code, **result.to_dict()})
        return code
    presenter.print_line(
        f"train prepare: {result.faces} faces of {result.people} people in {result.clips} clips "
        f"({result.kept} clips were up to date); {result.output}"
    )
    for name, reason in result.left_out.items():
        presenter.print_line(f"  left out: {name}: {reason}")
    return code


def run_train(options: Namespace, presenter: Presenter) -> int:
    """Run `fsgan train reenact`, `mask`, `inpaint` or `blend`."""
    from fsgan_core.training.train import train_network

    result = train_network(
        options.task.removeprefix("train-"),
        options.data,
        options.output,
        preset=options.preset,
        plan=options.plan,
        changes=dict(_parse_change(text) for text in options.changes),
        start=options.start,
        allow=make_stages(options).weights.allow,
        time_limit=60 * options.limit,
        workers=options.workers,
        half=options.half,
        curves=not options.no_curves,
        device=options.device,
        force=options.force,
        only_resume=options.resume,
        on_event=presenter.on_event,
    )
    if not result.is_first_process:
        return 0
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, **result.to_dict()})
    else:
        for line in describe_result(result):
            presenter.print_line(line)
    return 0


def _parse_change(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InputError(f"--change {text}: write it as NAME=VALUE")
    return name.strip(), value.strip()


def describe_result(result: TrainingResult) -> list[str]:
    """Describe a training result in a few lines for people."""
    if result.best is None:
        return [f"train {result.network}: {result.output} is up to date; kept"]
    first, best, last = result.validations[0], result.best, result.validations[-1]
    lines = [
        f"train {result.network}: {result.iterations} of {result.planned_iterations} iterations; {result.output}",
        f"  trained on {result.faces} faces of {result.people} people in {result.seconds:.0f} s on "
        f"{result.device} with {result.precision}; licence class {result.licence}",
        f"  on held-out people ({', '.join(result.held_out)}): loss {first.loss:.4f} -> {last.loss:.4f}, "
        f"best {best.loss:.4f} after {best.step} iterations",
    ]
    lines += [f"    {name}: {first.figures[name]:.4f} -> {best.figures[name]:.4f}" for name in best.figures]
    return lines
