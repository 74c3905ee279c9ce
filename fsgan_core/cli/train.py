"""`fsgan train`: prepare faces, train the four networks."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsgan_core.cli import prepare
from fsgan_core.cli.trained import IterationReporter, read_kept_metadata
from fsgan_core.contract.errors import InputError, WeightsError
from fsgan_core.contract.licences import LICENCE_CLASSES

if TYPE_CHECKING:
    from torch import nn

    from fsgan_core.cli.present import Presenter
    from fsgan_core.runtime.events import EventListener
    from fsgan_core.training.data.dataset import FaceDataset
    from fsgan_core.training.parallel import World
    from fsgan_core.training.plan import TrainingPlan
    from fsgan_core.training.train_loop import TrainedGenerator

__all__ = ["DESCRIPTION", "TrainingJob", "add_flags", "run_train", "run_training_job"]

log = logging.getLogger(__name__)

DESCRIPTION = """\
Trains the networks on a studio's own footage. First the faces are cut out of it, then a network learns from
them; people who are held out say how well it does on somebody it has never seen. See docs/training.md.

  fsgan train prepare footage/ --output faces
  fsgan train reenact --data faces --preset small -o gr.safetensors
  fsgan swap ... --set reenact.network=gr.safetensors

A run that was killed goes on when it is started again.
"""

PREPARE_DESCRIPTION = """\
Cuts the faces out of clips and stills: pictures around each face, landmarks, head pose and the geometric engine's
mattes, one file for each clip. What is there already and right is kept, so a run that was stopped goes on.

  fsgan train prepare footage/ --output faces --people people.csv

In a folder, every movie, numbered sequence and set of stills is a clip; a clip in a folder of its own inside it
shows the person that the folder is called after.
"""

NETWORK_DESCRIPTIONS = {
    "reenact": """\
Trains the reenactment network (Gr): a frame and the landmarks of another frame of its clip, to that frame. With
the preset small it is shown the frame already warped, and mends what warping cannot do.
""",
    "mask": """\
Trains the segmentation network (Gs) on the geometric engine's mattes, with hands, bars, glasses and other things
put in front of faces whose mattes are exact.
""",
    "inpaint": """\
Trains the inpainting network (Gc): a face with a random ellipse cut from its border, to the whole face.
""",
    "blend": """\
Trains the blending network (Gb): a face put over another one, to the gradient-domain solution of the two.
""",
}
EXAMPLE_TEXT = """
  fsgan train {network} --data faces --preset small -o {network}.safetensors
  fsgan train {network} --data faces --plan mine.toml --change phases.batch=16 -o {network}.safetensors
  torchrun --nproc-per-node 2 -m fsgan_core.cli train {network} ...       (several GPUs or processes)

The plan is a TOML file; --preset names one that comes with the package. See docs/training.md.
"""
# Part of every key: to be raised when the same plan would give other weights.
METHOD_VERSION = 2
KEY_FIELD = "train_key"


def add_flags(
    parser: argparse.ArgumentParser, work: Callable[[argparse.ArgumentParser], None], formatter: Any, epilog: str
) -> None:
    """The actions of `fsgan train`; `work` adds the flags that every working command has."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add_action(
        name: str, short: str, text: str, run: Callable[[Namespace, Presenter], int]
    ) -> argparse.ArgumentParser:
        made = actions.add_parser(
            name, help=short, description=text, epilog=epilog, allow_abbrev=False, formatter_class=formatter
        )
        made.set_defaults(run=run, command="train", task=f"train-{name}")
        return made

    prepared = add_action("prepare", "cuts faces out of clips and stills", PREPARE_DESCRIPTION, prepare.run_prepare)
    group = prepared.add_argument_group("footage")
    group.add_argument("footage", metavar="PATH", nargs="+", help="folders, which are searched, and clips")
    group.add_argument(
        "--people",
        metavar="FILE",
        default="",
        help="CSV of FILE,PERSON lines, FILE being a clip's name or the end of its path",
    )
    group.add_argument(
        "--licence",
        choices=LICENCE_CLASSES,
        default="unknown",
        help="class under which the footage may be used; weights that learn from it get it",
    )
    group.add_argument(
        "--most", metavar="N", type=int, default=200, help="faces of a clip, evenly spread (default: 200)"
    )
    group = prepared.add_argument_group("faces")
    group.add_argument("--output", "-o", metavar="DIR", required=True, help="the folder of prepared faces")
    group.add_argument(
        "--resolution",
        metavar="PIXELS",
        type=int,
        default=256,
        help="side of the crop that a network sees at most, a multiple of 32 (default: 256)",
    )
    group.add_argument(
        "--crop",
        metavar="N",
        type=float,
        default=1.2,
        help="side of the crop over the face's box (default: 1.2, as published)",
    )
    group.add_argument(
        "--landmarks",
        metavar="N",
        type=int,
        choices=(68, 98),
        default=68,
        help="68, or 98 where analyse.landmarks = hrnet can run (default: 68)",
    )
    group.add_argument(
        "--mattes",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure mattes too, which takes most of the time; reenact alone can do without",
    )
    work(prepared)

    for network, text in NETWORK_DESCRIPTIONS.items():
        short = text.split(":")[0].split(" on ")[0].strip().replace("Trains", "trains")
        _add_train_flags(add_action(network, short, text + EXAMPLE_TEXT.format(network=network), run_train), work)


