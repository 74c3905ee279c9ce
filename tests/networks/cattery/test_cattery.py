"""The networks as nodes for Nuke's Inference: what a file does in a process of its own, against the eager networks."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from fsgan_core.cli import main
from fsgan_core.contract.errors import WeightsError
from fsgan_core.faces.face import make_face
from fsgan_core.faces.landmarkers.heatmap import decode_heat_maps, draw_heat_maps, draw_pyramid_maps
from fsgan_core.faces.track import Person, Track
from fsgan_core.faces.track_file import save_track
from fsgan_core.networks.cattery import nuke_files
from fsgan_core.networks.cattery.export import choose_weights, export_cattery, save_torchscript, wrap_network
from fsgan_core.networks.cattery.wrappers import BlendNode, MaskNode, SegmentingGenerator
from fsgan_core.networks.weights.catalogue import WeightsInfo
from fsgan_core.networks.weights.checkpoint import load_network, write_checkpoint
from fsgan_core.networks.weights.installed import InstalledWeights
from fsgan_core.plates import curve
from fsgan_core.plates.colour import open_config
from fsgan_core.plates.image_reader import read_image
from fsgan_core.stages.neural.erosion import erode_softly
from tests.faces.helpers import head
from tests.host import tcl
from tests.patterns import image, patterned

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated")

ARCHS = {
    "mask": "simple_unet_02.UNet(num_classes=3,feature_scale=8)",
    "inpaint": "res_unet.MultiScaleResUNet(in_nc=4,out_nc=3,flat_layers=(1,0,1,1),ngf=8)",
    "blend": "res_unet.MultiScaleResUNet(in_nc=7,out_nc=3,flat_layers=(1,0,1,1),ngf=8)",
    "reenact": "res_unet.MultiScaleResUNet(in_nc=101,out_nc=3,flat_layers=(1,0,1,1),ngf=8)",
    "reenact68": "res_unet_split.MultiScaleResUNet(in_nc=71,out_nc=(3,3),flat_layers=(0,1,1),ngf=8)",
    "landmarks": "hrnet.hrnet_wlfw()",
}
VERSION_1 = "res_unet_split.MultiScaleResUNet(in_nc=71,out_nc=(3,3),flat_layers=(1,0,1),ngf=8,version=1)"
# The appendix of Nuke's guide; anything else fails there with "invalid map key".
ALLOWED = {
    "rgba.red",
    "rgba.green",
    "rgba.blue",
    "rgba.alpha",
    "depth.Z",
    "forward.u",
    "forward.v",
    "backward.u",
    "backward.v",
    "deep.front",
    "deep.back",
    "disparityL.x",
    "disparityL.y",
    "disparityR.x",
    "disparityR.y",
    "mask.a",
    "rotopaint_mask.a",
    "mask_planartrack.a",
    "mask_splinewarp.a",
}
# Files with these alone were loaded and run in torch 1.12.1, 2.1.1 and 2.7.1. exp, floor and pixel_unshuffle, for the
# landmark maps of version 1, were run in 2.7.1 alone; torch has had them since 1.8.
OPERATORS = """
    Float.Scalar Int.float __getitem__.t abs adaptive_avg_pool2d add.Scalar add.Tensor add.float add.int add_.Scalar
    amax amin append.t arange arange.start asinh avg_pool2d batch_norm cat clamp contiguous conv2d copy_ div.Scalar
    div.Tensor div.float eq.Tensor eq.int floordiv.int ge.Scalar ge.Tensor ge.int gt.Scalar gt.int le.Scalar le.int
    len.t max_pool2d maximum minimum mul.Scalar mul.Tensor mul.float mul.int mul.int_float nan_to_num ne.int neg
    neg.float neg.int ones_like pad pow.Tensor_Scalar pow.float relu relu_ remainder.int select.int sign sinh size
    slice.Tensor slice.t softmax.int sqrt stack sub.Scalar sub.Tensor sub.int sum sum.dim_IntList tanh tensor.float
    to.dtype transpose.int unsqueeze upsample_bicubic2d upsample_bilinear2d where.self zeros_like
    exp floor le.Tensor mul.float_int pixel_unshuffle
