"""Opens the certificate chain and the key that manifests are signed with, and checks them before anything is signed."""

from __future__ import annotations

import datetime
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsgan_core.contract.errors import SigningError
from fsgan_core.contract.signing_files import CERTIFICATE_VARIABLE, KEY_VARIABLE, read_signing_files
from fsgan_core.runtime.user_paths import expand_home

__all__ = ["SigningIdentity", "open_signing_identity", "read_pem_file"]

_MAX_PEM_BYTES = 1 << 20
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_MIN_RSA_BITS = 2048


@dataclass(frozen=True)
class SigningIdentity:
    """What manifests are signed with.

    Attributes:
        name: Common name of the certificate, for messages.
        algorithm: The signature algorithm that fits the key, by its C2PA name.
        chain: The certificates, as PEM.
        key: The private key, as PEM; not part of the representation.
    """

    name: str
    algorithm: str
    chain: bytes
    key: bytes = field(repr=False)


def open_signing_identity() -> SigningIdentity | None:
    """Opens certificate and key as the environment names them; None: nothing is signed here.

    Raises:
        SigningError: A file is missing or broken, the certificate is not valid today, the two are not a pair, or the
            package c2pa-python is not installed.
    """
    files = read_signing_files()
    if files is None:
        return None
    if importlib.util.find_spec("c2pa") is None or importlib.util.find_spec("cryptography") is None:
        raise SigningError(
            f"{CERTIFICATE_VARIABLE} is set, but the package c2pa-python is not installed; install fsgan[c2pa], or "
            f"unset {CERTIFICATE_VARIABLE} and {KEY_VARIABLE}"
        )
    chain = read_pem_file(files.certificate, CERTIFICATE_VARIABLE)
    key = read_pem_file(files.key, KEY_VARIABLE)
    certificate = _load_certificate(chain, files.certificate)
    private_key = _load_key(key, files.key)
    if private_key.public_key() != certificate.public_key():
        raise SigningError(
            f"{KEY_VARIABLE}: {files.key} is not the key of the first certificate in {files.certificate}; the signer's "
            "own certificate must come first"
        )
    _check_dates(certificate, files.certificate)
    return SigningIdentity(_get_name(certificate), _choose_algorithm(private_key, files.key), chain, key)


def read_pem_file(path: str, variable: str) -> bytes:
    """Reads a PEM file that an environment variable names.

    Raises:
        SigningError: It cannot be read, or it is no PEM file.
    """
    try:
        with Path(expand_home(path)).open("rb") as file:
            content = file.read(_MAX_PEM_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SigningError(f"{variable}: {path} cannot be read ({reason})") from error
    if len(content) > _MAX_PEM_BYTES or b"-----BEGIN " not in content:
        raise SigningError(f"{variable}: {path} is not a PEM file")
    return content


def _load_certificate(chain: bytes, path: str) -> Any:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(chain)[0]
    except ValueError as error:
        raise SigningError(
            f"{CERTIFICATE_VARIABLE}: {path} holds no readable certificate; it begins with -----BEGIN CERTIFICATE-----"
        ) from error


def _load_key(key: bytes, path: str) -> Any:
    """Errors of the library are not chained: nothing of the key's content may get into a log."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(key, password=None)
    except TypeError:
        problem = "is encrypted; give an unencrypted key that only the signing user can read"
    except (ValueError, UnsupportedAlgorithm):
        problem = "holds no readable private key; it begins with -----BEGIN PRIVATE KEY-----"
    raise SigningError(f"{KEY_VARIABLE}: {path} {problem}")


def _choose_algorithm(key: Any, path: str) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _MIN_RSA_BITS:
        return "ps256"
    raise SigningError(
        f"{KEY_VARIABLE}: {path} is of a kind that C2PA does not sign with; use P-256, P-384, P-521, Ed25519, or RSA "
        f"of at least {_MIN_RSA_BITS} bits"
    )


def _check_dates(certificate: Any, path: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if now > certificate.not_valid_after_utc:
        raise SigningError(f"{CERTIFICATE_VARIABLE}: {path} expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if now < certificate.not_valid_before_utc:
        raise SigningError(
            f"{CERTIFICATE_VARIABLE}: {path} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
        )


def _get_name(certificate: Any) -> str:
    from cryptography.x509.oid import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
