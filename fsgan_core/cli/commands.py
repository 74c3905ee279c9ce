"""What each command does: options to a call of `render`, the result to the presenter; the exit code is returned."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from fsgan_core.cli.arguments import holdout_of, sources_of, stages_of, target_of
from fsgan_core.contract.errors import InputError
from fsgan_core.contract.params import STAGES
from fsgan_core.contract.shot import Clip, Output, Shot

if TYPE_CHECKING:
    from fsgan_core.cli.present import Presenter

# What the flags of the stage commands call the files of a stage.
UPSTREAM_FLAGS = {"reenacted": "reenact", "mask": "mask", "completed": "inpaint"}


def swap(options: Namespace, presenter: Presenter) -> int:
    """`fsgan swap` and `fsgan drive`."""
    shot = Shot(
        source=sources_of(options),
        target=target_of(options),
        output=Output(options.output, options.output_colorspace),
        job=options.command,
        frames=options.frames,
        holdout=holdout_of(options),
        stages=stages_of(options),
    )
    if getattr(options, "finetune", 0):
        from fsgan_core.cli.finetune import finetuned_shot
        from fsgan_core.runtime.device import choose_device

        shot = finetuned_shot(shot, options.finetune, options.finetune_licence, choose_device(options.device),
                              presenter.listen)
    if options.save_shot:
        from fsgan_core.clips.shot_file import save_shot

        save_shot(options.save_shot, shot)
        if not options.json:
            presenter.say(f"shot: {options.save_shot}")
    return _render(shot, "", options, presenter)


def render(options: Namespace, presenter: Presenter) -> int:
    from fsgan_core.clips.shot_file import load_shot

    shot = load_shot(options.shot)
    changes = {"path": options.output, "colorspace": options.output_colorspace}
    output = dataclasses.replace(shot.output, **{name: value for name, value in changes.items() if value is not None})
    shot = dataclasses.replace(shot, output=output, stages=stages_of(options, shot.stages))
    return _render(shot, options.frames, options, presenter)


def _render(shot: Shot, frames: str, options: Namespace, presenter: Presenter) -> int:
    from fsgan_core.render.pipeline import render_shot
    from fsgan_core.runtime.device import choose_device

    device = choose_device(options.device)
    result = render_shot(shot, frames=frames, device=device, force=options.force, listen=presenter.listen)
    code = presenter.result(result)
    if options.report:
        from fsgan_core.report.write import write_report

        written = write_report(Path(options.report), shot, result, presenter.listen)
        if not options.json:
            presenter.say(f"report: {written[0]}")
    return code


def stage(options: Namespace, presenter: Presenter) -> int:
    """`fsgan reenact`, `mask`, `inpaint`, `blend`."""
    from fsgan_core.render.pipeline import render_stage
    from fsgan_core.runtime.device import choose_device

    upstream = {name: Clip(getattr(options, flag)) for flag, name in UPSTREAM_FLAGS.items()
                if getattr(options, flag, None)}
    sources = sources_of(options) if getattr(options, "source", None) else ()
    if options.driver:
        if sources:
            raise InputError("a stage has a --source (of a swap) or a --driver (of a drive), not both")
        sources = (Clip(options.driver, options.driver_colorspace, options.driver_track),)
    result = render_stage(
        options.command,
        sources=sources,
        job="drive" if options.driver else "swap",
        target=target_of(options),
        output=options.output,
        stages=stages_of(options),
        holdout=holdout_of(options),
        upstream=upstream,
        output_colorspace=getattr(options, "output_colorspace", ""),
        frames=options.frames,
        device=choose_device(options.device),
        force=options.force,
        listen=presenter.listen,
    )
    return presenter.result(result)


def analyse(options: Namespace, presenter: Presenter) -> int:
    from fsgan_core.clips.tracks import write_track
    from fsgan_core.runtime.device import choose_device

    clip = Clip(options.target or options.source, options.colorspace, part=options.part)
    facts = write_track(clip, Path(options.output), stages_of(options), of_target=bool(options.target),
                        frames=options.frames, device=choose_device(options.device), listen=presenter.listen)
    if options.json:
        presenter.data({"ok": True, "exit_code": 0, **facts})
        return 0
    presenter.say(f"analyse: {facts['frames']} frames, {len(facts['people'])} people; {facts['output']}")
    for person in facts["people"]:
        presenter.say(f"  person {person['index']}: {person['frames']} frames, face {person['height']:.0f} px high")
    if not facts["people"]:
        presenter.say("  no face was found; check --colorspace, or set analyse.detector or analyse.minimum_confidence")
    return 0


def views(options: Namespace, presenter: Presenter) -> int:
    from fsgan_core.report.view_map import view_map
    from fsgan_core.report.view_sheet import view_lines, view_sheet, view_table
    from fsgan_core.runtime.device import choose_device

    if options.output and not options.output.lower().endswith(".png"):
        raise InputError(f"the contact sheet {options.output} must be called .png")
    found = view_map(sources_of(options), stages_of(options), target_of(options) if options.target else None,
                     frames=options.frames, pictures=bool(options.output or options.json),
                     device=choose_device(options.device), listen=presenter.listen)
    if options.output:
        view_sheet(found, options.output)
    if options.json:
        presenter.data({"ok": True, "exit_code": 0, **found.to_dict()})
        return 0
    presenter.table(view_table(found))
    for line in view_lines(found):
        presenter.say(line)
    return 0


def evaluate(options: Namespace, presenter: Presenter) -> int:
    from fsgan_core.evaluation.charts import lines, plots, table, write_json
    from fsgan_core.evaluation.evaluate import evaluate as measure
    from fsgan_core.plates.colour import open_config
    from fsgan_core.report.write import frame_seconds

    clips = sources_of(options)
    stages = stages_of(options)
    found = measure(clips, target_of(options), Clip(options.result, options.result_colorspace), options.frames,
                    offset=options.offset, matte=Clip(options.matte) if options.matte else None,
                    config=open_config(stages.colour.config), exposure=stages.colour.exposure or 0.0,
                    seconds=frame_seconds(Path(options.report)) if options.report else None, listen=presenter.listen)
    if options.output:
        folder = Path(options.output)
        write_json(found, folder / "evaluation.json")
        plots(found, folder / "evaluation.png")
    if options.json:
        presenter.data({"ok": True, "exit_code": 0, **found.to_dict()})
        return 0
    presenter.table(table(found))
    for line in lines(found):
        presenter.say(line)
    return 0


def doctor(options: Namespace, presenter: Presenter) -> int:
    from fsgan_core.doctor import examine, report_lines

    found = examine()
    if options.json:
        presenter.data(found)
    else:
        for line in report_lines(found):
            presenter.say(line)
    return 0 if found["ok"] else 3


def params(options: Namespace, presenter: Presenter) -> int:
    from fsgan_core.cli.reference import parameter_data, parameter_lines, parameter_page

    stages = {name: cls for name, cls in STAGES.items() if options.stage in (None, name)}
    if options.json:
        presenter.data(parameter_data(stages))
    elif options.markdown:
        presenter.say(parameter_page(stages).rstrip("\n"))
    else:
        for line in parameter_lines(stages):
            presenter.say(line)
    return 0