"""
EXAMPLES = Path(__file__).parents[3] / "examples"
ODD = (75, 91)
SQUARE = (64, 64)
POINTS = np.random.default_rng(3).uniform(0.2, 0.8, (98, 2))
# What Nuke does with a file, and no more: load it, set knobs, call it.
LOADER = """
import sys, numpy as np, torch
torch.set_num_threads(1)
assert not any(name.startswith("fsgan_core") for name in sys.modules)
job, out = np.load(sys.argv[1]), {}
for name in job.files:
    model = torch.jit.load(f"{sys.argv[2]}/{name}.pt")
    model.resolution = 0
    with torch.no_grad():
        answer = model(torch.from_numpy(job[name]))
    assert answer.is_contiguous() and answer.dtype == torch.float32
    out[name] = answer.numpy()
np.savez(sys.argv[3], **out)
"""


@dataclass(frozen=True)
class Package:
    folder: Path
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]

    @property
    def place(self) -> Path:
        return self.folder / "cattery" / "FSGAN"


def install(folder: Path, name: str, *, licence: str = "commercial", resolution: int = 64, arch: str = "") -> Path:
    role = name.rstrip("0123456789")
    landmarks = {"reenact": 98, "reenact68": 68}.get(name, 0)
    arch = arch or ARCHS[name]
    path = folder / f"{name}.safetensors"
    write_checkpoint(
        path,
        arch,
        patterned(arch).state_dict(),
        {
            "name": name,
            "role": role,
            "landmarks": str(landmarks),
            "licence": licence,
            "resolution": str(resolution),
            "default": "true",
        },
    )
    return path


def linear(height: int, width: int, salt: int = 0) -> np.ndarray:
    """float32 (1, 3, h, w): scene-linear colour from black to white."""
    return (image((1, 3, height, width), salt) * 0.5 + 0.5) ** np.float32(2.2)


def matte(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    inside = np.hypot((x - 0.5 * width) / (0.34 * width), (y - 0.48 * height) / (0.4 * height)) < 1
    return inside[None, None].astype(np.float32)


def inputs() -> dict[str, np.ndarray]:
    face, target, shape = linear(*ODD), linear(*ODD, salt=2), matte(*ODD)
    shown = np.roll(shape, 9, axis=3)
    table = np.tile(np.pad(POINTS.T, ((0, 0), (0, 12)))[None, :, None].astype(np.float32), (1, 1, 110, 1))
    return {
        "FSGAN_MaskCat": face,
        "FSGAN_InpaintCat": np.concatenate([face * shown, shown, shape], axis=1),
        "FSGAN_BlendCat": np.concatenate([face, shape, target], axis=1),
        "FSGAN_ReenactCat": np.concatenate([linear(*SQUARE), linear(*SQUARE, salt=2)], axis=1),
        "FSGAN_ReenactPointsCat": np.concatenate([linear(110, 110), table], axis=1),
    }


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Package]:
    """All nodes, exported by the command line, and their answers in a process of their own."""
    root = tmp_path_factory.mktemp("cattery")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FSGAN_WEIGHTS", str(root / "weights"))
        patch.setenv("FSGAN_CACHE", str(root / "cache"))
        patch.setenv("XDG_DATA_HOME", str(root / "data"))
        patch.delenv("FSGAN_WEIGHTS_ALLOW", raising=False)
        for role in ("mask", "inpaint", "blend", "landmarks"):
            install(root / "weights", role)
        points = install(root / "weights", "reenact")
        assert main(["export", "cattery", "-o", str(root / "nuke"), "--allow", "commercial", "-q"]) == 0
        # Without the landmark network the same weights take a table of landmarks.
        export_cattery(root / "points", {"reenact": choose_weights([str(points)])["reenact"]})
    place = root / "nuke" / "cattery" / "FSGAN"
    (root / "points" / "cattery" / "FSGAN" / "FSGAN_ReenactPointsCat.pt").rename(place / "FSGAN_ReenactPointsCat.pt")
    given = inputs()
    np.savez(root / "in.npz", **given)
    done = subprocess.run(
        [sys.executable, "-c", LOADER, root / "in.npz", place, root / "out.npz"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    yield Package(root / "nuke", given, np.load(root / "out.npz"))


# The Python engine: the eager network with the same encoding, by other code than the nodes'.


def display(rgb: np.ndarray) -> np.ndarray:
    planes = curve.encode_srgb(rgb[0].reshape(3, -1).astype(np.float64))
    return np.clip(planes, 0, 1).reshape(rgb.shape).astype(np.float32)


def decoded(picture: np.ndarray) -> np.ndarray:
    return curve.decode_srgb(picture[0].reshape(3, -1).astype(np.float64)).reshape(picture.shape).astype(np.float32)


def asked(network: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    """Padded to multiples of 32 by the last row and column, and cropped back."""
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (0, -height % 32), (0, -width % 32)), mode="edge").astype(np.float32)
    with torch.inference_mode():
        return network(torch.from_numpy(padded)).numpy()[:, :, :height, :width]


def picture(answer: np.ndarray) -> np.ndarray:
    return np.clip(answer * 0.5 + 0.5, 0, curve.encode_srgb(np.ones((3, 1)))[0, 0])  # not brighter than white


def erosion(shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius = int(10 * max(shape.shape[2:]) / 256 + 0.5)
    soft, hard = erode_softly(shape[0, 0], 2 * radius + 1)
    return soft[None, None], hard[None, None]


class TestAgainstThePythonEngine:
    def close(self, package: Package, name: str, wanted: np.ndarray) -> None:
        answer = package.outputs[name]
        assert answer.shape == (1, 4, *package.inputs[name].shape[2:])
        assert float(wanted.std()) > 0.02, "a picture that says something"
        np.testing.assert_allclose(answer[:, : wanted.shape[1]], wanted, atol=1e-3, rtol=0)

    def test_mask(self, package: Package) -> None:
        x = package.inputs["FSGAN_MaskCat"]
        scores = torch.from_numpy(asked(patterned(ARCHS["mask"]), 2 * display(x) - 1))
        background, face, hair = (one[:, None].numpy() for one in scores.softmax(1).unbind(1))
        np.testing.assert_allclose(
            package.outputs["FSGAN_MaskCat"], np.concatenate([face, hair, background, face], 1), atol=1e-3
        )

    def test_inpaint(self, package: Package) -> None:
        x = package.inputs["FSGAN_InpaintCat"]
        known, hard = x[:, 3:4], erosion(x[:, 4:5])[1]
        given = np.where(known > 0.5, display(x[:, :3]), 0)
        answer = asked(patterned(ARCHS["inpaint"]), np.concatenate([2 * given - 1, hard], 1))
        self.close(package, "FSGAN_InpaintCat", np.concatenate([decoded(picture(answer)), x[:, 4:5]], 1))

    def test_blend(self, package: Package) -> None:
        x = package.inputs["FSGAN_BlendCat"]
        soft, hard = erosion(x[:, 3:4])
        own = display(x[:, 4:7])
        before = display(x[:, :3]) * hard + own * (1 - hard)
        answer = asked(patterned(ARCHS["blend"]), np.concatenate([2 * before - 1, 2 * own - 1, hard], 1))
        blended = decoded(picture(answer))
        self.close(package, "FSGAN_BlendCat", np.concatenate([blended * soft + x[:, 4:7] * (1 - soft), soft], 1))
        outside = soft[0, 0] == 0
        assert outside.any() and np.array_equal(
            package.outputs["FSGAN_BlendCat"][0, :3][:, outside], x[0, 4:7][:, outside]
        )

    def test_reenact_by_landmarks(self, package: Package) -> None:
        x = package.inputs["FSGAN_ReenactPointsCat"]
        seen = np.pad(2 * display(x[:, :3]) - 1, ((0, 0), (0, 0), (0, 18), (0, 18)), mode="edge")
        # The maps go on over the padding: their raster is the crop's.
        maps = draw_heat_maps(POINTS * 110 / 128, 128)
        distance_scale = draw_heat_maps(POINTS, 110)
        np.testing.assert_array_equal(maps.shape[1:], seen.shape[2:])
        maps[:, :110, :110] = distance_scale
        answer = asked(patterned(ARCHS["reenact"]), np.concatenate([seen, maps[None]], 1).astype(np.float32))
        inner = package.outputs["FSGAN_ReenactPointsCat"][:, :3, :60, :60]
        np.testing.assert_allclose(inner, decoded(picture(answer))[:, :, :60, :60], atol=1e-3)
        assert (package.outputs["FSGAN_ReenactPointsCat"][:, 3] == 1).all()

    def test_reenact_by_a_picture(self, package: Package) -> None:
        x = package.inputs["FSGAN_ReenactCat"]
        mean, deviation = (
            np.array(v, np.float32)[None, :, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        points = decode_heat_maps(asked_maps(patterned(ARCHS["landmarks"]), (display(x[:, 3:]) - mean) / deviation))
        maps = draw_heat_maps(points, SQUARE[0])
        answer = asked(patterned(ARCHS["reenact"]), np.concatenate([2 * display(x[:, :3]) - 1, maps[None]], 1))
        self.close(package, "FSGAN_ReenactCat", decoded(picture(answer)))


def asked_maps(network: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(x)).numpy()[0]


class TestFiles:
    def test_what_is_there(self, package: Package) -> None:
        nodes = ["FSGAN_BlendCat", "FSGAN_InpaintCat", "FSGAN_MaskCat", "FSGAN_ReenactCat"]
        names = {path.name for path in package.place.iterdir()} - {"FSGAN_ReenactPointsCat.pt"}
        assert names == {f"{name}{suffix}" for name in nodes for suffix in (".pt", ".gizmo")} | {
            "create_cats.nk",
            "cat.json",
            "weights.json",
        }
        menu = json.loads((package.place / "cat.json").read_text())
        assert isinstance(menu["minimum_nuke_version_required"], float) and menu["version"] == 1
        assert sorted(cat["filepath"] for cat in menu["cats"]) == [f"{name}.gizmo" for name in nodes]
        facts = {one["node"]: one for one in json.loads((package.place / "weights.json").read_text())["nodes"]}
        assert facts["FSGAN_ReenactCat"]["weights"] == ["reenact", "landmarks"]
        assert all(len(sha) == 64 for one in facts.values() for sha in one["sha256"])
        compile((package.folder / "init.py").read_text(), "init.py", "exec")

    def test_knobs_are_attributes(self, package: Package) -> None:
        for node in nuke_files.NODES:
            model = torch.jit.load(package.place / f"{node.name}.pt")
            for knob in node.knobs:
                kind = float if knob.kind == nuke_files.FLOAT else int
                assert type(getattr(model, knob.name)) is kind
            assert set(node.channels_in) <= ALLOWED and set(nuke_files.RGBA) <= ALLOWED
            assert model.resolution == 64

    def test_no_operator_that_an_older_torch_lacks(self, package: Package) -> None:
        for node in nuke_files.NODES:
            model = torch.jit.load(package.place / f"{node.name}.pt")
            used = {name.split("::")[1] for name in torch.jit.export_opnames(model) if name.startswith("aten::")}
            assert used and used <= set(OPERATORS.split()), "try new ones in torch 1.12 first"

    @pytest.mark.parametrize("node", nuke_files.NODES, ids=lambda node: node.name)
    def test_gizmo(self, node: nuke_files.CatNode) -> None:
        nodes = tcl_nodes(nuke_files.make_gizmo(node))
        kinds = [kind for kind, _ in nodes]
        assert kinds[0] == "Gizmo" and kinds[-2:] == ["Inference", "Output"]
        assert kinds.count("Input") == len(node.inputs) == kinds.count("Copy") + 1
        inference = dict(nodes)["Inference"]
        assert f"plugins -all {node.name}.cat" in inference
        for knob in node.knobs:
            assert f"addUserKnob {{{knob.kind} {knob.name} " in dict(nodes)["Gizmo"]
            assert f'{knob.name}:{{"parent.{knob.name}"}};' in inference
        copied = {name for kind, body in nodes if kind == "Copy" for name in re.findall(r"to\d (\S+)", body)}
        assert copied == set(node.channels_in) - set(nuke_files.RGBA)

    def test_script_that_makes_the_cats(self, package: Package) -> None:
        nodes = tcl_nodes((package.place / "create_cats.nk").read_text())
        assert [kind for kind, _ in nodes] == ["CatFileCreator"] * 4
        for _, body in nodes:
            file = re.search(r'torchScriptFile "[^"]*/(\w+\.pt)"', body)
            assert file and (package.place / file[1]).is_file()
            named = re.search(r"channelsIn (\S+)", body)
            model = torch.jit.load(package.place / file[1])
            assert named and model(torch.zeros(1, len(named[1].split(",")), 64, 64)).shape == (1, 4, 64, 64)
            assert re.search(r"^ resolution 64$", body, re.MULTILINE)


def tcl_nodes(text: str) -> list[tuple[str, str]]:
    """(class, body) of every node of a Nuke script, as Tcl reads it."""
    return [(words[0], words[1]) for words in tcl.trace(text) if words[0][0].isupper()]


class TestNodes:
    def test_colour_is_the_codecs(self) -> None:
        node = mask_node()
        node.exposure, node.primaries = 1.5, 1
        rgb = np.concatenate([linear(8, 8) * scale for scale in (1, 8, -0.3, 200)], axis=2)
        codec = open_config("").make_codec("ACEScg", 1.5).without_shoulder()
        wanted = np.moveaxis(codec.encode(np.moveaxis(rgb[0], 0, -1)), -1, 0)[None]
        made = node.to_display(torch.from_numpy(rgb))
        np.testing.assert_allclose(made.numpy(), wanted, rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(node.to_scene_linear(made).numpy(), rgb, rtol=2e-3, atol=1e-4)

    def test_values_that_are_none(self) -> None:
        x = torch.full((1, 3, 32, 32), float("nan"))
        x[..., 8:], x[..., 16:] = float("inf"), -float("inf")
        assert torch.isfinite(mask_node()(x)).all()

    def test_classes(self) -> None:
        node = mask_node()
        x = torch.from_numpy(linear(40, 50))
        shares = node(x)
        torch.testing.assert_close(shares[:, :3].sum(1), torch.ones(1, 40, 50))
        node.hard = 1
        assert set(node(x).unique().tolist()) == {0.0, 1.0}
        assert torch.equal(node(x)[:, :3].argmax(1), shares[:, :3].argmax(1))

    def test_works_at_its_resolution(self) -> None:
        node = mask_node(32)
        assert node.choose_working_size(100, 50) == [32, 16] and node.choose_working_size(20, 10) == [32, 16]
        node.resolution = 0
        assert node.choose_working_size(100, 50) == [100, 50]

    @pytest.mark.parametrize("size", [(33, 64), (200, 61), (1, 1)])
    def test_any_size(self, size: tuple[int, int]) -> None:
        for node, channels in ((mask_node(), 3), (blend_node(), 7)):
            answer = node(torch.zeros(1, channels, *size))
            assert answer.shape == (1, 4, *size) and torch.isfinite(answer).all()

    def test_pictures_of_a_batch_do_not_see_each_other(self) -> None:
        node = blend_node(64)
        one = np.concatenate([linear(64, 64), matte(64, 64), linear(64, 64, 2)], 1)
        other = np.concatenate([linear(64, 64) * 9, np.roll(matte(64, 64), 20, 2), linear(64, 64, 5)], 1)
        both = node(torch.from_numpy(np.concatenate([one, other])))
        torch.testing.assert_close(both[:1], node(torch.from_numpy(one)), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(both[1:], node(torch.from_numpy(other)), atol=1e-4, rtol=1e-4)

    def test_half(self) -> None:
        for node, x in (
            (mask_node(32), linear(40, 40)),
            (blend_node(32), np.concatenate([linear(40, 40), matte(40, 40), linear(40, 40, 2)], 1)),
        ):
            whole = node(torch.from_numpy(x))
            half = node.half()(torch.from_numpy(x).half())
            assert half.dtype == torch.float16 and half.is_contiguous()
            assert float((half.float() - whole).abs().max()) < 0.03

    def test_tensors_are_made_where_the_picture_is(self) -> None:
        for name, channels, landmarker in (
            ("mask", 3, False),
            ("inpaint", 5, False),
            ("blend", 7, False),
            ("reenact68", 5, False),
            ("reenact", 6, True),
        ):
            node = made(name, landmarker=landmarker).to("meta")
            answer = node(torch.zeros(1, channels, 70, 70, device="meta"))
            assert answer.is_meta and answer.shape == (1, 4, 70, 70)

    @pytest.mark.parametrize("kind", ["patch", "blur"])
    def test_version_1(self, kind: str, tmp_path: Path) -> None:
        """A network of version 1 is exported with the landmark maps that it was trained on."""
        info = WeightsInfo("v1", "reenact", arch=VERSION_1, landmarks=68, resolution=64, heat_maps=kind)
        node = wrap_network("reenact", patterned(VERSION_1), InstalledWeights(info, tmp_path, ""))
        save_torchscript(node, tmp_path / "v1.pt")
        loaded = torch.jit.load(tmp_path / "v1.pt")
        points = POINTS[:68]
        maps = loaded.draw_heat_maps(torch.from_numpy(points * 128).float()[None], 128.0, 128, 128)
        np.testing.assert_allclose(maps[0], draw_pyramid_maps(points, 128, kind)[0], atol=1e-6)
        assert loaded(torch.rand(1, 5, 96, 96)).shape == (1, 4, 96, 96)

    def test_two_heads_say_where_the_face_is(self) -> None:
        class Heads(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                return x, torch.tensor([[0.1, 0.9], [0.4, 0.5], [0.2, 0.3]])[None, :, None]

        x = torch.rand(1, 3, 1, 2)
        assert torch.equal(SegmentingGenerator(Heads())(x), torch.cat([x, torch.tensor([[[[1.0, 0.0]]]])], 1))


def made(name: str, resolution: int = 64, *, landmarker: bool = False) -> torch.nn.Module:
    role = name.rstrip("0123456789")
    points = {"reenact": 98, "reenact68": 68}.get(name, 0)
    installed = InstalledWeights(WeightsInfo(name, role, landmarks=points, resolution=resolution), Path(name), "")
    return wrap_network(role, patterned(ARCHS[name]), installed, patterned(ARCHS["landmarks"]) if landmarker else None)


def mask_node(resolution: int = 64) -> MaskNode:
    node = made("mask", resolution)
    assert isinstance(node, MaskNode)
    return node


def blend_node(resolution: int = 64) -> BlendNode:
    node = made("blend", resolution)
    assert isinstance(node, BlendNode)
    return node


class TestChoice:
    def test_nothing_there(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["export", "cattery", "-o", str(tmp_path / "nuke")]) == 2
        assert "fsgan weights" in capsys.readouterr().err
        assert not (tmp_path / "nuke").exists()

    def test_named_alone(self, own_folders: Path) -> None:
        install(own_folders, "blend")
        path = install(own_folders, "mask")
        assert list(choose_weights()) == ["mask", "blend"]
        assert list(choose_weights(["blend"])) == ["blend"]
        assert list(choose_weights([str(path)])) == ["mask"]

    def test_refusals(self, own_folders: Path) -> None:
        install(own_folders, "blend", licence="unknown")
        install(own_folders, "landmarks")
        with pytest.raises(WeightsError, match="commercial"):
            choose_weights(["blend"], "commercial")
        with pytest.raises(WeightsError, match="both for blend"):
            choose_weights(["blend", str(own_folders / "blend.safetensors")])
        with pytest.raises(WeightsError, match="no weights for reenact"):
            choose_weights(["landmarks"])
        with pytest.raises(WeightsError, match="not on this machine"):
            choose_weights(["mine"])

    def test_weights_that_are_no_network_for_it(self, own_folders: Path, tmp_path: Path) -> None:
        install(own_folders, "blend", arch=ARCHS["inpaint"])
        with pytest.raises(WeightsError, match="not a network for blend that takes 7 channels"):
            export_cattery(tmp_path / "nuke", choose_weights(["blend"]))

    def test_network_that_cannot_go_is_skipped_by_name(
        self, own_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        install(own_folders, "mask")
        install(own_folders, "blend", arch=ARCHS["inpaint"])
        assert main(["export", "cattery", "-o", str(tmp_path / "nuke")]) == 0
        said = capsys.readouterr()
        assert said.out.startswith("FSGAN_MaskCat: mask ") and "FSGAN_Blend" not in said.out
        assert "warning: skipped: weights blend (" in said.err
        assert not list((tmp_path / "nuke").rglob("FSGAN_Blend*"))
        assert main(["export", "cattery", "-o", str(tmp_path / "named"), "--network", "blend"]) == 2

    def test_retouching_network_is_refused_with_the_reason(self, own_folders: Path) -> None:
        install(own_folders, "reenact", arch="retouch.RetouchUNet(in_nc=71,ngf=4,levels=2,max_nc=8)")
        installed = choose_weights(["reenact"])["reenact"]
        with pytest.raises(WeightsError, match="reenact retouch a view that is already warped"):
            wrap_network("reenact", load_network(installed.path), installed)


def test_tables_of_landmarks_from_a_track(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("landmark_tables", EXAMPLES / "landmark_tables.py")
    assert spec is not None and spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    faces = {7: make_face(7, head(10.0, 5.0), 1.0)}
    person = Person(0, faces, faces, np.zeros(128))
    save_track(tmp_path / "t.json", Track("clip", (7,), 800, 600, 1.0, 0.0, (person,), "none", "none"))
    tables.main([str(tmp_path / "t.json"), str(tmp_path / "lms.####.exr"), "--points", "68", "--rows", "90"])
    table = read_image(tmp_path / "lms.0007.exr")
    assert table.channels == ("forward.u", "forward.v") and table.pixels.shape == (90, 68, 2)
    frame, left, bottom, width, height = map(float, capsys.readouterr().out.split())
    # What the network is told, on the plate: pixel edges, from the upper left.
    placed = table.pixels[45].astype(np.float64) * (width, height) + (left, 600 - bottom - height)
    assert frame == 7
    np.testing.assert_allclose(placed, faces[7].landmarks + 0.5, atol=0.01)