def _add_train_flags(parser: argparse.ArgumentParser, work: Callable[[argparse.ArgumentParser], None]) -> None:
    group = parser.add_argument_group("training")
    group.add_argument("--data", metavar="DIR", required=True, help="prepared faces (`fsgan train prepare`)")
    group.add_argument(
        "--preset",
        choices=("published", "small"),
        default="small",
        help="a plan that comes with the package (default: small)",
    )
    group.add_argument("--plan", metavar="FILE", default="", help="a plan of your own (TOML), in place of a preset")
    group.add_argument(
        "--change",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        dest="changes",
        help="something else in the plan, like phases.batch=16, losses.gan=0, average=0.99; repeat it",
    )
    group.add_argument(
        "--start",
        metavar="NAME",
        default="",
        help="weights to start from: a name from `fsgan weights list`, or a file; empty: random ones",
    )
    group.add_argument(
        "--limit",
        metavar="MINUTES",
        type=float,
        default=0.0,
        help="stop after so long, with the state saved and the weights so far written; the same command goes on",
    )
    group.add_argument(
        "--workers",
        metavar="N",
        type=int,
        default=0,
        help="processes that prepare what the network is shown, so that a GPU need not wait: about as "
        "many as there are cores (default: 0, a thread)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="only go on with a run that was begun (without it: go on if there is one, else begin)",
    )
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output",
        "-o",
        metavar="FILE",
        required=True,
        help="the weights to write (.safetensors), those that measured best; the last ones and the "
        "run's state lie beside them in FILE.run/",
    )
    group.add_argument("--half", action="store_true", help="write the weights as float16, half the size")
    group.add_argument("--no-curves", action="store_true", help="write nothing for TensorBoard (FILE.run/curves/)")
    work(parser)


@dataclass(frozen=True)
class TrainingJob:
    """A run, as asked for. start: "" is random weights. limit: seconds, 0 is none. allow: licence classes of weights
    to start from and of VGGs."""

    plan: TrainingPlan
    dataset: FaceDataset
    start: str = ""
    device: str = "cpu"
    limit: float = 0.0
    allow: str = "any"


def run_train(options: Namespace, presenter: Presenter) -> int:
    from fsgan_core.cli.arguments import make_stages
    from fsgan_core.runtime.device import choose_device
    from fsgan_core.training.data.dataset import load_dataset
    from fsgan_core.training.parallel import join_world, leave_world
    from fsgan_core.training.plan import get_preset_path, load_plan

    network = options.task.removeprefix("train-")
    output = Path(options.output).expanduser()
    if output.suffix != ".safetensors":
        raise InputError(f"the weights {output} must be called .safetensors")
    changes = dict(_parse_change(text) for text in options.changes)
    plan = load_plan(
        Path(options.plan).expanduser() if options.plan else get_preset_path(network, options.preset), network, changes
    )
    device = choose_device(options.device)
    world = join_world(device)
    job = TrainingJob(
        plan,
        load_dataset(Path(options.data).expanduser()),
        options.start,
        world.device or device,
        60 * options.limit,
        make_stages(options).weights.allow,
    )
    try:
        facts = run_training_job(
            job,
            output,
            presenter.on_event,
            world,
            force=options.force,
            only_resume=options.resume,
            half=options.half,
            curves=not options.no_curves,
            workers=max(0, options.workers),
        )
    finally:
        leave_world()
    if not world.is_first:
        return 0
    if options.json:
        presenter.print_json({"ok": True, "exit_code": 0, **facts})
    else:
        for line in describe_result(facts):
            presenter.print_line(line)
    return 0


