"""A shot on a farm: the bundle, its tasks by the reference engine, faults, a locked-down machine, the estimate."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fsgan_core.cli import main
from fsgan_core.cli.parser import make_parser
from fsgan_core.cli.progress import FarmProgress
from fsgan_core.clips.shot_file import load_shot
from fsgan_core.contract.errors import InputError, MachineError, PlateError, WeightsError
from fsgan_core.contract.shot import Clip, Output, Shot, Stages
from fsgan_core.farm.bundle import make_bundle, write_bundle
from fsgan_core.farm.estimate import estimate_cost
from fsgan_core.farm.shot_paths import collect_paths, replace_paths
from fsgan_core.farm.shot_tasks import analyse_target, gather_result, render_chunk
from fsgan_core.farm.template import ARITHMETIC_VARIABLES, FarmOptions, from_openjd_range, to_openjd_range
from fsgan_core.networks.weights.checkpoint import read_checkpoint, write_checkpoint
from fsgan_core.plates.image_reader import read_header
from fsgan_core.render.pipeline import render_shot
from fsgan_core.runtime.events import FAILED, Event
from fsgan_core.training.trainer import build_seeded_network
from tests import faults
from tests.small_shot import Small

ROOT = Path(__file__).resolve().parents[2]
OPENJD = Path(sys.executable).with_name("openjd")
POSIX = pytest.mark.skipif(os.name == "nt", reason="shell scripts, signals")


def program(folder: Path) -> Path:
    """fsgan as one file to call."""
    path = folder / "fsgan"
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m fsgan_core.cli "$@"\n')
    path.chmod(0o755)
    return path


def openjd(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OPENJD, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def values_of(folder: Path) -> dict[str, object]:
    data = yaml.safe_load((folder / "parameter_values.yaml").read_text(encoding="utf-8"))
    return {one["name"]: one["value"] for one in data["parameterValues"]}


class TestBundle:
    def test_is_a_job_for_openjd(self, small: Small, tmp_path: Path) -> None:
        shot = replace(small.shot(tmp_path / "out"), target=Clip(small.plate))
        write_bundle(
            make_bundle(
                shot,
                FarmOptions(
                    chunk=2, task_minutes=5, gpu=True, gpu_memory=8, cores=4, memory=16, weight_folders=(str(tmp_path),)
                ),
            ),
            tmp_path / "job",
        )
        done = openjd("check", tmp_path / "job" / "template.yaml")
        assert done.returncode == 0, done.stdout + done.stderr
        template = yaml.safe_load((tmp_path / "job" / "template.yaml").read_text(encoding="utf-8"))
        steps = {step["name"]: step for step in template["steps"]}
        assert list(steps) == ["AnalyseTarget", "Render", "Report"], "the source has its track"
        assert steps["Render"]["dependencies"] == [{"dependsOn": "AnalyseTarget"}]
        needs = {one["name"]: one["min"] for one in steps["Render"]["hostRequirements"]["amounts"]}
        assert needs == {
            "amount.worker.vcpu": 4,
            "amount.worker.memory": 16384,
            "amount.worker.gpu": 1,
            "amount.worker.gpu.memory": 8192,
        }
        values = values_of(tmp_path / "job")
        assert (values["TaskSeconds"], values["Device"], values["Frames"]) == (300, "cuda", "1-6")
        assets = yaml.safe_load((tmp_path / "job" / "asset_references.yaml").read_text())["assetReferences"]
        assert {f"{small.folder}/plate.{frame:04d}.exr" for frame in range(1, 7)} <= set(assets["inputs"]["filenames"])
        assert str(small.folder / "source.json") in assets["inputs"]["filenames"]
        assert assets["outputs"]["directories"] == [str(tmp_path / "out"), str(tmp_path / "out" / "fsgan_farm")]

    def test_paths_appear_only_as_parameters(self, small: Small, tmp_path: Path) -> None:
        write_bundle(make_bundle(small.shot(tmp_path / "out")), tmp_path / "job")
        text = (tmp_path / "job" / "template.yaml").read_text()
        assert str(tmp_path) not in text and str(small.folder) not in text
        kinds = {
            one["name"]: (one.get("objectType"), one.get("dataFlow"))
            for one in yaml.safe_load(text)["parameterDefinitions"]
            if one["type"] == "PATH"
        }
        assert kinds == {
            "ShotFile": ("FILE", "IN"),
            "OutputFolder": ("DIRECTORY", "OUT"),
            "WorkFolder": ("DIRECTORY", "OUT"),
            "Source1": ("FILE", "IN"),
            "Source1Track": ("FILE", "IN"),
            "Target": ("FILE", "NONE"),
            "TargetTrack": ("FILE", "IN"),
        }, "a pattern is no file to upload"

    def test_auto_engines_are_resolved(self, small: Small, tmp_path: Path) -> None:
        bundle = make_bundle(small.shot(tmp_path / "out"))
        engines = {getattr(bundle.shot.stages, stage).engine for stage in ("reenact", "mask", "inpaint", "blend")}
        assert "auto" not in engines
        said = {one["name"]: one["value"] for one in bundle.values["parameterValues"]}["Expected"]
        assert said.startswith("fsgan ") and f"blend {bundle.shot.stages.blend.engine}" in said

    def test_arithmetic_variables_are_part_of_the_job(
        self, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ARITHMETIC_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
        monkeypatch.setenv("MKL_CBWR", "{{Param.Nothing}}")
        variables = make_bundle(small.shot(tmp_path / "out")).template["jobEnvironments"][0]["variables"]
        assert variables["OPENBLAS_CORETYPE"] == "Haswell" and "MKL_CBWR" not in variables
        assert variables["FSGAN_CACHE"].startswith("{{Session.WorkingDirectory}}")

    def test_wrong_shot_is_refused_before_it_is_sent(self, small: Small, tmp_path: Path) -> None:
        with pytest.raises(PlateError, match="no file matches"):
            make_bundle(small.shot(tmp_path / "out", target=str(tmp_path / "away.####.exr")))
        with pytest.raises(InputError, match="at least one frame"):
            make_bundle(small.shot(tmp_path / "out"), FarmOptions(chunk=0))

    @given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
    def test_mapped_paths_replace_the_shots(self, source: str, target: str, track: str) -> None:
        shot = Shot(
            (Clip("a.mov"), Clip("b.png", person="still.jpg")),
            Clip("c.####.exr", track="c.json"),
            Output("out/d.####.exr"),
        )
        new = {
            "source.2": source,
            "target": target,
            "target.track": track,
            "source.2.person": "/x/still 2.jpg",
            "output": "/new",
            "reenact.network": "/w/x.safetensors",
        }
        found = collect_paths(replace_paths(shot, new))
        assert {name: found[name] for name in new} == new
        assert (found["source.1"], replace_paths(shot, new).output.path) == ("a.mov", str(Path("/new/d.####.exr")))

    @pytest.mark.parametrize("name", ["source.3", "source.0", "source.x", "holdout", "target.colour", "drive.pose"])
    def test_unknown_path_name_is_refused(self, name: str) -> None:
        with pytest.raises(InputError):
            replace_paths(Shot((Clip("a.mov"),), Clip("b.mov"), Output("c.####.exr")), {name: "x"})

    def test_ranges(self) -> None:
        assert to_openjd_range((1, 3, 5, 7, 12)) == "1-7:2,12"
        assert from_openjd_range("1-7:2,12") == "1-7x2,12"


@POSIX
def test_whole_job_equals_one_render(small: Small, tmp_path: Path) -> None:
    """By the reference engine, in chunks, from folders with hostile names that have moved since (path mapping)."""
    name = "a 'b\" $(touch pwned); {{Param.JobName}} %d\\ é"
    before, now = tmp_path / "submitted" / name, tmp_path / "farm" / name
    before.mkdir(parents=True)
    for frame in range(1, 5):
        shutil.copy(small.folder / f"plate.{frame:04d}.exr", before)
    shutil.copy(small.folder / "source.png", before)
    shot = Shot(
        (Clip(str(before / "source.png")),),
        Clip(str(before / "plate.####.exr")),
        Output(str(before / "out" / "swap.####.exr")),
    )
    one = replace(shot, output=Output(str(tmp_path / "one" / "swap.####.exr")))
    assert len(render_shot(one).list_frames("rendered")) == 4
    job = tmp_path / "job"
    write_bundle(make_bundle(shot, FarmOptions(chunk=2, command=str(program(tmp_path)))), job)
    shutil.move(tmp_path / "submitted", tmp_path / "farm")
    rules = tmp_path / "rules.json"
    rules.write_text(
        json.dumps(
            {
                "version": "pathmapping-1.0",
                "path_mapping_rules": [
                    {
                        "source_path_format": "POSIX",
                        "source_path": str(tmp_path / "submitted"),
                        "destination_path": str(tmp_path / "farm"),
                    }
                ],
            }
        )
    )
    done = openjd(
        "run",
        job / "template.yaml",
        "-p",
        f"file://{job / 'parameters.json'}",
        "--step",
        "Report",
        "--run-dependencies",
        "--path-mapping-rules",
        f"file://{rules}",
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert done.stdout.count("openjd_progress: 100.0") == 5, "two analyses, two chunks, the report"
    assert done.stdout.count("loaded network mediapipe_face_mesh") == 1, "one process stays over the session's tasks"
    assert "works by itself" not in done.stdout and "the session's process has ended" in done.stdout
    assert re.search(r"frame 3 rendered; [\d.]+ s \(.*mask [\d.]+.*\); \d+ MiB", done.stdout)
    assert faults.sums(now / "out") == faults.sums(tmp_path / "one")
    assert not (tmp_path / "submitted").exists() and not list(tmp_path.rglob("pwned"))
    work = now / "out" / "fsgan_farm"
    assert sorted(path.name for path in (work / "frames").iterdir()) == ["1-2.2.json", "3-4.2.json"]
    told = json.loads((work / "report" / "result.json").read_text())
    assert told["counts"]["rendered"] == 4
    assert all(frame["seconds"]["mask"] > 0 for frame in told["frames"]), "times by frame, beside the pictures"


class TestTasks:
    @pytest.fixture
    def job(self, small: Small, tmp_path: Path) -> Shot:
        """A job's shot that has its own copy of the plate; its target is not analysed yet."""
        for frame in range(1, 4):
            shutil.copy(small.folder / f"plate.{frame:04d}.exr", tmp_path)
        shot = replace(small.shot(tmp_path / "out"), target=Clip(str(tmp_path / "plate.####.exr")))
        return make_bundle(shot, FarmOptions(work_folder=str(tmp_path / "work"))).shot

    def test_incomplete_plate_is_refused(self, job: Shot, tmp_path: Path) -> None:
        plate = tmp_path / "plate.0002.exr"
        plate.rename(tmp_path / "aside")
        with pytest.raises(PlateError, match=r"no frame 2 here \(yet\)"):
            analyse_target(job, "1-3")
        assert not Path(job.target.track).exists()
        (tmp_path / "aside").rename(plate)
        assert analyse_target(job, "1-3")["unread"] == []
        plate.rename(tmp_path / "aside")
        with pytest.raises(PlateError, match="which it had when it was analysed"):
            render_chunk(job, "3", tmp_path / "work")

    def test_half_copied_plate_is_not_guessed_later(self, job: Shot, tmp_path: Path) -> None:
        """What could not be read at the analysis must not be rendered from a track that has guessed it."""
        plate = tmp_path / "plate.0003.exr"
        whole = plate.read_bytes()
        plate.write_bytes(whole[: len(whole) // 2])
        assert analyse_target(job, "1-3")["unread"] == [3]
        plate.write_bytes(whole)
        result = render_chunk(job, "1-3", tmp_path / "work")
        assert [frame for frame, _ in result.failures] == [3]
        assert "when the plate was analysed" in result.failures[0][1]
        report = gather_result(job, "1-3", tmp_path / "work")
        assert report.list_frames(FAILED) == (3,)
        assert any("1-2 lie beside failed frames" in note for note in report.notes)
        assert analyse_target(job, "1-3")["unread"] == []
        assert not render_chunk(job, "1-3", tmp_path / "work").failures
        assert not gather_result(job, "1-3", tmp_path / "work").failures
        before = faults.sums(tmp_path / "out")
        shutil.rmtree(tmp_path / "out")
        plate.write_bytes(whole[: len(whole) // 2])  # broken after the analysis
        assert [frame for frame, _ in render_chunk(job, "1-3", tmp_path / "work").failures] == [3]
        plate.write_bytes(whole)
        assert not render_chunk(job, "1-3", tmp_path / "work").failures
        assert faults.sums(tmp_path / "out") == before
        (tmp_path / "out" / "swap.0002.exr").unlink()
        assert gather_result(job, "1-3", tmp_path / "work").list_frames(FAILED) == (2,), "what counts is the file"

    def test_times_survive_a_second_run(self, small: Small, tmp_path: Path) -> None:
        shot = small.shot(tmp_path / "out", frames="1")
        first = render_chunk(shot, "1", tmp_path)
        again = render_chunk(shot, "1", tmp_path)
        assert (first.list_frames("rendered"), again.list_frames("kept")) == ((1,), (1,))
        assert gather_result(shot, "1", tmp_path).frames[0].seconds["mask"] == pytest.approx(
            first.frames[0].seconds["mask"], abs=1e-3
        )

    def test_machine_with_another_installation_refuses(self, small: Small, tmp_path: Path) -> None:
        with pytest.raises(MachineError, match="would not render the same"):
            render_chunk(small.shot(tmp_path / "out"), "1", tmp_path, expect="fsgan 0.0 abc; reenact warp none")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("module", ["render.pipeline", "faces.geometry", "stages.poisson", "training.data"])
def test_opencv_arithmetic_does_not_depend_on_the_machine(module: str) -> None:
    """IPP's results depend on threads and on the place in memory; chunks would not equal the whole."""
    code = f"import fsgan_core.{module}, cv2; print(cv2.ipp.useIPP())"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=plain)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


@POSIX
class TestMachines:
    def test_two_tasks_with_the_same_frame(self, small: Small, tmp_path: Path) -> None:
        shot = small.shot(tmp_path / "out", frames="2")
        write_bundle(make_bundle(shot), tmp_path / "job")
        command = [str(program(tmp_path)), "render", str(tmp_path / "job" / "shot.toml"), "--force", "--json"]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
        told = [json.loads(process.communicate()[0]) for process in both]
        assert [one["counts"]["rendered"] for one in told] == [1, 1]
        render_shot(small.shot(tmp_path / "one", frames="2"))
        assert faults.sums(tmp_path / "out") == faults.sums(tmp_path / "one")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["swap.0002.exr"]

    def test_locked_down(self, small: Small, tmp_path: Path) -> None:
        """No network, a user without a name, a home that cannot be written, the C locale, hardly a variable."""
        apart = ["unshare", "--user", "--map-user=54321", "--net"]
        if shutil.which("unshare") is None or subprocess.run([*apart, "true"], capture_output=True).returncode:
            pytest.skip("namespaces are not allowed here")
        plates = tmp_path / "plätze"
        plates.mkdir()
        shutil.copy(small.folder / "plate.0001.exr", plates)
        shot = Shot(
            (Clip(str(small.folder / "source.png")),),
            Clip(str(plates / "plate.####.exr")),
            Output(str(tmp_path / "out" / "swap.####.exr")),
        )
        write_bundle(make_bundle(shot, FarmOptions(work_folder=str(tmp_path / "work"))), tmp_path / "job")
        script = "\n".join(
            f'"{program(tmp_path)}" farm task {what} "{tmp_path}/job/shot.toml" --work "{tmp_path}/work"'
            " --progress openjd || exit $?"
            for what in (
                "analyse-source --number 1",
                "analyse-target --frames 1",
                "render --frames 1",
                "report",
            )
        )
        told = {name: os.environ[name] for name in ("PATH", *ARITHMETIC_VARIABLES) if name in os.environ}
        done = subprocess.run(
            [*apart, "sh", "-c", script],
            capture_output=True,
            check=False,
            env={**told, "HOME": "/proc/none", "LC_ALL": "C", "TMPDIR": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
        render_shot(replace(shot, output=Output(str(tmp_path / "one" / "swap.####.exr"))))
        assert faults.sums(tmp_path / "out") == faults.sums(tmp_path / "one")

    def test_faults(self, tmp_path: Path, astronaut: np.ndarray, grace_hopper: np.ndarray) -> None:
        faults.make_plates(tmp_path, grace_hopper, astronaut, 2)
        told = faults.campaign(tmp_path, frames=2, chunk=1, kills=3, seed=3, plates=False)
        assert any(what.startswith("disk full") for what in told)
        assert sum(told[what] for what in told if what.endswith(" killed")) == 3


class TestEngineLines:
    def test_lines(self, capsys: pytest.CaptureFixture[str]) -> None:
        lines = FarmProgress("frame")
        lines.report_event(Event("analyse", "a\nopenjd_fail: no", 5, 10))
        lines.report_event(Event("begin", "swap", 0, 4, 1001))
        for done in (1, 3, 2, 4):
            lines.report_event(Event("frame", "swap", done, 4, 1000 + done, "rendered"))
        lines.report_failure(MachineError("the disk is full;\n  free some"))
        assert capsys.readouterr().err.splitlines() == [
            "openjd_status: analyse a openjd_fail: no",
            "openjd_status: frame 1001",
            "openjd_progress: 25.0",
            "openjd_progress: 75.0",
            "openjd_progress: 100.0",
            "openjd_fail: the disk is full; free some",
        ]

    def test_of_any_command(
        self, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As an engine without Open Job Description calls it."""
        write_bundle(make_bundle(small.shot(tmp_path / "out")), tmp_path / "job")
        assert main(["render", str(tmp_path / "job" / "shot.toml"), "--frames", "1", "--progress", "openjd"]) == 0
        said = capsys.readouterr()
        assert "openjd_progress: 100.0" in said.err and "openjd" not in said.out
        monkeypatch.setenv("FSGAN_PROGRESS", "openjd")
        assert main(["render", str(tmp_path / "job" / "shot.toml"), "--frames", "99"]) == 2
        assert "openjd_fail: missing frames: 99" in capsys.readouterr().err


class TestEstimate:
    def test_three_frames_scaled(self, small: Small, tmp_path: Path) -> None:
        found = estimate_cost(small.shot(tmp_path / "out", frames="1-6"), imported=2.0)
        assert found.frames == 6 and found.sampled_frames == (1, 3, 6) and not (tmp_path / "out").exists()
        assert found.frame_seconds > 0 and found.start_seconds >= 2.0 and found.stage_seconds["mask"] > 0
        assert found.analysis_seconds == 0.0, "both tracks are there"
        plain = replace(found, frames=100, analysis_seconds=50.0, frame_seconds=3.0, start_seconds=4.0)
        assert plain.estimate_machine_seconds(10) == 50 + 300 + 40
        assert plain.estimate_wall_seconds(100, 10) == 50 + 30 + 4

    def test_by_command(self, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shot = replace(small.shot(tmp_path / "out"), target=Clip(small.plate), stages=Stages())
        write_bundle(make_bundle(shot), tmp_path / "job")
        job = load_shot(tmp_path / "job" / "shot.toml")
        assert job.target.track, "the job's own"
        (tmp_path / "plain.toml").write_text(
            (tmp_path / "job" / "shot.toml").read_text().replace(f'track = "{job.target.track}"', "")
        )
        assert main(["farm", "estimate", str(tmp_path / "plain.toml"), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["seconds_analyse"] > 0 and told["machine_hours"] > 0 and told["frames"] == 6


class TestOpenCue:
    def test_outline(
        self, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What Cuebot would get: layers, their order, and command lines that are ours."""
        pytest.importorskip("outline", reason="opencue-pyoutline is not installed")
        shot = replace(
            small.shot(tmp_path / "it's out"),
            target=Clip(small.plate),
            source=(Clip(str(small.folder / "source.png")),),
        )
        write_bundle(make_bundle(shot, FarmOptions(chunk=4)), tmp_path / "job")
        monkeypatch.setattr(sys, "argv", ["opencue_job.py", str(tmp_path / "job"), "--show", "demo"])
        monkeypatch.setenv("HOME", str(tmp_path))
        assert runpy.run_path(str(ROOT / "examples" / "opencue_job.py"))["main"]() == 0
        said = capsys.readouterr().out
        spec = ElementTree.fromstring(said[said.index("<spec>") :])
        layers = {layer.get("name"): layer for layer in spec.iter("layer")}
        assert list(layers) == ["analyse_sources", "analyse_target", "render", "report"]
        assert (layers["render"].findtext("range"), layers["render"].findtext("chunk")) == ("1-6", "4")
        tokens = {"#IFRAME#": "1", "#FRAME_START#": "1", "#FRAME_END#": "4"}
        told = []
        for layer in layers.values():
            line = layer.findtext("cmd") or ""
            for token, value in tokens.items():
                line = line.replace(token, value)
            options = make_parser().parse_args(shlex.split(line)[1:])
            assert options.work == str(tmp_path / "it's out" / "fsgan_farm")
            told.append((options.task, options.frames, options.number))
        assert told == [
            ("analyse-source", "", 1),
            ("analyse-target", "1-6", 1),
            ("render", "1-4", 1),
            ("report", "1-6", 1),
        ]
        depends = {(one.findtext("deplayer"), one.findtext("onlayer")) for one in spec.iter("depend")}
        assert depends == {
            ("render", "analyse_sources"),
            ("render", "analyse_target"),
            ("report", "render"),
        }


def task_arguments(job: Path, step: str, **task: str) -> list[str]:
    """The command line of a step's task, its parameters put in as an engine does."""
    template = yaml.safe_load((job / "template.yaml").read_text(encoding="utf-8"))
    values = {one["name"]: one["default"] for one in template["parameterDefinitions"] if "default" in one}
    values |= values_of(job) | {"ShotFile": str(job / "shot.toml")}
    found = next(one for one in template["steps"] if one["name"] == step)
    words = found["script"]["actions"]["onRun"]["args"]
    for name, value in {
        **{f"Param.{name}": value for name, value in values.items()},
        **{f"Task.Param.{name}": value for name, value in task.items()},
    }.items():
        words = [word.replace("{{" + name + "}}", str(value)) for word in words]
    assert not [word for word in words if "{{" in word]
    return words


def test_finetune_is_a_step(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the analysis of the source and the render, which runs with what it has made."""
    monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "cache"))
    plain = small.shot(tmp_path / "out", frames="1")
    with pytest.raises(WeightsError):
        make_bundle(plain, FarmOptions(finetune_iterations=2))
    clip = Clip(small.plate, track=str(small.folder / "plate.json"))
    arch = "res_unet.MultiScaleResUNet(in_nc=71,out_nc=3,flat_layers=(1,1),ngf=4)"
    write_checkpoint(
        tmp_path / "anna.safetensors",
        arch,
        build_seeded_network(arch, 3).state_dict(),
        {"role": "reenact", "landmarks": "68", "crop": "1.2", "resolution": "64"},
    )
    shot = small.shot(tmp_path / "out", frames="1", reenact__network=str(tmp_path / "anna.safetensors"))
    made = make_bundle(
        replace(shot, source=(clip,)), FarmOptions(finetune_iterations=2, finetune_licence="commercial", timeout=5)
    )
    write_bundle(made, tmp_path / "job")
    steps = {step["name"]: step for step in made.template["steps"]}
    assert list(steps) == ["Finetune", "Render", "Report"]
    assert steps["Render"]["dependencies"] == [{"dependsOn": "Finetune"}]
    assert {step["script"]["actions"]["onRun"]["timeout"] for step in steps.values()} == {300}
    assert main(task_arguments(tmp_path / "job", "Finetune")) == 0
    tuned = tmp_path / "out" / "fsgan_farm" / "finetuned.safetensors"
    assert read_checkpoint(tuned).metadata["iterations"] == "2"
    assert main(task_arguments(tmp_path / "job", "Render", Frames="1")) == 0
    said = read_header(tmp_path / "out" / "swap.0001.exr").metadata
    assert any("finetuned" in str(value) for name, value in said.items() if name.startswith("fsgan/"))


def test_made_on_windows(small: Small, tmp_path: Path) -> None:
    """The bundle's shot holds paths of the machine that it was made on; a task is told where they lie here."""
    shot = small.shot(tmp_path / "out", frames="1")
    write_bundle(make_bundle(shot), tmp_path / "job")
    words = task_arguments(tmp_path / "job", "Render", Frames="1")
    text = (tmp_path / "job" / "shot.toml").read_text(encoding="utf-8")
    for folder in (small.folder, tmp_path):
        text = text.replace(f"{folder}/", "Z:\\\\shows\\\\s 010\\\\")
    (tmp_path / "job" / "shot.toml").write_text(text.replace("out/swap", "out\\\\swap"), encoding="utf-8")
    assert load_shot(tmp_path / "job" / "shot.toml").output.path.endswith("Z:\\shows\\s 010\\out\\swap.####.exr")
    assert main(words) == 0
    render_shot(small.shot(tmp_path / "one", frames="1"))
    assert faults.sums(tmp_path / "out") == faults.sums(tmp_path / "one")


def test_clocks_that_differ(small: Small, tmp_path: Path) -> None:
    """Which run of a frame was the last one is told by the file server's clock, not by the machines'."""
    shot = small.shot(tmp_path / "out", frames="1-2")
    render_chunk(shot, "1-2", tmp_path)
    told = json.loads((tmp_path / "frames" / "1-2.2.json").read_text())
    ahead = tmp_path / "frames" / "1-1.1.json"
    failed = {**told["frames"][0], "state": "failed", "message": "half copied"}
    ahead.write_text(json.dumps({**told, "frames": [failed], "finished": told["finished"] + 9000}))
    os.utime(ahead, (1, 1))
    assert gather_result(shot, "1-2", tmp_path).list_frames(FAILED) == ()
    os.utime(ahead)
    assert gather_result(shot, "1-2", tmp_path).list_frames(FAILED) == (1,)


def test_frames_that_a_chunk_skips_are_no_failures(small: Small, tmp_path: Path) -> None:
    """`output.missing=skip`: the target lacks frame 2. Delivered and rendered, it is not skipped any more."""
    shutil.copytree(small.folder, tmp_path / "in")
    late = tmp_path / "in" / "plate.0002.exr"
    content = late.read_bytes()
    late.unlink()
    shot = Small(tmp_path / "in").shot(tmp_path / "out", output__missing="skip")
    shot = replace(shot, target=replace(shot.target, track=""))
    render_chunk(shot, "1-3", tmp_path)
    told = gather_result(shot, "1-3", tmp_path)
    assert (told.failures, told.skipped, [one.frame for one in told.frames]) == ((), (2,), [1, 3])
    assert sum(note.startswith("skipped 2 (1 frame)") for note in told.notes) == 1
    late.write_bytes(content)
    render_chunk(shot, "2", tmp_path)
    told = gather_result(shot, "1-3", tmp_path)
    assert (told.failures, told.skipped, [one.frame for one in told.frames]) == ((), (), [1, 2, 3])
    assert not any(note.startswith("skipped") for note in told.notes)
