"""Parameters of consent: the release of the person whose face is shown."""

from __future__ import annotations

from dataclasses import dataclass

from fsgan_core.contract.param_fields import Params, declare_text


@dataclass(frozen=True)
class ConsentParams(Params):
    """Says which release allows this use of a person's face. It goes into every frame's metadata and the report."""

    reference: str = declare_text(
        "",
        "release",
        "Number or name of the signed release that allows this use of the source's face. It is written into the "
        "metadata of every changed frame. If the studio sets FSGAN_REQUIRE_CONSENT=1, nothing renders without it.",
    )
    scope: str = declare_text(
        "",
        "scope",
        "What the release allows, in a few words, such as: sequence 010 of this film. Written into the metadata.",
        when=("reference",),
    )
    expires: str = declare_text(
        "",
        "valid until",
        "The last day on which the release allows a render, as YYYY-MM-DD. Empty: it does not expire.",
        when=("reference",),
    )
