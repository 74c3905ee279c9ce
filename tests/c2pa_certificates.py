"""Makes certificates for tests of signed manifests: an authority, a signer, and broken variants."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REASON = "c2pa-python is not installed (the extra [c2pa])"


@dataclass(frozen=True)
class Certificates:
    """Files of a made-up studio."""

    chain: Path
    key: Path
    authority: Path


def make_certificates(folder: Path, kind: str = "p256", days: tuple[int, int] = (-1, 30)) -> Certificates:
    """Writes an authority's certificate, a signer's chain and its key. days: when the signer's is valid, from today."""
    pytest.importorskip("c2pa", reason=REASON)
    x509 = pytest.importorskip("cryptography.x509", reason=REASON)
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), make_key(kind)
    authority = _start(x509, "Test Authority", "Test Authority", authority_key, (-2, 60))
    authority = authority.add_extension(x509.BasicConstraints(True, None), critical=True)
    authority = authority.add_extension(_make_usage(x509, signs_certificates=True), critical=True)
    signer = _start(x509, "Test Signer", "Test Authority", key, days)
    signer = signer.add_extension(x509.BasicConstraints(False, None), critical=True)
    signer = signer.add_extension(_make_usage(x509, signs_certificates=False), critical=True)
    signer = signer.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    signer = signer.add_extension(issuer, critical=False)
    pem = [
        certificate.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        for certificate in (signer, authority)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificates(folder / "chain.pem", folder / "key.pem", folder / "authority.pem")
    made.chain.write_bytes(b"".join(pem))
    made.authority.write_bytes(pem[1])
    made.key.write_bytes(write_key(key))
    return made


def make_key(kind: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    makers = {
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    }
    return makers[kind]()


def write_key(key: Any, password: bytes = b"") -> bytes:
    """A key as PEM."""
    from cryptography.hazmat.primitives import serialization

    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection))


def _start(x509: Any, name: str, issuer: str, key: Any, days: tuple[int, int]) -> Any:
    now = datetime.datetime.now(datetime.UTC)
    names = [
        x509.Name(
            [
                x509.NameAttribute(x509.NameOID.COMMON_NAME, text),
                x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Test Studio"),
            ]
        )
        for text in (name, issuer)
    ]
    start, end = (now + datetime.timedelta(days=count) for count in days)
    builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _make_usage(x509: Any, *, signs_certificates: bool) -> Any:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
