"""Files that mean harm, or came to harm: each is refused with its name, and nothing in it runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fsgan_core.contract.errors import WeightsError
from fsgan_core.networks.weights.checkpoint import load_network, read_checkpoint
from fsgan_core.networks.weights.importing import find_weights_files, import_weights
from fsgan_core.networks.weights.safetensors_header import read_safetensors_header
from tests.endless import no_endless_work
from tests.networks.conftest import SMALL, publish, small_state


class Trap:
    """Unpickled by anything that trusts it, it makes the file `marker`."""

    def __init__(self, marker: Path, call: Callable[..., Any] = os.system) -> None:
        self.marker = marker
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, (f"touch '{self.marker}'",)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


def refusal(path: Path, act: Callable[[Path], Any] = load_network) -> str:
    with pytest.raises(WeightsError) as caught:
        act(path)
    assert str(path) in str(caught.value), "the message names the file"
    return str(caught.value)


def rewrite(path: Path, change: Callable[[str, bytes], bytes | None], compression: int = zipfile.ZIP_STORED) -> None:
    """Writes the archive `path` anew, each record changed; None drops it."""
    with zipfile.ZipFile(path) as archive:
        records = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in records:
            changed = change(name, data)
            if changed is not None:
                archive.writestr(name, changed)


class TestCode:
    @pytest.mark.parametrize("legacy", [False, True])
    @pytest.mark.parametrize("where", ["best_loss", "arch", "state_dict"])
    def test_in_a_pickle(self, tmp_path: Path, marker: Path, legacy: bool, where: str) -> None:
        path = tmp_path / "weights.pth"
        torch.save(
            {"arch": SMALL, "state_dict": small_state(), where: Trap(marker)},
            path,
            _use_new_zipfile_serialization=not legacy,
        )
        assert "system" in refusal(path)
        assert not marker.exists()
        with path.open("rb") as stream:
            pass_it_on = torch.load(stream, weights_only=False)  # the trap is a real one
        assert pass_it_on and marker.exists()

    def test_in_a_key(self, tmp_path: Path, marker: Path) -> None:
        path = tmp_path / "weights.pth"
        torch.save({Trap(marker, eval): 1}, path)
        assert "eval" in refusal(path) and not marker.exists()

    @pytest.mark.parametrize("protocol", [0, 2, 4, 5])
    def test_in_a_bare_pickle(self, tmp_path: Path, marker: Path, protocol: int) -> None:
        path = tmp_path / "weights.pkl"
        path.write_bytes(pickle.dumps(Trap(marker), protocol))
        refusal(path)
        assert not marker.exists()

    @pytest.mark.parametrize(
        "program",
        [
            b"\x80\x02cos\nsystem\n(X\x05\x00\x00\x00touchtR.",
            b"(X\x05\x00\x00\x00touchios\nsystem\n.",
            b"\x80\x02(cos\nsystem\nX\x05\x00\x00\x00toucho.",
            b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
            b"\x80\x02\x82\x01.",
            b"\x80\x02cbuiltins\ngetattr\n.",
            b"\x80\x02ctorch.hub\nload\n.",
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2.__globals__\n.",
            b"\x80\x04\x8c\x0ctorch._utils\x8c\x1e_rebuild_tensor_v2.__globals__\x93.",
        ],
    )
    @pytest.mark.parametrize("archive", [False, True])
    def test_in_opcodes(self, tmp_path: Path, program: bytes, archive: bool) -> None:
        path = tmp_path / "weights.pth"
        if archive:
            publish(path)
            rewrite(path, lambda name, data: program if name.endswith("data.pkl") else data)
        else:
            path.write_bytes(program)
        refusal(path)

    @pytest.mark.parametrize(
        "arch",
        [
            "__import__('os').system('touch {marker}')",
            "res_unet.MultiScaleResUNet(in_nc=__import__('os').system('touch {marker}'))",
            "res_unet.MultiScaleResUNet(**dict(in_nc=open('{marker}','w').write('') or 4))",
            "[open('{marker}','w') for _ in [1]]",
            "os.system(command='touch {marker}')",
            "res_unet.MultiScaleResUNet(in_nc=4)\nopen('{marker}','w')",
            "(lambda: open('{marker}','w'))()",
            "f\"{{open('{marker}','w')}}\"",
            "torch.hub.load(repo='x')",
        ],
    )
    def test_in_an_architecture(self, tmp_path: Path, marker: Path, arch: str) -> None:
        path = tmp_path / "weights.pth"
        torch.save({"arch": arch.format(marker=marker), "state_dict": small_state()}, path)
        refusal(path)
        assert import_weights(path, tmp_path / "out").state == "refused"
        assert not marker.exists() and not (tmp_path / "out").exists()

    def test_in_an_architecture_of_a_safetensors(self, tmp_path: Path, marker: Path) -> None:
        from fsgan_core.networks.weights.checkpoint import write_checkpoint

        path = tmp_path / "weights.safetensors"
        write_checkpoint(path, f"open('{marker}','w')", small_state(), {"role": "inpaint"})
        refusal(path)
        assert import_weights(path, tmp_path / "out").state == "refused" and not marker.exists()

    def test_a_program_of_torchscript(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.pth"
        publish(path)
        with zipfile.ZipFile(path, "a") as archive:
            root = archive.namelist()[0].split("/")[0]
            archive.writestr(f"{root}/constants.pkl", b"\x80\x02).")
        assert "TorchScript" in refusal(path)


class TestSize:
    def test_compressed_records(self, tmp_path: Path) -> None:
        path = publish(tmp_path / "weights.pth")
        rewrite(path, lambda name, data: data if name.endswith(".pkl") else bytes(300_000), zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 100_000
        assert "compressed" in refusal(path)

    def test_records_that_overlap(self, tmp_path: Path) -> None:
        """All entries of the directory point to the same bytes, so that little claims to be much."""
        path = tmp_path / "weights.pth"
        body, name, crc = bytes(50_000), b"archive/data.pkl", 0
        local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, crc, len(body), len(body), len(name), 0) + name
        directory = b""
        for number in range(500):
            entry = f"archive/data/{number}".encode()
            directory += (
                struct.pack(
                    "<4s6H3I5H2I",
                    b"PK\1\2",
                    20,
                    20,
                    0,
                    0,
                    0,
                    0,
                    crc,
                    len(body),
                    len(body),
                    len(entry),
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                )
                + entry
            )
        end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 500, 500, len(directory), len(local) + len(body), 0)
        path.write_bytes(local + body + directory + end)
        assert "more than the file holds" in refusal(path)

    def test_a_storage_longer_than_its_record(self, tmp_path: Path) -> None:
        """torch would read beyond the record's memory."""
        path = publish(tmp_path / "weights.pth")
        rewrite(path, lambda name, data: data[:4] if "/data/" in name else data)
        assert "does not have its declared length" in refusal(path)

    @pytest.mark.parametrize("legacy", [False, True])
    def test_one_number_as_a_million(self, tmp_path: Path, legacy: bool) -> None:
        path = tmp_path / "weights.pth"
        state = small_state()
        name = next(iter(state))
        state[name] = torch.zeros(1).expand(4096, 4096)
        torch.save({"arch": SMALL, "state_dict": state}, path, _use_new_zipfile_serialization=not legacy)
        assert "more numbers" in refusal(path)

    @pytest.mark.parametrize("numbers", [2**30, 2**31 - 1, -1])
    def test_a_stream_that_announces_much(self, tmp_path: Path, numbers: int) -> None:
        path = publish(tmp_path / "weights.pth", legacy=True)
        announced = re.compile(rb"(X\x03\x00\x00\x00cpu(?:q.|r....)|\x00cpuq.h.)(?:K.|M..)", re.DOTALL)
        changed, count = announced.subn(
            lambda found: found.group(1) + b"J" + struct.pack("<i", numbers), path.read_bytes(), count=1
        )
        assert count == 1
        path.write_bytes(changed)
        refusal(path)

    def test_a_network_without_end(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.pth"
        torch.save(
            {
                "arch": "res_unet.MultiScaleResUNet(in_nc=4,ngf=512,max_nc=4096,flat_layers=(16,16,16,16,16,16))",
                "state_dict": small_state(),
            },
            path,
        )
        assert "million parameters" in refusal(path)

    def test_a_file_of_many_gigabytes(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.pth"
        with path.open("wb") as stream:
            stream.truncate(5 << 30)  # a hole: it takes no room
        assert "GiB" in refusal(path)

    def test_keys_that_take_for_ever(self, tmp_path: Path) -> None:
        """A tuple of a tuple of ... the same tuple twice: hashing it visits 2 ** 60."""
        path = publish(tmp_path / "weights.pth")
        program = b"\x80\x02}K\x01K\x02\x86q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"K\x01s."
        rewrite(path, lambda name, data: program if name.endswith("data.pkl") else data)
        refusal(path)

    @pytest.mark.parametrize("length", [0, 1, 2**62, 2**64 - 1, 10_000_000])
    def test_head_of_a_safetensors(self, tmp_path: Path, length: int) -> None:
        path = tmp_path / "weights.safetensors"
        path.write_bytes(length.to_bytes(8, "little") + b'{"a":1}' + bytes(100))
        refusal(path)
        refusal(path, read_safetensors_header)

    @pytest.mark.parametrize(
        "head",
        [
            {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}},
            {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 8]}},
            {
                "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                "b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            },
            {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
            {"a": {"dtype": "Q7", "shape": [2], "data_offsets": [0, 8]}},
            {"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}},
            {"a": {"dtype": "F32"}},
            {"a": 7},
            {"__metadata__": {"arch": 7}},
            {"__metadata__": []},
            [],
            {},
        ],
    )
    def test_tensors_of_a_safetensors(self, tmp_path: Path, head: Any) -> None:
        path = tmp_path / "weights.safetensors"
        text = json.dumps(head).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
        refusal(path)

    def test_nested_head(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.safetensors"
        text = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        refusal(path)


class TestContent:
    @pytest.mark.parametrize("legacy", [False, True])
    @pytest.mark.parametrize("keep", [0, 3, 7, 100, 0.5, 0.99])
    def test_cut_off(self, tmp_path: Path, legacy: bool, keep: float) -> None:
        path = publish(tmp_path / "weights.pth", legacy=legacy)
        data = path.read_bytes()
        path.write_bytes(data[: int(keep if keep >= 3 else len(data) * keep)])
        refusal(path)

    def test_cut_off_safetensors(self, tmp_path: Path) -> None:
        from fsgan_core.networks.weights.checkpoint import write_checkpoint

        path = tmp_path / "weights.safetensors"
        write_checkpoint(path, SMALL, small_state())
        data = path.read_bytes()
        for keep in (0, 5, 8, 9, 500, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:keep])
            refusal(path)

    def test_wrong_shapes(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.pth"
        state = small_state()
        name = next(name for name, tensor in state.items() if tensor.ndim == 4)
        state[name] = state[name][:, :1].clone()
        torch.save({"arch": SMALL, "state_dict": state}, path)
        assert name in refusal(path)

    def test_missing_and_too_many(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.pth"
        state = small_state()
        gone = next(iter(state))
        torch.save(
            {
                "arch": SMALL,
                "state_dict": {**{n: t for n, t in state.items() if n != gone}, "more.weight": torch.zeros(1)},
            },
            path,
        )
        said = refusal(path)
        assert "1 missing" in said and gone in said and "1 too many (more.weight)" in said

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_numbers_that_are_none(self, tmp_path: Path, bad: float) -> None:
        path = tmp_path / "weights.pth"
        state = small_state()
        name = next(iter(state))
        state[name].view(-1)[0] = bad
        torch.save({"arch": SMALL, "state_dict": state}, path)
        assert name in refusal(path)

    @pytest.mark.parametrize(
        "content",
        [
            {},
            [],
            7,
            "text",
            {"a": 1},
            {"state_dict": {}},
            {"state_dict": 7},
            {1: torch.zeros(2)},
            {"arch": 7, "state_dict": {"a": torch.zeros(2)}},
            {"a": torch.zeros(2, dtype=torch.complex64)},
            {"a": torch.zeros(2, dtype=torch.bool)},
            {"a": {"b": torch.zeros(2)}},
        ],
        ids=str,
    )
    def test_other_things(self, tmp_path: Path, content: Any) -> None:
        path = tmp_path / "weights.pth"
        torch.save(content, path)
        refusal(path)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"PK",
            b"PK\3\4" + bytes(100),
            b"<!DOCTYPE html><html></html>",
            bytes(4096),
            b"version https://git-lfs.github.com/spec/v1\n",
            random.Random(1).randbytes(5000),
        ],
    )
    def test_no_checkpoint(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "weights.pth"
        path.write_bytes(content)
        refusal(path)

    def test_sparse(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.pth"
        torch.save({"a": torch.eye(3).to_sparse()}, path)
        refusal(path)


class TestPlaces:
    def test_folder(self, tmp_path: Path) -> None:
        assert "folder" in refusal(tmp_path)

    def test_nothing(self, tmp_path: Path) -> None:
        refusal(tmp_path / "no.pth")
        refusal(tmp_path / "no.pth", find_weights_files)

    def test_links_in_a_circle(self, tmp_path: Path) -> None:
        loop = tmp_path / "loop.pth"
        loop.symlink_to(loop)
        refusal(loop)
        refusal(loop, find_weights_files)
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "up").symlink_to(tmp_path)
        publish(tmp_path / "deep" / "a.pth")
        assert find_weights_files(tmp_path / "deep") == (tmp_path / "deep" / "a.pth",)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_pipe_does_not_wait(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.pth")
        assert "plain file" in refusal(tmp_path / "pipe.pth")
        assert import_weights(tmp_path / "pipe.pth", tmp_path / "out").state == "refused"

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is unreadable for root")
    def test_no_permission(self, tmp_path: Path) -> None:
        path = publish(tmp_path / "weights.pth")
        path.chmod(0)
        assert "ermission" in refusal(path)

    def test_unreadable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = publish(tmp_path / "weights.pth")

        def refuse(*_: Any, **__: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        assert "Permission denied" in refusal(path)

    def test_names_that_are_none(self) -> None:
        with pytest.raises(WeightsError):
            read_checkpoint("a\0b.pth")
        with pytest.raises(WeightsError):
            read_checkpoint("a" * 5000)

    def test_one_bad_file_does_not_hide_the_others(
        self, own_folders: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        from fsgan_core.networks.weights.installed import list_installed_weights

        good = import_weights(publish(tmp_path / "ijbc_msrunet_256_1_2_inpainting_v2.pth"), own_folders)
        assert good.path is not None
        shutil.copy(good.path, own_folders / "a.safetensors")
        (own_folders / "a.safetensors").write_bytes(b"\xff" * 100)
        assert [one.info.name for one in list_installed_weights()] == ["ijbc_msrunet_256_1_2_inpainting_v2"]
        assert "a.safetensors" in caplog.text


class TestTime:
    """Files of some hundred bytes that would keep an unpickler busy for ever."""

    PROTO, END = b"\x80\x02", b"."
    ORDERED = b"ccollections\nOrderedDict\n"

    @staticmethod
    def refuse(path: Path, data: bytes) -> str:
        path.write_bytes(data)
        with no_endless_work():
            return refusal(path, read_checkpoint)

    def test_hash_of_shared_tuples(self, tmp_path: Path) -> None:
        """As an entry of a dict, and as an argument of its constructor (463 bytes)."""
        deep = b"K\x01K\x02\x86q\x00" + b"h\x00h\x00\x86q\x00" * 60
        path = tmp_path / "a.pth"
        assert "name is not text" in self.refuse(path, self.PROTO + self.ORDERED + b"](" + deep + b"K\x01\x86e\x85R.")
        assert "name is not text" in self.refuse(path, self.PROTO + b"}(" + deep + b"K\x01u.")

    def test_one_long_list_many_times(self, tmp_path: Path) -> None:
        pairs = b"](" + b"K\x01K\x02\x86" * 50_000 + b"e\x85q\x00"
        calls = (self.ORDERED + b"h\x00R") * 20_000
        assert "too many entries" in self.refuse(tmp_path / "a.pth", self.PROTO + pairs + calls + b"N.")

    def test_one_long_tuple_of_arguments_many_times(self, tmp_path: Path) -> None:
        arguments = b"(" + b"N" * 200_000 + b"tq\x00"
        calls = b"cargparse\nNamespace\nh\x00R" * 20_000
        assert "too many arguments" in self.refuse(tmp_path / "a.pth", self.PROTO + arguments + calls + b"N.")

    @pytest.mark.parametrize("side", [b"\x8a\xff" + b"\x7f" * 255, b"J\xff\xff\xff\x7f"])
    def test_product_of_huge_sides(self, tmp_path: Path, side: bytes) -> None:
        storage = b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ"
        shape = b"(" + side * 100_000 + b"t"
        tensor = b"ctorch._utils\n_rebuild_tensor_v2\n" + storage + b"K\x00" + shape + shape + b"tR"
        self.refuse(tmp_path / "a.pth", self.PROTO + tensor + self.END)
        few = tensor.replace(shape, b"(" + side * 30 + b"t")
        assert "beyond its storage" in self.refuse(tmp_path / "a.pth", self.PROTO + few + self.END)

    def test_a_checkpoint_of_python_2(self) -> None:
        """It gives the entries of an ordered dict to its constructor."""
        from fsgan_core.networks.weights.pickle_scan import _PickleWalker

        data = self.PROTO + self.ORDERED + b"](X\x01\x00\x00\x00aK\x01\x86X\x01\x00\x00\x00bK\x02\x86e\x85R."
        assert dict(_PickleWalker(io.BytesIO(data)).load()) == {"a": 1, "b": 2}

    def test_a_shape_that_is_no_number(self, tmp_path: Path) -> None:
        head = b'{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,4]}}'
        path = tmp_path / "a.safetensors"
        self.refuse(path, struct.pack("<Q", len(head)) + head + bytes(64))
        assert "not a .safetensors file" in refusal(path, read_safetensors_header)


def test_a_bad_file_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "bad.pth"
    path.write_bytes(b"\x80\x02cos\nsystem\n.")
    code = "import sys; from fsgan_core.cli import main; code = main(sys.argv[1:]); "
    code += "sys.exit(99 if 'torch' in sys.modules else code)"
    done = subprocess.run([sys.executable, "-c", code, "weights", "info", str(path)], capture_output=True, text=True)
    assert done.returncode == 2 and str(path) in done.stderr
