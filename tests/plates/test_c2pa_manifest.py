"""Signed manifests: the library's own reader accepts them, changes show, and wrong keys are refused with a reason."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from fsgan_core.contract.errors import SigningError
from fsgan_core.contract.signing_files import CERTIFICATE_VARIABLE, KEY_VARIABLE, TRUST_VARIABLE
from fsgan_core.plates.c2pa_manifest import embed_manifest, read_manifest, write_sidecar
from fsgan_core.plates.movies.movie_writer import write_movie
from fsgan_core.plates.signing_identity import open_signing_identity
from fsgan_core.plates.synthetic_mark import DIGITAL_SOURCE_TYPE, add_mark, read_xmp, read_xmp_fields
from tests.c2pa_certificates import Certificates, make_certificates, make_key, write_key

PICTURE = np.random.default_rng(3).integers(0, 255, (30, 40, 3), np.uint8)


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    """A studio that signs."""
    return _use(make_certificates(tmp_path / "studio"), monkeypatch)


def _use(files: Certificates, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    monkeypatch.setenv(CERTIFICATE_VARIABLE, str(files.chain))
    monkeypatch.setenv(KEY_VARIABLE, str(files.key))
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    return files


def write_marked_picture(path: Path) -> Path:
    path.write_bytes(add_mark(cv2.imencode(path.suffix, PICTURE)[1].tobytes()))
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_librarys_reader_accepts_a_picture(tmp_path: Path, studio: Certificates, suffix: str) -> None:
    import c2pa

    path = write_marked_picture(tmp_path / f"sheet{suffix}")
    before = cv2.imread(str(path))
    assert embed_manifest(path, title="sheet", ingredients=("plate.####.exr", "anna.mov"))
    assert np.array_equal(cv2.imread(str(path)), before)
    assert read_xmp_fields(read_xmp(path))["digital source type"] == DIGITAL_SOURCE_TYPE, "the mark is still there"
    settings = {"trust": {"user_anchors": studio.authority.read_text()}}
    kind = "image/png" if suffix == ".png" else "image/jpeg"
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Reader(kind, io.BytesIO(path.read_bytes()), context=context) as reader,
    ):
        assert reader.get_validation_state() == "Trusted"
        manifest = reader.get_active_manifest()
    (actions,) = (one["data"]["actions"] for one in manifest["assertions"] if one["label"].startswith("c2pa.actions"))
    assert [action["action"] for action in actions] == ["c2pa.created", "c2pa.placed"]
    assert actions[0]["digitalSourceType"] == DIGITAL_SOURCE_TYPE
    assert [one["title"] for one in manifest["ingredients"]] == ["plate.####.exr", "anna.mov"]
    assert "time" not in manifest["signature_info"], "no time stamp from a server"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_changed_pixel_shows(tmp_path: Path, studio: Certificates, suffix: str) -> None:
    path = write_marked_picture(tmp_path / f"sheet{suffix}")
    embed_manifest(path, title="sheet")
    statement = read_manifest(path)
    assert statement is not None and statement.state == "valid"
    assert statement.signer == "Test Signer, Test Studio" and statement.source_type == DIGITAL_SOURCE_TYPE
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    statement = read_manifest(path)
    assert statement is not None and statement.state == "invalid" and "hash" in statement.problem


def test_only_certificates_that_the_studio_names_are_trusted(
    tmp_path: Path, studio: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_marked_picture(tmp_path / "sheet.png")
    embed_manifest(path, title="sheet")
    monkeypatch.setenv(TRUST_VARIABLE, str(studio.authority))
    statement = read_manifest(path)
    assert statement is not None and statement.state == "trusted"
    monkeypatch.setenv(TRUST_VARIABLE, str(make_certificates(tmp_path / "others").authority))
    statement = read_manifest(path)
    assert statement is not None and statement.state == "valid"


def test_a_movie_is_signed_and_still_plays(tmp_path: Path, studio: Certificates) -> None:
    pictures = [np.full((64, 96, 3), value, np.uint8) for value in (30, 90, 200)]
    path = write_movie(pictures, tmp_path / "preview.mp4", 24, is_synthetic=True, made_from=("plate.mov",))
    statement = read_manifest(path)
    assert statement is not None and statement.state == "valid" and statement.ingredients == ("plate.mov",)
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 3
    assert read_xmp_fields(read_xmp(path))["digital source type"] == DIGITAL_SOURCE_TYPE
    content = bytearray(path.read_bytes())
    content[content.find(b"mdat") + 40] ^= 1
    path.write_bytes(content)
    statement = read_manifest(path)
    assert statement is not None and statement.state == "invalid"
    assert read_manifest(write_movie(pictures, tmp_path / "plain.mp4", 24)) is None, "nothing synthetic, not signed"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["plain.mp4", "preview.mp4", "studio"]


def test_a_sidecar_is_bound_to_any_bytes(tmp_path: Path, studio: Certificates) -> None:
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"a": 1}))
    identity = open_signing_identity()
    assert identity is not None
    write_sidecar(path.read_bytes(), tmp_path / "list.json.c2pa", title="list.json", identity=identity)
    statement = read_manifest(path)
    assert statement is not None and statement.state == "valid"
    path.write_text(json.dumps({"a": 2}))
    statement = read_manifest(path)
    assert statement is not None and statement.state == "invalid"


@pytest.mark.parametrize("kind", ["p384", "ed25519", "rsa2048"])
def test_other_kinds_of_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    _use(make_certificates(tmp_path / "studio", kind), monkeypatch)
    path = write_marked_picture(tmp_path / "sheet.png")
    embed_manifest(path, title="sheet")
    statement = read_manifest(path)
    assert statement is not None and statement.state == "valid"


def test_without_a_key_nothing_is_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CERTIFICATE_VARIABLE, raising=False)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    path = write_marked_picture(tmp_path / "sheet.png")
    before = path.read_bytes()
    assert not embed_manifest(path, title="sheet")
    assert path.read_bytes() == before and read_manifest(path) is None


def test_wrong_files_are_refused_with_a_reason(
    tmp_path: Path, studio: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(match: str) -> None:
        with pytest.raises(SigningError, match=match):
            open_signing_identity()

    good = studio.key.read_bytes()
    studio.key.write_bytes(write_key(make_key("p256")))
    refuse(f"{KEY_VARIABLE}: .*is not the key of the first certificate")
    studio.key.write_bytes(write_key(make_key("p256"), b"secret"))
    refuse("is encrypted")
    studio.key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n")
    refuse("no readable private key")
    studio.key.write_bytes(b"\0" * 100)
    refuse("is not a PEM file")
    studio.key.unlink()
    refuse(f"{KEY_VARIABLE}: .*cannot be read")
    studio.key.write_bytes(good)
    studio.chain.write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    refuse(f"{CERTIFICATE_VARIABLE}: .*no readable certificate")
    _use(make_certificates(tmp_path / "old", days=(-30, -1)), monkeypatch)
    refuse("expired on")
    _use(make_certificates(tmp_path / "new", days=(1, 30)), monkeypatch)
    refuse("is not valid before")
    _use(make_certificates(tmp_path / "curve", "secp256k1"), monkeypatch)
    refuse("of a kind that C2PA does not sign with")
    monkeypatch.delenv(KEY_VARIABLE)
    refuse(f"{CERTIFICATE_VARIABLE} is set but {KEY_VARIABLE} is not")


def test_what_the_library_refuses_is_an_error_of_ours(tmp_path: Path, studio: Certificates) -> None:
    identity = open_signing_identity()
    assert identity is not None
    path = write_marked_picture(tmp_path / "sheet.png")
    before = path.read_bytes()
    with pytest.raises(SigningError, match="the certificate Test Signer does not sign"):
        embed_manifest(path, title="sheet", identity=replace(identity, algorithm="ed25519"))
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 2, "nothing is left behind"


def test_a_key_never_gets_into_messages(tmp_path: Path, studio: Certificates, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = studio.key.read_text().splitlines()[1]
    identity = open_signing_identity()
    path = write_marked_picture(tmp_path / "sheet.png")
    embed_manifest(path, title="sheet")
    assert secret not in repr(identity) and secret not in caplog.text
    assert secret.encode() not in path.read_bytes() and str(studio.key).encode() not in path.read_bytes()
    studio.key.write_text(studio.key.read_text().replace(secret, secret[:-4] + "AAAA"))
    try:
        open_signing_identity()
    except SigningError as error:
        assert secret[:20] not in str(error) and error.__cause__ is None


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "c2pa" else real(name))
    monkeypatch.setenv(CERTIFICATE_VARIABLE, "chain.pem")
    monkeypatch.setenv(KEY_VARIABLE, "key.pem")
    with pytest.raises(SigningError, match=r"install fsgan\[c2pa\]"):
        open_signing_identity()
    path = write_marked_picture(tmp_path / "sheet.png")
    assert read_manifest(path) is None
    (tmp_path / "sheet.png.c2pa").write_bytes(b"anything")
    statement = read_manifest(path)
    assert statement is not None and statement.state == "unchecked"
