"""Signed manifests (C2PA) in PNG, JPEG, MP4 and MOV files, or beside a file that has no place for one.

The manifest says that the file was created by this program as a composite with trained algorithmic media, and names the
ingredients. Signing and checking are the library's (c2pa-python). Nothing goes over the network: no time stamps, no
remote manifests, no requests for the state of a certificate.

Source: C2PA Technical Specification 2.x, "Content Credentials".
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsgan_core.contract.errors import PlateError, SigningError
from fsgan_core.contract.safe_text import escape_line
from fsgan_core.contract.signing_files import TRUST_VARIABLE, read_trust_file
from fsgan_core.contract.version import __version__
from fsgan_core.plates.signing_identity import SigningIdentity, open_signing_identity, read_pem_file
from fsgan_core.plates.synthetic_mark import DIGITAL_SOURCE_TYPE

__all__ = ["SIDECAR_SUFFIX", "ManifestStatement", "embed_manifest", "read_manifest", "write_sidecar"]

SIDECAR_SUFFIX = ".c2pa"
"""Added to the name of a file whose manifest is a file of its own."""

_SETTINGS: dict[str, Any] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": True},
    "core": {"allowed_network_hosts": []},
    "builder": {"thumbnail": {"enabled": False}, "auto_timestamp_assertion": {"enabled": False}},
}
_ANY_BYTES = "application/octet-stream"
_MAX_SIDECAR_BYTES = 16 << 20
_EMBEDDED_SIGN = b"jumdc2pa"  # how a manifest store begins, in all three kinds of files
_SEARCHED_BYTES = 1 << 20  # a manifest store is near the beginning
_STATES = {"Trusted": "trusted", "Valid": "valid", "Invalid": "invalid"}
_UNTRUSTED = "signingCredential.untrusted"


@dataclass(frozen=True)
class ManifestStatement:
    """What a signed manifest says, and whether it holds.

    Attributes:
        state: "trusted": the file is as it was signed, and the studio trusts the signer. "valid": it is as it was
            signed, by a signer whom nobody here vouches for. "invalid": file or manifest were changed, or the
            certificate is no good. "unchecked": there is one, but it cannot be checked here.
        signer: Common name and organisation of the certificate.
        actions: What was done, such as "c2pa.created".
        source_type: IPTC's digital source type, or "".
        ingredients: Names of what the file was made from.
        problem: Why it is invalid or unchecked, else "".
    """

    state: str
    signer: str = ""
    actions: tuple[str, ...] = ()
    source_type: str = ""
    ingredients: tuple[str, ...] = ()
    problem: str = ""


def embed_manifest(
    path: Path, *, title: str, ingredients: Sequence[str] = (), identity: SigningIdentity | None = None
) -> bool:
    """Signs a PNG, JPEG, MP4 or MOV in place, if the studio signs. Call it before the file gets its final name.

    Args:
        path: The file; a reader may see it half written.
        title: The file's final name.
        ingredients: Names of the clips that it was made from.
        identity: Certificate and key; None: those of the environment.

    Returns:
        Whether the file was signed.

    Raises:
        SigningError: The certificate or the key does not work.
        OSError: The file cannot be written.
    """
    identity = identity or open_signing_identity()
    if identity is None:
        return False
    signed = path.with_name(f"{path.name}.signed")
    try:
        with path.open("rb") as source, signed.open("w+b") as target:
            _sign(identity, _make_manifest(title, ingredients), _guess_format(source), source, target)
        signed.replace(path)
    finally:
        signed.unlink(missing_ok=True)
    return True


def write_sidecar(
    content: bytes, path: Path, *, title: str, ingredients: Sequence[str] = (), identity: SigningIdentity
) -> None:
    """Writes a manifest that is bound to any bytes, as a file of its own.

    Args:
        content: What the manifest vouches for.
        path: The manifest's file.
        title: Name of the file that holds `content`.
        ingredients: Names of the clips that it was made from.
        identity: Certificate and key.

    Raises:
        SigningError: The certificate or the key does not work.
        OSError: The file cannot be written.
    """
    manifest = _make_manifest(title, ingredients)
    path.write_bytes(_sign(identity, manifest, _ANY_BYTES, io.BytesIO(content), io.BytesIO(), embed=False))


def read_manifest(path: Path) -> ManifestStatement | None:
    """Reads and checks the manifest in a file, or the one beside it; None: there is none.

    Raises:
        PlateError: The file cannot be read.
        SigningError: The certificates to trust cannot be read.
    """
    sidecar = path.with_name(path.name + SIDECAR_SUFFIX)
    try:
        has_sidecar = sidecar.is_file() and sidecar.stat().st_size <= _MAX_SIDECAR_BYTES
        with path.open("rb") as file:
            if not has_sidecar and _EMBEDDED_SIGN not in file.read(_SEARCHED_BYTES):
                return None
            if importlib.util.find_spec("c2pa") is None:
                return ManifestStatement("unchecked", problem="the package c2pa-python is not installed (fsgan[c2pa])")
            file.seek(0)
            if has_sidecar:
                return _check_manifest(_ANY_BYTES, file, sidecar.read_bytes())
            return _check_manifest(_guess_format(file), file, None)
    except OSError as error:
        raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error


def _make_manifest(title: str, ingredients: Sequence[str]) -> dict[str, Any]:
    agent = {"name": "fsgan", "version": __version__}
    labels = [f"ingredient{number}" for number in range(1, len(ingredients) + 1)]
    actions: list[dict[str, Any]] = [
        {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPE, "softwareAgent": agent}
    ]
    if labels:
        actions.append({"action": "c2pa.placed", "parameters": {"ingredientIds": labels}, "softwareAgent": agent})
    return {
        "claim_generator_info": [agent],
        "title": escape_line(title),
        "ingredients": [
            {"title": escape_line(name), "format": _ANY_BYTES, "relationship": "componentOf", "label": label}
            for name, label in zip(ingredients, labels, strict=True)
        ],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }


def _sign(
    identity: SigningIdentity, manifest: dict[str, Any], kind: str, source: Any, target: Any, *, embed: bool = True
) -> bytes:
    import c2pa

    try:
        signer = c2pa.Signer.from_info(
            c2pa.C2paSignerInfo(identity.algorithm.encode(), identity.chain, identity.key, None)
        )
        with (
            c2pa.Settings.from_dict(_SETTINGS) as settings,
            c2pa.Context(settings=settings, signer=signer) as context,
            c2pa.Builder(manifest, context=context) as builder,
        ):
            if not embed:
                builder.set_no_embed()
            return bytes(builder.sign(kind, source, target))
    except c2pa.C2paError as error:
        raise SigningError(
            f"the certificate {identity.name} does not sign: {escape_line(str(error))}. C2PA needs a certificate "
            "for digital signatures that an authority issued, and that authority's certificate after it"
        ) from error


def _check_manifest(kind: str, file: Any, sidecar: bytes | None) -> ManifestStatement:
    import c2pa

    settings = dict(_SETTINGS)
    trusted = read_trust_file()
    if trusted:
        settings["trust"] = {"user_anchors": read_pem_file(trusted, TRUST_VARIABLE).decode("ascii", "replace")}
    try:
        with (
            c2pa.Settings.from_dict(settings) as library_settings,
            c2pa.Context(settings=library_settings) as context,
            c2pa.Reader(kind, file, sidecar, context=context) as reader,
        ):
            return _describe_manifest(json.loads(reader.json()), str(reader.get_validation_state()))
    except c2pa.C2paError as error:
        return ManifestStatement("invalid", problem=escape_line(str(error)))


def _describe_manifest(found: dict[str, Any], state: str) -> ManifestStatement:
    manifest = found.get("manifests", {}).get(found.get("active_manifest"), {})
    signature = manifest.get("signature_info", {})
    actions = list(_iterate_actions(manifest))
    problems = [
        str(one.get("explanation") or one.get("code"))
        for one in found.get("validation_status", ())
        if one.get("code") != _UNTRUSTED
    ]
    is_invalid = state not in _STATES or state == "Invalid"
    names = (signature.get("common_name"), signature.get("issuer"))
    return ManifestStatement(
        _STATES.get(state, "invalid"),
        escape_line(", ".join(str(name) for name in names if name)),
        tuple(escape_line(str(action.get("action"))) for action in actions),
        escape_line(next((str(a["digitalSourceType"]) for a in actions if a.get("digitalSourceType")), "")),
        tuple(escape_line(str(one.get("title"))) for one in manifest.get("ingredients", ()) if one.get("title")),
        escape_line("; ".join(problems) or state) if is_invalid else "",
    )


def _iterate_actions(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for assertion in manifest.get("assertions", ()):
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            with contextlib.suppress(AttributeError, TypeError):
                yield from assertion.get("data", {}).get("actions", ())


def _guess_format(file: Any) -> str:
    """The MIME type of a file by its first bytes."""
    start = file.read(12)
    file.seek(0)
    if start.startswith(b"\x89PNG"):
        return "image/png"
    if start.startswith(b"\xff\xd8"):
        return "image/jpeg"
    if start[4:8] == b"ftyp":
        return "video/quicktime" if start[8:12] == b"qt  " else "video/mp4"
    return _ANY_BYTES
