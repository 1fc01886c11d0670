"""Keys in offers and answers: SDES, the lines `a=crypto` (RFC 4568)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from roomkit.rtp.sdp.errors import SDPError
from roomkit.rtp.srtp import SRTP, CryptoLine, SRTPSuite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roomkit.rtp.options import SDPSecurity
    from roomkit.rtp.sdp.media import Media
    from roomkit.rtp.sdp.parts import Attribute

__all__ = ["answered", "offered", "take"]

_OFFERED: Final[tuple[SRTPSuite, ...]] = (
    "AES_CM_128_HMAC_SHA1_80",  # what everyone has
    "AES_256_CM_HMAC_SHA1_80",
    "AEAD_AES_256_GCM",
)

_MOST_TOLD: Final = 3  # lines that an error gives the reasons of


def take(
    media: Media, security: SDPSecurity, now: SRTP | None
) -> tuple[tuple[CryptoLine, ...], SRTP | None]:
    """Our line in the answer to an offer, if any, and the keys that follow.

    `now`: those of the call so far. Our own key stays while the suite does: the far end would have
    nothing from another one, and packets on their way would be lost.

    Raises `SDPError` where keys are a must, and there are none that fit.
    """
    secure = _is_secure(media)
    lines = media.named("crypto")
    if security == "off":
        if secure:
            raise media.error("it wants encryption, and sdp_security is 'off'")
        lines = ()
    try:
        theirs = _chosen(lines) if lines else None
    except SDPError:
        if secure or security == "require" or now is not None:
            raise
        theirs = None  # best effort: it takes plain RTP as well
    if theirs is not None:
        ours = theirs.answer()
        if now is not None and now.suite == theirs.suite:
            ours = CryptoLine(theirs.tag, (now.send,), theirs.spelling)
        try:
            return (ours,), SRTP.from_lines(ours, theirs)
        except ValueError as error:  # our own key, sent back
            raise media.error(str(error)) from None
    if secure:
        raise media.error("no line a=crypto brings a key; keys by other means are not supported")
    if security == "require":
        raise media.error("it brings no keys, and sdp_security is 'require'")
    if now is not None:
        raise media.error("it brings no keys, and a call that is encrypted stays so")
    return (), None


def offered(
    security: SDPSecurity, now: SRTP | None, protocol: str | None
) -> tuple[tuple[CryptoLine, ...], str]:
    """Our lines in an offer, and its profile. `protocol`: that of the call so far."""
    if now is not None:
        return (CryptoLine(1, (now.send,)),), protocol or "RTP/SAVP"
    lines: tuple[CryptoLine, ...] = ()
    if security in ("offer", "require"):
        lines = tuple(CryptoLine.generate(suite, tag=tag) for tag, suite in enumerate(_OFFERED, 1))
    return lines, "RTP/SAVP" if security == "require" else protocol or "RTP/AVP"


def answered(media: Media, ours: tuple[CryptoLine, ...], *, must: bool) -> SRTP | None:
    """The keys that an answer to our lines brings; None: it takes plain RTP, if it need not bring
    any.

    Raises `SDPError` for those that do not belong to a line of ours.
    """
    secure = _is_secure(media)
    if secure and not ours:
        # It would send what we cannot read, and not read what we send.
        raise media.error("it wants encryption, and the offer had no keys; its profile fits")
    lines = media.named("crypto") if ours else ()
    if not lines:
        if must or secure:
            raise media.error("no line a=crypto brings a key, which the offer asked for")
        return None
    line = lines[0]
    try:
        theirs = CryptoLine.parse(line.value or "")
    except ValueError as error:
        raise line.error(str(error)) from None
    for each in ours:
        if each.tag == theirs.tag:
            try:
                return SRTP.from_lines(each, theirs)
            except ValueError as error:
                raise line.error(str(error)) from None
    tags = ", ".join(str(each.tag) for each in ours)
    raise line.error(f"tag {theirs.tag} was not offered; {tags} fits (RFC 4568 §7.1.3)")


def _chosen(lines: Sequence[Attribute]) -> CryptoLine:
    """The first line of an offer that can be taken (RFC 4568 §7.1.2).

    Raises `SDPError` of the first where there is none, with the reasons of some.
    """
    reasons: list[str] = []
    for line in lines:
        try:
            return CryptoLine.parse(line.value or "")
        except ValueError as error:
            where = "" if not reasons or line.line_number is None else f"line {line.line_number}: "
            if len(reasons) <= _MOST_TOLD:
                reasons.append(f"{where}{error}")
    if len(reasons) > _MOST_TOLD:
        reasons[_MOST_TOLD:] = [f"{len(lines) - _MOST_TOLD} more"]
    raise lines[0].error("; ".join(reasons))


def _is_secure(media: Media) -> bool:
    return "SAVP" in media.protocol.upper()
