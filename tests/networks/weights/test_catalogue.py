"""Which weights are known and found, and which may be used."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsgan_core.cli import main
from fsgan_core.contract.errors import WeightsError
from fsgan_core.contract.licences import ALLOWED_LICENCES, LICENCE_CLASSES, is_allowed
from fsgan_core.networks import parse_architecture
from fsgan_core.networks.weights import catalogue as module
from fsgan_core.networks.weights import digests
from fsgan_core.networks.weights.catalogue import (
    AUTO_ROLES,
    ROLES,
    WeightsInfo,
    load_catalogue,
    make_weights_metadata,
)
from fsgan_core.networks.weights.checkpoint import write_checkpoint
from fsgan_core.networks.weights.installed import (
    find_best_weights,
    find_packaged_weights,
    find_weights,
    list_broken_weights,
    list_installed_weights,
    list_present_weights,
)
from fsgan_core.networks.weights.search_folders import find_user_folder, list_search_folders
from tests.networks.conftest import SMALL, small_state

REENACT = "nfv_msrunet_256_1_2_reenactment_v2.1"
INPAINT = "ijbc_msrunet_256_1_2_inpainting_v2"
INPAINT_V1 = "ijbc_msrunet_256_2_0_inpainting_v1"
ANALYSIS = ("mediapipe_", "dlib_")  # first parts of the names of face analysis networks


def put(folder: Path, name: str = INPAINT, *, record: bool = True, **changes: object) -> Path:
    """Weights on this machine, as an import leaves them."""
    known = load_catalogue().get(name) or WeightsInfo(name, "inpaint", arch=SMALL, resolution=128)
    weight = dataclasses.replace(known, **changes)  # type: ignore[arg-type]
    path = folder / f"{name}.safetensors"
    write_checkpoint(path, SMALL, small_state(), make_weights_metadata(weight))
    if record:
        digests.record_digest(path)
    return path


class TestReadFacts:
    def test_reads_a_file_once_until_it_changes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = put(tmp_path, name="own", note="first")
        read: list[Path] = []
        header = module.read_safetensors_header
        monkeypatch.setattr(module, "read_safetensors_header", lambda path: (read.append(path), header(path))[1])
        assert [module.read_weights_info(path).note for _ in range(3)] == ["first"] * 3
        assert read == [path]
        put(tmp_path, name="own", note="second")
        assert module.read_weights_info(path).note == "second"
        path.unlink()
        with pytest.raises(WeightsError):
            module.read_weights_info(path)


def cut(path: Path) -> Path:
    """As a copy that did not end leaves it."""
    path.write_bytes(path.read_bytes()[:-100])
    return path


class TestCatalogue:
    def test_every_published_name(self) -> None:
        published = {
            REENACT,
            INPAINT,
            "ijbc_msrunet_256_1_2_blending_v2",
            "celeba_unet_256_1_2_segmentation_v2",
            "hr18_wflw_landmarks",
            "hopenet_robust_alpha1",
            "vggface2_vgg19_256_1_2_id",
            "celeba_vgg19_256_2_0_28_attr",
            "WIDERFace_DSFD_RES152",
            "ijbc_msrunet_256_2_0_reenactment_v1",
            "ijbc_msrunet_256_1_2_reenactment_stepwise_v1",
            INPAINT_V1,
            "ijbc_msrunet_256_2_0_blending_v1",
            "lfw_figaro_unet_256_2_0_segmentation_v1",
        }
        assert published <= set(load_catalogue())

    @pytest.mark.parametrize("weight", load_catalogue().values(), ids=lambda weight: weight.name)
    def test_entry(self, weight: WeightsInfo) -> None:
        assert weight.file == f"{weight.name}.{'pth' if weight.source else 'safetensors'}" and weight.note
        assert weight.source.startswith("https://") or weight.name.startswith(("small_", *ANALYSIS))
        if weight.name.startswith(ANALYSIS):
            assert weight.licence == "commercial" and not weight.default
            parse_architecture(weight.arch)
            return
        assert weight.licence != "commercial", "of no published file is that known"
        crop = "2.0" if "_2_0_" in weight.name else "1.2"
        assert weight.crop == float(crop)
        if weight.role == "detector":
            assert weight.arch == "" and not weight.default
            return
        arguments = parse_architecture(weight.arch).arguments
        if weight.role == "reenact":
            assert arguments["in_nc"] == 3 + weight.landmarks
        elif weight.role in ("inpaint", "blend"):
            assert arguments["in_nc"] == {"inpaint": 4, "blend": 7}[weight.role] and weight.landmarks == 0

    def test_one_default_for_each_use(self) -> None:
        """And none for what nothing takes unasked: poses come from the landmarks, fine-tuning judges identity alone."""
        defaults = [weight.role for weight in load_catalogue().values() if weight.default and weight.source]
        assert sorted(defaults) == sorted({*AUTO_ROLES, "identity"})
        assert set(AUTO_ROLES) < set(ROLES)

    def test_packaged(self, packaged_weights: None, own_folders: Path) -> None:
        """What the list says of ours is what lies in the package, whole; none is a default, since none has won."""
        package = Path(module.__file__).parent
        ours = [weight for weight in load_catalogue().values() if not weight.source]
        assert {weight.name for weight in ours} == {path.stem for path in package.glob("*.safetensors")}
        for weight in ours:
            path = package / weight.file
            assert dataclasses.replace(module.read_weights_info(path), size=0) == weight
            assert digests.read_recorded_digest(path) == digests.digest_weights_file(path)
        assert sum((package / weight.file).stat().st_size for weight in ours) <= 50e6
        for weight in ours:
            assert not weight.default and find_best_weights(weight.role) is None
            if weight.name.startswith(ANALYSIS):
                found = find_packaged_weights(weight.name, allow="commercial")
                assert (found.info.name, found.path) == (weight.name, package / weight.file)
                continue
            assert find_weights(weight.role).info.name == weight.name, "where its engine is asked for"
            with pytest.raises(WeightsError, match="allows only commercial"):
                find_weights(weight.role, allow="commercial")

    def test_analysis_networks_are_always_there(self, own_folders: Path) -> None:
        """FSGAN_WEIGHTS_PACKAGED=0, as in these tests, and a file of the same name elsewhere change nothing."""
        put(own_folders, "mediapipe_palm", licence="research")
        assert find_packaged_weights("mediapipe_palm", "commercial").path.parent == Path(module.__file__).parent
        with pytest.raises(WeightsError, match="reinstall fsgan"):
            find_packaged_weights("none")

    def test_v2_before_v1(self) -> None:
        names = list(load_catalogue())
        assert names.index(INPAINT) < names.index(INPAINT_V1)

    @pytest.mark.parametrize(
        ("name", "value"), [("role", "swap"), ("licence", "mine"), ("landmarks", 5), ("crop", 9.0), ("resolution", 0)]
    )
    def test_refuses(self, name: str, value: object) -> None:
        with pytest.raises(WeightsError):
            WeightsInfo(**{"name": "x", "role": "mask", name: value})  # type: ignore[arg-type]

    def test_needs_no_torch(self) -> None:
        script = (
            "import sys, fsgan_core.networks.weights.installed as c; c.list_present_weights(); "
            "c.find_best_weights('mask'); "
            "assert 'torch' not in sys.modules and 'requests' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3])


class TestSearch:
    def test_order(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packaged_weights: None) -> None:
        monkeypatch.setenv("FSGAN_WEIGHTS", f"{tmp_path / 'a'}:{tmp_path / 'b'}:".replace(":", os.pathsep))
        package = Path(module.__file__).parent
        assert list_search_folders() == (tmp_path / "a", tmp_path / "b", find_user_folder(), package)
        monkeypatch.delenv("FSGAN_WEIGHTS")
        assert list_search_folders() == (find_user_folder(), package)
        monkeypatch.setenv("FSGAN_WEIGHTS_PACKAGED", "0")
        assert list_search_folders() == (find_user_folder(),)

    def test_first_of_two_with_one_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(tmp_path / "a", note="studio")
        put(tmp_path / "b", note="old")
        monkeypatch.setenv("FSGAN_WEIGHTS", f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
        (found,) = list_installed_weights("inpaint")
        assert found.path.parent == tmp_path / "a" and found.info.note == "studio"

    def test_user_folder_is_looked_at(self) -> None:
        put(find_user_folder())
        assert [one.info.name for one in list_installed_weights()] == [INPAINT]

    def test_best_first(self, own_folders: Path) -> None:
        for name in ("zz_own", INPAINT_V1, INPAINT):
            put(own_folders, name)
        put(own_folders, "aa_own", default=True)
        assert [weight.name for weight, _ in list_present_weights("inpaint")] == [
            INPAINT,
            "aa_own",
            INPAINT_V1,
            "zz_own",
        ]
        assert list_present_weights("mask") == ()

    def test_says_what_the_file_says(self, own_folders: Path) -> None:
        path = put(own_folders, "anna", licence="commercial", prewarp=True, crop=2.0, note="ours")
        (found,) = list_installed_weights()
        assert found.info == WeightsInfo(
            "anna",
            "inpaint",
            arch=SMALL,
            crop=2.0,
            licence="commercial",
            note="ours",
            prewarp=True,
            resolution=128,
            size=path.stat().st_size,
        )

    def test_named_like_a_published_one(self, own_folders: Path) -> None:
        """A file without our metadata is what its name says."""
        write_checkpoint(own_folders / f"{INPAINT}.safetensors", SMALL, small_state())
        (found,) = list_installed_weights()
        assert (found.info.name, found.info.arch, found.info.default) == (INPAINT, SMALL, True)

    def test_foreign_files_are_left_out(self, own_folders: Path, caplog: pytest.LogCaptureFixture) -> None:
        write_checkpoint(own_folders / "foreign.safetensors", "", small_state())
        write_checkpoint(own_folders / "wrong.safetensors", SMALL, small_state(), {"role": "mask", "crop": "wide"})
        write_checkpoint(own_folders / "odd.safetensors", SMALL, small_state(), {"role": "mask", "default": "yes"})
        (own_folders / ".hidden.safetensors").write_bytes(b"x")
        (own_folders / "readme.txt").write_text("x")
        assert list_installed_weights() == ()
        assert all(name in caplog.text for name in ("foreign", "wrong", "odd")) and "hidden" not in caplog.text

    def test_a_folder_that_is_a_file(self, own_folders: Path, caplog: pytest.LogCaptureFixture) -> None:
        own_folders.write_text("x")
        assert list_installed_weights() == () and str(own_folders) in caplog.text


class TestBroken:
    """A file that is cut off keeps its place: no machine silently takes something else."""

    @pytest.fixture
    def two(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
        """The studio's folder and another behind it."""
        monkeypatch.setenv("FSGAN_WEIGHTS", f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
        return tmp_path / "a", tmp_path / "b"

    @pytest.mark.parametrize("name", [INPAINT, "ours"])
    def test_hides_what_is_behind_it(self, two: tuple[Path, Path], name: str) -> None:
        path = cut(put(two[0], name, default=True))
        put(two[1], name, default=True)
        put(two[1], INPAINT_V1)
        for act in (
            lambda: find_best_weights("inpaint"),
            lambda: find_weights("inpaint"),
            lambda: find_weights("inpaint", name),
            lambda: list_installed_weights("inpaint"),
            lambda: list_installed_weights(),
        ):
            with pytest.raises(WeightsError, match="no other weights are used in its place") as caught:
                act()
            assert str(path) in str(caught.value)
        assert [weight.name for weight, _ in list_present_weights()] == [INPAINT_V1]
        assert find_weights("inpaint", INPAINT_V1).info.name == INPAINT_V1

    def test_of_a_published_name(self, own_folders: Path) -> None:
        """Elsewhere the file is whole and 'auto' takes it."""
        path = cut(put(own_folders))
        with pytest.raises(WeightsError, match="copy, import or fetch it again"):
            find_best_weights("inpaint")
        assert find_best_weights("mask") is None
        assert [found for found, _ in list_broken_weights()] == [path]

    @pytest.mark.parametrize(
        "header",
        [
            b"",
            b'{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,4]}}',
            b'{"__metadata__":{"role":"mask","arch":"unet("}}',
            b'{"__metadata__":{"role":"mask","arch":"os.system(\\"x\\")"}}',
            b'{"__metadata__":{"role":"mask","arch":"simple_unet.UNet()","crop":"1e999"}}',
            b'{"__metadata__":{"role":"mask","arch":"simple_unet.UNet()","landmarks":"' + b"9" * 5000 + b'"}}',
            b'{"__metadata__":{"role":"\xff\xfe","arch":"x"}}',
            b'{"__metadata__":' + b"[" * 10_000,
        ],
        ids=range(8),
    )
    def test_is_listed_as_broken_and_the_others_work(
        self, own_folders: Path, header: bytes, capsys: pytest.CaptureFixture[str]
    ) -> None:
        put(own_folders)
        path = own_folders / "odd.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
        assert [found for found, _ in list_broken_weights()] == [path]
        assert len(list_installed_weights()) == len(list_present_weights()) == 1
        assert find_best_weights("inpaint") is not None and find_best_weights("mask") is None
        assert main(["weights", "list"]) == 0
        assert f"not usable: {path}" in capsys.readouterr().out

    def test_behind_a_sound_one(self, two: tuple[Path, Path]) -> None:
        put(two[0])
        path = cut(put(two[1]))
        assert find_best_weights("inpaint").path.parent == two[0]  # type: ignore[union-attr]
        assert [found for found, _ in list_broken_weights()] == [path]

    def test_of_nobody(self, own_folders: Path) -> None:
        put(own_folders)
        (own_folders / "other.safetensors").write_bytes(b"x")
        assert [one.info.name for one in list_installed_weights()] == [INPAINT]
        with pytest.raises(WeightsError, match=r"other\.safetensors"):
            find_weights("inpaint", "other")

    def test_is_said_once(self, own_folders: Path, caplog: pytest.LogCaptureFixture) -> None:
        cut(put(own_folders))
        list_present_weights()
        list_present_weights("mask")
        assert list_broken_weights()
        assert caplog.text.count("weights are not listed") == 1


class TestDigest:
    def test_is_the_files(self, own_folders: Path) -> None:
        import hashlib

        path = put(own_folders)
        (found,) = list_installed_weights()
        assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        text = digests.make_record_path(path).read_text()
        assert text == f"{found.sha256}  {path.name}\n", "the form of sha256sum"

    def test_is_kept(self, own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = put(own_folders)
        first = digests.digest_weights_file(path)
        monkeypatch.setattr(digests, "_known_digests", {})  # another process
        monkeypatch.setattr(digests.hashlib, "file_digest", None)
        assert digests.digest_weights_file(path) == first

    def test_a_changed_file_is_read_again(self, own_folders: Path) -> None:
        path = put(own_folders, record=False)
        first = digests.digest_weights_file(path)
        put(own_folders, note="other", record=False)
        assert digests.digest_weights_file(path) != first

    @pytest.mark.parametrize(
        "act", [lambda: list_installed_weights(), lambda: find_weights("inpaint"), lambda: find_best_weights("inpaint")]
    )
    def test_a_changed_file_is_refused(self, own_folders: Path, act: object) -> None:
        path = put(own_folders)
        put(own_folders, note="other", record=False)
        with pytest.raises(WeightsError, match="changed since it was imported") as caught:
            act()  # type: ignore[operator]
        assert str(path) in str(caught.value)

    def test_without_a_record(self, own_folders: Path) -> None:
        put(own_folders, record=False)
        assert len(list_installed_weights()) == 1

    def test_without_a_cache(self, own_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(own_folders)
        (tmp_path / "file").write_text("x")
        monkeypatch.setenv("FSGAN_CACHE", str(tmp_path / "file"))
        monkeypatch.setattr(digests, "_known_digests", {})
        assert len(list_installed_weights()) == 1

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"x": 1}', '{"x": [1]}'])
    def test_with_a_broken_cache(
        self, own_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        put(own_folders)
        (tmp_path / "cache").mkdir(exist_ok=True)
        (tmp_path / "cache" / "weights.digests").write_text(text)
        monkeypatch.setattr(digests, "_known_digests", {})
        assert len(list_installed_weights()) == 1


class TestLicence:
    @pytest.mark.parametrize(
        ("allow", "classes"),
        [
            ("any", {"commercial", "non-commercial", "research", "unknown"}),
            ("research", {"commercial", "non-commercial", "research"}),
            ("non-commercial", {"commercial", "non-commercial"}),
            ("commercial", {"commercial"}),
        ],
    )
    def test_levels(self, allow: str, classes: set[str]) -> None:
        assert {licence for licence in LICENCE_CLASSES if is_allowed(licence, allow)} == classes

    @pytest.mark.parametrize("setting", ALLOWED_LICENCES)
    @pytest.mark.parametrize("studio", ALLOWED_LICENCES)
    def test_the_stricter_wins(self, monkeypatch: pytest.MonkeyPatch, setting: str, studio: str) -> None:
        def classes(allow: str) -> set[str]:
            return {licence for licence in LICENCE_CLASSES if is_allowed(licence, allow)}

        alone = {allow: classes(allow) for allow in ALLOWED_LICENCES}
        monkeypatch.setenv("FSGAN_WEIGHTS_ALLOW", studio)
        assert classes(setting) == alone[setting] & alone[studio]

    def test_refusal_says_all(self, own_folders: Path) -> None:
        path = put(own_folders)
        with pytest.raises(WeightsError) as caught:
            find_weights("inpaint", allow="commercial")
        said = str(caught.value)
        assert all(
            part in said
            for part in (str(path), INPAINT, "'unknown'", "weights.allow = commercial", f"fsgan weights info {INPAINT}")
        )

    def test_refusal_by_the_studio(self, own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(own_folders)
        monkeypatch.setenv("FSGAN_WEIGHTS_ALLOW", "research")
        with pytest.raises(WeightsError, match="FSGAN_WEIGHTS_ALLOW = research"):
            find_weights("inpaint", INPAINT)
        assert find_best_weights("inpaint") is None

    def test_takes_what_is_allowed(self, own_folders: Path) -> None:
        put(own_folders)
        put(own_folders, "ours", licence="commercial", default=True)
        assert find_best_weights("inpaint").info.name == INPAINT  # type: ignore[union-attr]
        assert find_best_weights("inpaint", "commercial").info.name == "ours"  # type: ignore[union-attr]
        assert find_weights("inpaint", allow="commercial").info.name == "ours"

    def test_unknown_words(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(WeightsError, match="comercial"):
            is_allowed("unknown", "comercial")
        monkeypatch.setenv("FSGAN_WEIGHTS_ALLOW", "comercial")
        with pytest.raises(WeightsError, match="FSGAN_WEIGHTS_ALLOW"):
            is_allowed("unknown")


class TestFind:
    def test_auto_takes_defaults_alone(self, own_folders: Path) -> None:
        put(own_folders, INPAINT_V1)
        assert find_best_weights("inpaint") is None
        assert find_weights("inpaint").info.name == INPAINT_V1, "asked for by engine, the best that is there"

    def test_by_name_and_by_path(self, own_folders: Path, tmp_path: Path) -> None:
        path = put(own_folders)
        elsewhere = put(tmp_path / "shot", "anna")
        assert find_weights("inpaint", INPAINT).path == path
        assert find_weights("inpaint", str(elsewhere)).info.name == "anna"
        with pytest.raises(WeightsError, match="anna are not on this machine"):
            find_weights("inpaint", "anna")

    @pytest.mark.parametrize("role", ["reenact", "mask", "landmarks", "pose"])
    def test_none_there(self, role: str) -> None:
        with pytest.raises(WeightsError) as caught:
            find_weights(role)
        default = next(
            weight.name
            for weight in load_catalogue().values()
            if weight.role == role and (weight.default or role == "pose")
        )
        assert "fsgan weights import" in str(caught.value) and f"fsgan weights fetch {default}" in str(caught.value)

    def test_for_another_stage(self, own_folders: Path) -> None:
        put(own_folders)
        with pytest.raises(WeightsError, match="are for inpaint, not for blend"):
            find_weights("blend", INPAINT)

    def test_published_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.pth").write_bytes(b"x")
        with pytest.raises(WeightsError, match="fsgan weights import"):
            find_weights("blend", str(tmp_path / "a.pth"))
        with pytest.raises(WeightsError, match="no such file"):
            find_weights("blend", str(tmp_path / "b.pth"))