def describe_result(facts: Mapping[str, Any]) -> list[str]:
    """The result for people."""
    if facts["state"] == "kept":
        return [f"train {facts['network']}: {facts['output']} is already the result of this; kept"]
    first, best, last = facts["checks"][0], facts["best"], facts["checks"][-1]
    lines = [
        f"train {facts['network']}: {facts['iterations']} of {facts['planned']} iterations; {facts['output']}",
        f"  learnt from {facts['faces']} faces of {facts['people']} people; {facts['seconds']:.0f} s on "
        f"{facts['device']} in {facts['precision']}; licence class {facts['licence']}",
        f"  on held-out people ({', '.join(facts['held_out'])}): loss {first['loss']:.4f} -> {last['loss']:.4f}, "
        f"best {best['loss']:.4f} after {best['step']} iterations",
    ]
    lines += [f"    {name}: {first['figures'][name]:.4f} -> {best['figures'][name]:.4f}" for name in best["figures"]]
    return lines


def run_training_job(
    job: TrainingJob,
    output: Path,
    on_event: EventListener,
    world: World,
    *,
    force: bool = False,
    only_resume: bool = False,
    half: bool = False,
    curves: bool = True,
    workers: int = 0,
) -> dict[str, Any]:
    """Does the job, or goes on with it, unless `output` is its result already; the facts, as plain data for JSON.

    Raises InputError (something else lies at `output`; nothing to resume; nobody to validate by), WeightsError,
    OutputError, MachineError.
    """
    import numpy as np

    from fsgan_core.training.data.dataset import choose_held_out_people
    from fsgan_core.training.train_loop import STATE_FILE
    from fsgan_core.training.train_loop import train_generator as train_network

    plan, prepared = job.plan, job.dataset
    if prepared.faces.layout.landmarks != plan.landmarks and plan.network == "reenact":
        raise InputError(
            f"the plan is for {plan.landmarks} landmarks and the faces were prepared with "
            f"{prepared.faces.layout.landmarks}; prepare them with --landmarks {plan.landmarks}"
        )
    if prepared.faces.layout.crop != plan.crop:
        raise InputError(
            f"the plan is for a crop of {plan.crop:g} and the faces were prepared with "
            f"{prepared.faces.layout.crop:g}; prepare them with --crop {plan.crop:g}"
        )
    named, share = (plan.validation, 0.0) if isinstance(plan.validation, tuple) else ((), plan.validation)
    people = choose_held_out_people(prepared, named, share, plan.seed)
    held = np.isin(prepared.people, people)
    generator, start, licence = _make_generator(job)
    vggs, judges = _load_vggs(job)
    key = _compute_key(job, start, judges)
    work = output.with_name(f"{output.name}.run")
    if output.exists() and not force:
        before = _read_kept_facts(output, key)
        if before["iterations"] >= before["planned"]:
            return before
    if only_resume and not (work / STATE_FILE).is_file():
        raise InputError(f"there is no run to go on with at {work}; start it without --resume")
    if force and world.is_first:
        with contextlib.suppress(OSError):
            (work / STATE_FILE).unlink()
    watcher = _open_curves(work, key) if curves and world.is_first else None
    subject = f"{plan.network}, {len(people)} of {len(set(prepared.people))} people held out"
    result = train_network(
        prepared.faces,
        prepared.people,
        held,
        generator,
        plan,
        folder=work,
        key=key,
        vggs=vggs,
        device=job.device,
        world=world,
        curve_writer=watcher,
        on_progress=IterationReporter(on_event, subject),
        limit=job.limit,
        workers=workers,
    )
    if watcher is not None:
        watcher.close()
    facts = _collect_facts(job, result, people, held, output, start, licence)
    if world.is_first:
        _write_results(output, work, job, result, facts, key, half)
    return facts


