"""Where a studio names its certificate and key for signed manifests (C2PA, "Content Credentials")."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional

from fsgan_core.contract.errors import SigningError

CERTIFICATE_VARIABLE = "FSGAN_C2PA_CERTIFICATE"  # PEM file: the signer's certificate, then those that issued it
KEY_VARIABLE = "FSGAN_C2PA_KEY"  # PEM file: the private key of the first certificate
TRUST_VARIABLE = "FSGAN_C2PA_TRUST"  # PEM file: certificates whose signatures `fsgan inspect` calls trusted


@dataclass(frozen=True)
class SigningFiles:
    """The files that a studio signs with.

    Attributes:
        certificate: Path of the certificate chain.
        key: Path of the private key. Its content never appears in messages, logs or metadata.
    """

    certificate: str
    key: str


def read_signing_files() -> Optional[SigningFiles]:
    """Reads from the environment what pictures and movies are signed with; None: they are not signed.

    Raises:
        SigningError: Only one of the two files is named.
    """
    certificate, key = (os.environ.get(name, "").strip() for name in (CERTIFICATE_VARIABLE, KEY_VARIABLE))
    if not certificate and not key:
        return None
    if not certificate or not key:
        missing, given = (CERTIFICATE_VARIABLE, KEY_VARIABLE) if key else (KEY_VARIABLE, CERTIFICATE_VARIABLE)
        raise SigningError(f"{given} is set but {missing} is not; set both to sign, or neither")
    return SigningFiles(certificate, key)


def read_trust_file() -> str:
    """Reads from the environment which file holds the certificates to trust; empty: none is."""
    return os.environ.get(TRUST_VARIABLE, "").strip()
