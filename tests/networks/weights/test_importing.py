"""A studio's folder of published files: each is recognised by its content, converted, and found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from fsgan_core.contract.errors import OutputError, WeightsError
from fsgan_core.networks.architectures.build import build_network
from fsgan_core.networks.weights.catalogue import load_catalogue
from fsgan_core.networks.weights.checkpoint import (
    Checkpoint,
    export_checkpoint,
    load_network,
    read_checkpoint,
    write_checkpoint,
)
from fsgan_core.networks.weights.digests import make_record_path, read_recorded_digest
from fsgan_core.networks.weights.importing import (
    find_weights_files,
    find_writable_folder,
    import_all_weights,
    import_weights,
)
from fsgan_core.networks.weights.installed import find_weights, list_installed_weights
from fsgan_core.networks.weights.recognise import recognise_weights
from tests.networks.conftest import SMALL, blank_state, publish, small_state

INPAINT = "ijbc_msrunet_256_1_2_inpainting_v2"
STEPWISE = "ijbc_msrunet_256_1_2_reenactment_stepwise_v1"
VGG = "vggface2_vgg19_256_1_2_id"


def narrow(arch: str) -> str:
    """The same kind of network, small enough for a test."""
    thin = arch.replace("ngf=128", "ngf=1,max_nc=4")
    return thin.replace("num_classes=3)", "num_classes=3,feature_scale=64)").replace(
        "feature_scale=1)", "feature_scale=64)"
    )


GENERATORS = [
    weight
    for weight in load_catalogue().values()
    if weight.source and weight.role in ("reenact", "mask", "inpaint", "blend")
]


class TestVersion1:
    def test_the_same_string_with_another_layout(self, own_folders: Path, tmp_path: Path) -> None:
        """Both versions carry one string; the tensors tell them apart, and an export carries that string again."""
        done = import_weights(publish(tmp_path / "ours_v1.pth", f"{SMALL[:-1]},version=1)"), own_folders)
        assert done.state == "imported" and done.info is not None and done.path is not None
        assert (done.info.role, done.info.version) == ("inpaint", 1)
        assert import_weights(publish(tmp_path / "ours_v2.pth", SMALL), own_folders).info.version == 2  # type: ignore[union-attr]
        export_checkpoint(done.path, tmp_path / "again.pth")
        assert torch.load(tmp_path / "again.pth", weights_only=True)["arch"] == SMALL
        state, original = read_checkpoint(tmp_path / "again.pth"), read_checkpoint(done.path)
        assert state.arch == original.arch == f"{SMALL[:-1]},version=1)"
        assert all(torch.equal(state.state[name], tensor) for name, tensor in original.state.items())
        with torch.inference_mode():
            assert load_network(tmp_path / "again.pth")(torch.zeros(1, 4, 32, 32)).shape == (1, 3, 32, 32)

    def test_another_layout_under_a_published_name(self, own_folders: Path, tmp_path: Path) -> None:
        file = publish(tmp_path / "ijbc_msrunet_256_2_0_inpainting_v1.pth", SMALL)
        done = import_weights(file, own_folders)
        assert done.state == "refused" and "this is not ijbc_msrunet_256_2_0_inpainting_v1" in done.message


class TestRecognise:
    @pytest.mark.parametrize("weight", GENERATORS, ids=lambda weight: weight.name)
    def test_published(self, own_folders: Path, tmp_path: Path, weight: object) -> None:
        legacy = "v1" in weight.name  # type: ignore[attr-defined]
        file = publish(tmp_path / weight.file, narrow(weight.arch), legacy=legacy)  # type: ignore[attr-defined]
        done = import_weights(file, own_folders)
        assert done.state == "imported", done.message
        found = find_weights(weight.role, weight.name)  # type: ignore[attr-defined]
        assert (found.path, found.sha256) == (done.path, done.sha256)
        for name in ("name", "role", "landmarks", "crop", "licence", "default", "source"):
            assert getattr(found.info, name) == getattr(weight, name)
        assert found.info.arch == narrow(weight.arch), "what the file says"  # type: ignore[attr-defined]
        original = read_checkpoint(file).state
        state = load_network(found.path).state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in original.items())

    @pytest.mark.parametrize("name", ["hopenet_robust_alpha1.pth", "hopenet_robust_alpha1.pkl"])
    def test_without_an_architecture(self, name: str) -> None:
        """As the pose network is published."""
        weight, _ = recognise_weights(Checkpoint("", blank_state("hopenet.Hopenet()")), Path(name))
        assert weight == load_catalogue()["hopenet_robust_alpha1"]

    @pytest.mark.parametrize("arch", ["", "vgg.vgg19(num_classes=7)"])
    def test_classifier_is_left_behind(self, arch: str) -> None:
        features = blank_state("vgg.vgg19_features()")
        whole = {f"features.{name}": tensor for name, tensor in features.items()}
        whole |= {"classifier.6.weight": torch.zeros(7, 5), "classifier.6.bias": torch.zeros(7)}
        weight, state = recognise_weights(Checkpoint(arch, whole), Path(f"{VGG}.pth"))
        assert weight == load_catalogue()[VGG] and weight.role == "identity"
        assert state.keys() == features.keys()

    def test_built_alike_under_no_name(self) -> None:
        """The networks of the losses differ in their numbers alone."""
        checkpoint = Checkpoint("", blank_state("vgg.vgg19_features()"))
        with pytest.raises(WeightsError, match="--name") as caught:
            recognise_weights(checkpoint, Path("vgg.pth"))
        assert VGG in str(caught.value)
        assert recognise_weights(checkpoint, Path("vgg.pth"), VGG)[0] == load_catalogue()[VGG]

    def test_own_training_is_not_taken_for_the_published_one(self, own_folders: Path, tmp_path: Path) -> None:
        done = import_weights(publish(tmp_path / "ours_256_2_0.pth", SMALL), own_folders)
        assert done.info is not None
        assert (done.info.name, done.info.role, done.info.crop, done.info.licence, done.info.default) == (
            "ours_256_2_0",
            "inpaint",
            2.0,
            "unknown",
            False,
        )

    @pytest.mark.parametrize("name", [f"{INPAINT} (1).pth", f"{INPAINT}(2).pth", f"{INPAINT}.pth.tar"])
    def test_what_browsers_add(self, own_folders: Path, tmp_path: Path, name: str) -> None:
        assert import_weights(publish(tmp_path / name), own_folders).info.name == INPAINT  # type: ignore[union-attr]

    def test_content_wins_over_name(self, own_folders: Path, tmp_path: Path) -> None:
        """An inpainting network is no blending one, whatever its file is called or somebody says."""
        blending = "ijbc_msrunet_256_1_2_blending_v2"
        file = publish(tmp_path / f"{blending}.pth", SMALL)
        for done in (
            import_weights(file, own_folders),
            import_weights(publish(tmp_path / "x.pth"), own_folders, name=blending),
        ):
            assert done.state == "refused" and f"this is not {blending}" in done.message
        assert import_weights(file, own_folders, name="ours").info.role == "inpaint"  # type: ignore[union-attr]

    def test_the_detector(self, own_folders: Path, tmp_path: Path) -> None:
        torch.save({"a": torch.zeros(1)}, tmp_path / "WIDERFace_DSFD_RES152.pth")
        done = import_weights(tmp_path / "WIDERFace_DSFD_RES152.pth", own_folders)
        assert done.state == "unused" and "Not used" in done.message

    def test_a_network_without_use(self, own_folders: Path, tmp_path: Path) -> None:
        arch = "discriminators_pix2pix.MultiscaleDiscriminator(ndf=2,num_D=1)"
        done = import_weights(publish(tmp_path / "d.pth", arch), own_folders)
        assert done.state == "refused" and "no stage uses" in done.message
        torch.save({"a": torch.zeros(1)}, tmp_path / "x.pth")
        assert "no known network" in import_weights(tmp_path / "x.pth", own_folders).message


class TestBringIn:
    def test_again_changes_nothing(self, own_folders: Path, tmp_path: Path) -> None:
        file = publish(tmp_path / f"{INPAINT}.pth")
        first = import_weights(file, own_folders)
        assert first.path is not None
        before = {path.name: path.stat().st_mtime_ns for path in own_folders.iterdir()}
        again = import_weights(file, own_folders)
        assert (again.state, again.path, again.sha256) == ("kept", first.path, first.sha256)
        assert {path.name: path.stat().st_mtime_ns for path in own_folders.iterdir()} == before
        assert sorted(before) == [first.path.name, make_record_path(first.path).name]

    def test_same_file_on_two_machines(self, own_folders: Path, tmp_path: Path) -> None:
        file = publish(tmp_path / f"{INPAINT}.pth")
        elsewhere = tmp_path / "else" / f"{INPAINT}.pth"
        elsewhere.parent.mkdir()
        shutil.copy(file, elsewhere)
        assert import_weights(file, own_folders).sha256 == import_weights(elsewhere, tmp_path / "else" / "out").sha256

    def test_licence_of_the_studio(self, own_folders: Path, tmp_path: Path) -> None:
        file = publish(tmp_path / f"{INPAINT}.pth")
        import_weights(file, own_folders)
        done = import_weights(file, own_folders, licence="commercial")
        assert done.state == "imported"
        assert find_weights("inpaint", allow="commercial").info.licence == "commercial"
        assert import_weights(file, own_folders, licence="commercial").state == "kept"
        with pytest.raises(WeightsError, match="licence class"):
            import_weights(file, own_folders, licence="mine")

    def test_licence_of_the_studio_stays(self, own_folders: Path, tmp_path: Path) -> None:
        """Until another is given; also where the weights are made anew."""
        file = publish(tmp_path / f"{INPAINT}.pth")
        done = import_weights(file, own_folders, licence="commercial")
        again = import_weights(file, own_folders)
        assert (again.state, again.sha256) == ("kept", done.sha256)
        assert done.path is not None
        data = bytearray(done.path.read_bytes())
        data[-1] ^= 1
        done.path.write_bytes(data)
        again = import_weights(file, own_folders)
        assert (again.state, again.sha256, again.message) == ("imported", done.sha256, "")
        assert find_weights("inpaint", allow="commercial").info.licence == "commercial"
        other = import_weights(file, own_folders, licence="research")
        assert other.info is not None and other.info.note.count("set at import") == 1
        assert other.message.endswith(f"its SHA-256 was {done.sha256}, now it is {other.sha256}")
        assert import_weights(file, own_folders, licence="unknown").state == "imported"

    @pytest.mark.parametrize(
        ("given", "claimed", "kept"),
        [
            ("research", "commercial", "research"),
            ("unknown", "commercial", "unknown"),
            ("commercial", "research", "research"),
            ("non-commercial", "non-commercial", "non-commercial"),
        ],
    )
    def test_what_a_new_version_says_of_itself_does_not_loosen_the_studio_s_class(
        self, own_folders: Path, tmp_path: Path, given: str, claimed: str, kept: str
    ) -> None:
        file = tmp_path / "theirs.safetensors"
        for number, licence in enumerate(("", claimed)):
            facts = {"role": "inpaint", "name": "theirs", "licence": licence or "unknown", "note": str(number)}
            write_checkpoint(file, SMALL, small_state(), facts)
            done = import_weights(file, own_folders, licence="" if number else given)
            assert done.state == "imported", done.message
        assert done.info is not None and done.info.licence == kept
        assert find_weights("inpaint", "theirs").info.licence == kept
        assert ("is kept, because it is stricter" in done.message) == (kept == given)

    def test_the_studio_s_class_holds_for_the_file_under_any_name(self, own_folders: Path, tmp_path: Path) -> None:
        file = tmp_path / "theirs.safetensors"
        write_checkpoint(file, SMALL, small_state(), {"role": "inpaint", "name": "theirs", "licence": "commercial"})
        import_weights(file, own_folders, name="ours", licence="research")
        again = import_weights(file, own_folders, name="theirs")
        assert again.info is not None and (again.info.name, again.info.licence) == ("theirs", "research")

    def test_other_content_under_a_name(self, own_folders: Path, tmp_path: Path) -> None:
        first = import_weights(publish(tmp_path / "a.pth"), own_folders, name="ours", licence="commercial")
        done = import_weights(publish(tmp_path / "b.pth", SMALL.replace("ngf=2", "ngf=3")), own_folders, name="ours")
        assert done.state == "imported" and done.info is not None and done.info.licence == "unknown"
        assert "other weights under the name ours have been replaced" in done.message
        assert "'commercial', set at import" in done.message
        assert first.sha256 in done.message and done.sha256 in done.message

    def test_in_place_of_what_is_cut_off(self, own_folders: Path, tmp_path: Path) -> None:
        file = publish(tmp_path / f"{INPAINT}.pth")
        done = import_weights(file, own_folders, licence="commercial")
        assert done.path is not None
        done.path.write_bytes(done.path.read_bytes()[:-9])
        again = import_weights(file, own_folders)
        assert "set it again" in again.message and find_weights("inpaint").sha256 == again.sha256

    def test_mends_what_is_damaged(self, own_folders: Path, tmp_path: Path) -> None:
        file = publish(tmp_path / f"{INPAINT}.pth")
        done = import_weights(file, own_folders)
        assert done.path is not None
        data = bytearray(done.path.read_bytes())
        data[-1] ^= 1
        done.path.write_bytes(data)
        again = import_weights(file, own_folders)
        assert (again.state, again.sha256) == ("imported", done.sha256) == ("imported", read_recorded_digest(done.path))

    def test_from_another_studio(self, own_folders: Path, tmp_path: Path) -> None:
        """What was brought in elsewhere, with all that it says of itself."""
        first = import_weights(publish(tmp_path / f"{INPAINT}.pth"), tmp_path / "else", licence="research")
        assert first.path is not None
        done = import_weights(first.path, own_folders)
        assert (done.state, done.sha256) == ("imported", first.sha256)
        assert list_installed_weights()[0].info.licence == "research"

    @pytest.mark.parametrize("name", ["../x", "a/b", "", "-x", "a b", "x" * 200])
    def test_names_that_lead_elsewhere(self, own_folders: Path, tmp_path: Path, name: str) -> None:
        file = publish(tmp_path / "x.pth")
        if name:
            with pytest.raises(WeightsError, match="cannot name weights"):
                import_weights(file, own_folders, name=name)
        hostile = tmp_path / "h.safetensors"
        write_checkpoint(hostile, SMALL, small_state(), {"role": "inpaint", "name": name or "../../x"})
        assert import_weights(hostile, own_folders).state == "refused"

    def test_a_full_disk(self, own_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = publish(tmp_path / f"{INPAINT}.pth")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OutputError, match="disk is full"):
            import_weights(file, own_folders)
        assert list(own_folders.iterdir()) == []


class TestFolders:
    def test_all_below(self, tmp_path: Path, own_folders: Path) -> None:
        (tmp_path / "in" / "deep").mkdir(parents=True)
        publish(tmp_path / "in" / f"{INPAINT}.pth")
        publish(tmp_path / "in" / "deep" / f"{STEPWISE}.pth", narrow(load_catalogue()[STEPWISE].arch))
        (tmp_path / "in" / "broken.pth").write_bytes(b"x")
        (tmp_path / "in" / "readme.txt").write_text("x")
        told: list[tuple[int, int]] = []
        done = list(
            import_all_weights(tmp_path / "in", own_folders, on_progress=lambda n, of, file: told.append((n, of)))
        )
        assert [one.state for one in done] == ["refused", "imported", "imported"]
        assert told == [(0, 3), (1, 3), (2, 3)] and len(list_installed_weights()) == 2

    def test_empty(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"no file in it ends in"):
            find_weights_files(tmp_path)

    def test_one_name_for_many(self, tmp_path: Path, own_folders: Path) -> None:
        publish(tmp_path / "a.pth")
        publish(tmp_path / "b.pth")
        with pytest.raises(WeightsError, match="single file"):
            list(import_all_weights(tmp_path, own_folders, name="x"))

    def test_where_to(self, tmp_path: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert find_writable_folder() == own_folders
        (tmp_path / "file").write_text("x")  # a place that cannot be written, for root too
        monkeypatch.setenv("FSGAN_WEIGHTS", f"{tmp_path / 'file' / 'x'}:{tmp_path / 'b'}")
        assert find_writable_folder() == tmp_path / "b"
        monkeypatch.setenv("FSGAN_WEIGHTS", str(tmp_path / "file" / "x"))
        assert find_writable_folder() == tmp_path / "data" / "fsgan" / "weights"
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
        with pytest.raises(OutputError, match="set FSGAN_WEIGHTS to a writable folder"):
            find_writable_folder()

    def test_a_folder_that_is_not_there(self, own_folders: Path, caplog: pytest.LogCaptureFixture) -> None:
        """It may be a slip of the pen."""
        assert not own_folders.exists() and find_writable_folder() == own_folders
        assert f"{own_folders} from FSGAN_WEIGHTS did not exist" in caplog.text
        caplog.clear()
        assert find_writable_folder() == own_folders and caplog.text == ""


def test_a_swap_of_the_full_size_is_the_published_one() -> None:
    """The catalogue's strings make the networks that the parity cases have."""
    channels = {
        weight.name: next(iter(build_network(weight.arch, device="meta").state_dict().values())).shape[:2]
        for weight in GENERATORS
    }
    assert channels["nfv_msrunet_256_1_2_reenactment_v2.1"] == (256, 101)
    assert channels[INPAINT] == (256, 4)