def _parse_change(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InputError(f"--change {text}: it is NAME=VALUE")
    return name.strip(), value.strip()


def _make_generator(job: TrainingJob) -> tuple[nn.Module, str, str]:
    """The network to train, what it starts from (a digest, or the architecture), and that one's licence class."""
    from fsgan_core.networks.architectures.build import parse_architecture
    from fsgan_core.networks.weights.catalogue import find_weights
    from fsgan_core.networks.weights.checkpoint import load_network
    from fsgan_core.training.trainer import build_seeded_network

    wanted = str(parse_architecture(job.plan.arch))
    if not job.start:
        return build_seeded_network(wanted, job.plan.seed), wanted, LICENCE_CLASSES[0]
    found = find_weights(job.plan.network, job.start, job.allow)
    if str(parse_architecture(found.info.arch)) != wanted:
        raise WeightsError(
            f"the weights {found.info.name} are of another architecture ({found.info.arch}) than "
            f"the plan's; change that: --change 'arch=\"{found.info.arch}\"'"
        )
    return load_network(found.path), found.sha256, found.info.licence


def _load_vggs(job: TrainingJob) -> tuple[dict[str, Any], dict[str, str]]:
    """The VGGs that the plan's losses name, where they are installed and allowed, and their digests; by role."""
    from fsgan_core.networks.weights.catalogue import find_best_weights
    from fsgan_core.networks.weights.checkpoint import load_network
    from fsgan_core.training.losses import prepare_vgg_features

    found = {role: find_best_weights(role, job.allow) for role in job.plan.losses.perceptual}
    there = {role: weights for role, weights in found.items() if weights is not None}
    if len(there) < len(found):
        return {}, {}
    return (
        {role: prepare_vgg_features(load_network(weights.path), job.device) for role, weights in there.items()},
        {role: weights.sha256 for role, weights in there.items()},
    )


def _compute_key(job: TrainingJob, start: str, judges: Mapping[str, str]) -> str:
    """Of all that the result depends on, but the machine."""
    from fsgan_core.runtime.cache import compute_digest

    return compute_digest("train", METHOD_VERSION, job.dataset.key, job.plan.to_dict(), start, dict(judges))


def _open_curves(work: Path, key: str) -> Any:
    from fsgan_core.training.run_state import load_state
    from fsgan_core.training.tensorboard import open_tensorboard
    from fsgan_core.training.train_loop import STATE_FILE

    before = load_state(work / STATE_FILE, key)
    return open_tensorboard(work / "curves", before.step if before is not None else 0)


def _collect_facts(
    job: TrainingJob,
    result: TrainedGenerator,
    people: tuple[str, ...],
    held: Any,
    output: Path,
    start: str,
    licence: str,
) -> dict[str, Any]:
    plan, prepared = job.plan, job.dataset
    learnt = {subject.person for subject in prepared.clips} - set(people)
    classes = [subject.licence for subject in prepared.clips if subject.person in learnt]
    count = int((~held).sum())
    checks = [check.to_dict() for check in result.validations]
    return {
        "command": "train",
        "network": plan.network,
        "output": str(output),
        "state": "trained",
        "start": job.start or "random",
        "iterations": len(result.losses),
        "planned": sum(phase.count_iterations(count) for phase in plan.phases),
        "resumed": result.resumed_iterations,
        "faces": count,
        "people": len(learnt),
        "held_out": list(people),
        "checks": checks,
        "best": result.best_validation.to_dict(),
        "seconds": round(result.seconds, 1),
        "device": job.device,
        "precision": result.precision,
        "licence": max((licence, *classes), key=LICENCE_CLASSES.index),
    }


def _write_results(
    output: Path, work: Path, job: TrainingJob, result: TrainedGenerator, facts: Mapping[str, Any], key: str, half: bool
) -> None:
    """The best weights as `output`, the last ones and the run's curve in `work`."""
    from fsgan_core.contract.version import __version__
    from fsgan_core.networks.weights.catalogue import WeightsInfo, make_weights_metadata
    from fsgan_core.networks.weights.checkpoint import write_checkpoint
    from fsgan_core.runtime.atomic import write_atomically

    plan = job.plan
    note = (
        f"Trained by fsgan {__version__} on {facts['faces']} faces of {facts['people']} people, "
        f"{facts['iterations']} iterations."
    )
    weight = WeightsInfo(
        name=output.stem,
        role=plan.network,
        arch=plan.arch,
        landmarks=plan.landmarks,
        crop=plan.crop,
        licence=facts["licence"],
        note=note,
        prewarp=plan.prewarp,
        resolution=plan.phases[-1].resolution,
    )
    said = {
        **make_weights_metadata(weight),
        "plan": json.dumps(plan.to_dict()),
        "start": facts["start"],
        "iterations": str(facts["iterations"]),
        "planned": str(facts["planned"]),
        KEY_FIELD: key,
    }
    for path, state, check in (
        (output, result.best, facts["best"]),
        (work / "last.safetensors", result.last, facts["checks"][-1]),
    ):
        tensors = {name: value.half() if half and value.is_floating_point() else value for name, value in state.items()}
        write_checkpoint(path, plan.arch, tensors, {**said, "validation": json.dumps(check)})
    with write_atomically(work / "run.json") as temporary:
        temporary.write_text(json.dumps({**facts, "losses": [round(loss, 6) for loss in result.losses]}), "utf-8")


def _read_kept_facts(output: Path, key: str) -> dict[str, Any]:
    """The facts of a result that is there. Raises InputError when it is something else."""
    said = read_kept_metadata(output, KEY_FIELD, key, "faces, start or plan")
    return {
        "command": "train",
        "network": said["role"],
        "output": str(output),
        "state": "kept",
        "licence": said.get("licence", "unknown"),
        "iterations": int(said["iterations"]),
        "planned": int(said["planned"]),
    }
