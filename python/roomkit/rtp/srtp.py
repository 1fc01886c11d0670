"""`SRTP`: the keys of an encrypted session, given directly or as SDP carries them (RFC 4568).

    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:<key and salt in base64>|2^48|1:4
             │ │                              │                         │    └ MKI, its octets
             │ suite                          key method                lifetime in packets
             tag

Each end makes a line of its own, with the key that it sends with; the answer repeats the tag and
the suite of the line that it takes. `CryptoLine` is one such line, and `SRTP.from_lines` the pair.

Keys are in no `repr`, no message and no pickle.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NoReturn, TypeAlias, cast, get_args

from roomkit.rtp.checks import number, one_of

__all__ = ["SRTP", "SUITES", "CryptoLine", "SRTPKey", "SRTPSuite", "choose_line"]

SRTPSuite: TypeAlias = Literal[
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_256_CM_HMAC_SHA1_32",
    "AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM",
]

SUITES: Final[tuple[SRTPSuite, ...]] = get_args(SRTPSuite)
"""All there are: RFC 4568 §6.2, RFC 6188 §4 and RFC 7714 §14.1. The first is what everyone has."""

# Octets of the master key and of its salt: 112 bits in counter mode (RFC 3711 §8.2, RFC 6188 §4),
# 96 in GCM (RFC 7714 §14.2).
_LENGTHS: Final[dict[SRTPSuite, tuple[int, int]]] = {
    "AES_CM_128_HMAC_SHA1_80": (16, 14),
    "AES_CM_128_HMAC_SHA1_32": (16, 14),
    "AES_256_CM_HMAC_SHA1_80": (32, 14),
    "AES_256_CM_HMAC_SHA1_32": (32, 14),
    "AEAD_AES_128_GCM": (16, 12),
    "AEAD_AES_256_GCM": (32, 12),
}
# As drafts before RFC 6188 called them, and FreeSWITCH still may.
_ALIASES: Final[dict[str, SRTPSuite]] = {
    "AES_CM_256_HMAC_SHA1_80": "AES_256_CM_HMAC_SHA1_80",
    "AES_CM_256_HMAC_SHA1_32": "AES_256_CM_HMAC_SHA1_32",
}
_LONGEST_MKI: Final = 128  # octets, RFC 4568 §6.1
_LIFETIME: Final = 2**48  # packets of SRTP under one key, RFC 3711 §9.2
_MOST_KEYS: Final = 8  # of one line: as many as the media core holds
_LINE: Final = re.compile(r"(?:a=)?(?:crypto:)?\s*(\d{1,9})\s+(\S+)\s+(\S+)((?:\s+\S+)*)\s*")
# Parameters that would take away what SRTP is for, or that the media core does not have.
_REFUSED: Final = {
    "KDR": "session keys are derived once; no KDR fits",
    "UNENCRYPTED_SRTP": "audio is always encrypted",
    "UNENCRYPTED_SRTCP": "RTCP is always encrypted",
    "UNAUTHENTICATED_SRTP": "packets are always authenticated",
    "FEC_ORDER": "there is no forward error correction",
    "FEC_KEY": "there is no forward error correction",
}


class _Secret:
    """What holds a key: it is not copied into a pickle, and a copy of it is itself."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds keys and cannot be pickled")

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self


@dataclass(frozen=True)
class SRTPKey(_Secret):
    """A master key with its salt. Raises `ValueError` that tells lengths and never the key."""

    suite: SRTPSuite
    """What it is for: one of `SUITES`."""
    key: bytes | str = field(repr=False)
    """Key and salt, one behind the other: bytes, or base64 as SDP and ffmpeg write it. Always bytes
    to be read. 30 octets for AES-128 in counter mode, 46 for AES-256, 28 and 44 for GCM."""
    mki: bytes | None = None
    """The octets that name the key in every packet (RFC 3711 §3.1), 1 to 128; None: it has no name,
    and packets do not carry any."""
    lifetime: int | None = None
    """Packets that may be sent with it, 1 to 2^48; None: as many as RFC 3711 §9.2 allows."""

    def __post_init__(self) -> None:
        given: object = self.suite
        if isinstance(given, str) and given in _ALIASES:
            object.__setattr__(self, "suite", _ALIASES[given])
        one_of(self.suite, "suite", SUITES)
        object.__setattr__(self, "key", _octets(self.key, self.suite))
        if self.mki is not None:
            _check_mki(self.mki)
        if self.lifetime is not None:
            number(self.lifetime, "lifetime", 1, _LIFETIME)

    @classmethod
    def generate(
        cls, suite: SRTPSuite = SUITES[0], *, mki: bytes | None = None, lifetime: int | None = None
    ) -> SRTPKey:
        """A new random one, from the operating system."""
        one_of(suite, "suite", SUITES)
        return cls(suite, secrets.token_bytes(sum(_LENGTHS[suite])), mki, lifetime)

    def native(self) -> dict[str, Any]:
        """In the media core's form."""
        return {
            "suite": self.suite,
            "key": self.key,
            "mki": self.mki,
            "lifetime": self.lifetime,
        }


@dataclass(frozen=True)
class CryptoLine(_Secret):
    """One line `a=crypto` of SDP: the key with which its end sends, or several with an MKI each
    (RFC 4568 §9.1)."""

    tag: int
    """What the answer refers to it by, 0 to 999999999."""
    keys: tuple[SRTPKey, ...]
    """At least one; all of one suite, and with MKIs of one length if there are several."""
    spelling: str = ""
    """The suite as the far end wrote it, for the answer; empty: by its name today."""

    def __post_init__(self) -> None:
        number(self.tag, "crypto tag", 0, 999_999_999)
        put = object.__setattr__  # the dataclass is frozen for everyone else
        keys: object = self.keys
        if not isinstance(keys, (tuple, list)):
            raise ValueError(f"crypto keys: {type(keys).__name__}; a tuple of SRTPKey fits")
        put(self, "keys", tuple(keys))
        _check_set(self.keys, "crypto keys")
        put(self, "spelling", self.spelling or self.suite)

    @property
    def suite(self) -> SRTPSuite:
        """Of all its keys."""
        return self.keys[0].suite

    @classmethod
    def generate(
        cls, suite: SRTPSuite = SUITES[0], *, tag: int = 1, mki: bytes | None = None
    ) -> CryptoLine:
        """One of our own with a new random key, for an offer."""
        return cls(tag, (SRTPKey.generate(suite, mki=mki),))

    def answer(self, *, mki: bytes | None = None) -> CryptoLine:
        """One of our own with a new random key, which takes this one of an offer (RFC 4568
        §7.1.2)."""
        return CryptoLine(self.tag, (SRTPKey.generate(self.suite, mki=mki),), self.spelling)

    @classmethod
    def parse(cls, line: str) -> CryptoLine:
        """Reads `1 AES_CM_128_HMAC_SHA1_80 inline:…`, with or without `a=crypto:` before it.

        Raises `ValueError` that says which part does not fit; key material is never quoted. It is
        raised as well for what the media core does not do: another suite, a key derivation rate,
        session parameters that switch encryption or authentication off.
        """
        if not isinstance(line, str):
            raise ValueError(f"crypto: {type(line).__name__}; a str fits")
        parts = _LINE.fullmatch(line.strip())
        if parts is None:
            raise ValueError(
                "crypto: the line is malformed; '1 AES_CM_128_HMAC_SHA1_80 inline:<key>' fits"
                " (RFC 4568 §9.1)"
            )
        tag, spelling, methods, parameters = parts.groups()
        # Names are compared without case, since some ends write them their own way.
        name = spelling.upper()
        suite = _ALIASES.get(name, cast(SRTPSuite, name))
        if suite not in SUITES:
            raise ValueError(
                f"crypto {tag}: suite {_quoted(spelling)}; one of {', '.join(SUITES)} fits"
            )
        for parameter in parameters.split():
            _check_parameter(parameter, f"crypto {tag}")
        listed = methods.rstrip(";").split(";")
        if len(listed) > _MOST_KEYS:
            raise ValueError(f"crypto {tag}: {len(listed)} keys; at most {_MOST_KEYS} fit")
        keys = tuple(_parse_key(each, suite, f"crypto {tag}") for each in listed)
        return cls(int(tag), keys, spelling)

    def to_sdp(self) -> str:
        """What follows `a=crypto:`. It holds the key: not for logs."""
        return f"{self.tag} {self.spelling} {';'.join(_write_key(key) for key in self.keys)}"


@dataclass(frozen=True, init=False, repr=False)
class SRTP(_Secret):
    """The keys of one session both ways, for the option `srtp`::

        RTPSession(..., srtp=SRTP(send_key=ours, receive_key=theirs))

    With them everything that is sent is encrypted and authenticated, RTCP as well, and what comes
    in is authenticated before anything else sees it: plain RTP is dropped.
    """

    send: SRTPKey
    receive: tuple[SRTPKey, ...]

    def __init__(
        self,
        *,
        send_key: SRTPKey | bytes | str,
        receive_key: SRTPKey | bytes | str | Sequence[SRTPKey],
        suite: SRTPSuite = SUITES[0],
        mki: bytes | None = None,
    ) -> None:
        """
        Args:
            send_key: What we send with: an `SRTPKey`, or key and salt as bytes or base64.
            receive_key: What the far end sends with; several, if they have an MKI each.
            suite: Of keys that are not an `SRTPKey`.
            mki: Of keys that are not an `SRTPKey`: the octets that name them in packets.

        Raises `ValueError` for wrong lengths, with the suite, the length expected and that given,
        and for one key both ways: every packet of ours would then be as good as one of the far
        end's when somebody sends it back.
        """
        put = object.__setattr__  # the dataclass is frozen for everyone else
        put(self, "send", _key(send_key, suite, mki, "send_key"))
        if isinstance(receive_key, Sequence) and not isinstance(receive_key, (bytes, str)):
            receive = tuple(_key(each, suite, mki, "receive_key") for each in receive_key)
        else:
            receive = (_key(receive_key, suite, mki, "receive_key"),)
        put(self, "receive", receive)
        _check_set(receive, "receive_key")
        if any(key.key == self.send.key for key in receive):
            raise ValueError(
                "receive_key: it is also send_key, so that our own packets, sent back, would pass"
                " for the far end's; two different keys fit (RFC 4568 §6.1)"
            )

    @classmethod
    def from_lines(cls, local: CryptoLine | str, remote: CryptoLine | str) -> SRTP:
        """From the two lines `a=crypto` that offer and answer agreed on: ours and the far end's.

        Raises `ValueError` for lines of two suites or tags (RFC 4568 §7.1.3).
        """
        ours = local if isinstance(local, CryptoLine) else CryptoLine.parse(local)
        theirs = remote if isinstance(remote, CryptoLine) else CryptoLine.parse(remote)
        if (ours.tag, ours.suite) != (theirs.tag, theirs.suite):
            raise ValueError(
                f"crypto: {ours.tag} {ours.suite} here and {theirs.tag} {theirs.suite} there;"
                " an answer has the tag and the suite of the line it takes (RFC 4568 §7.1.3)"
            )
        return cls(send_key=ours.keys[0], receive_key=theirs.keys)

    @property
    def suite(self) -> SRTPSuite:
        """Of what is sent."""
        return self.send.suite

    def __repr__(self) -> str:
        return f"SRTP(suite={self.suite!r})"

    def native(self) -> dict[str, Any]:
        """In the media core's form."""
        return {"send": self.send.native(), "receive": [key.native() for key in self.receive]}


def choose_line(lines: Iterable[str], suites: Sequence[SRTPSuite] = SUITES) -> CryptoLine:
    """The first line of an offer that can be taken, as the offerer ordered them (RFC 4568 §7.1.2).

    `suites`: those that are welcome. Raises `ValueError` that says why each line cannot be taken.
    """
    given: object = lines
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ValueError(f"lines: {type(given).__name__}; a list of str fits")
    welcome: object = suites
    if not isinstance(welcome, (tuple, list)):
        raise ValueError(f"suites: {type(welcome).__name__}; a list of {', '.join(SUITES)} fits")
    for suite in suites:
        one_of(suite, "suites", SUITES)
    reasons = []
    for line in lines:
        try:
            parsed = CryptoLine.parse(line)
        except ValueError as error:
            reasons.append(str(error))
            continue
        if parsed.suite in suites:
            return parsed
        reasons.append(f"crypto {parsed.tag}: {parsed.suite} is not one of {tuple(suites)}")
    raise ValueError("; ".join(reasons) or "crypto: no line is there; at least one fits")


def _octets(key: object, suite: SRTPSuite) -> bytes:
    """Key and salt as bytes of the right length."""
    if isinstance(key, str):
        key = _unbase64(key)
        if key is None:
            raise ValueError(f"key: it is not base64; {_expected(suite)} in base64 fits")
    if not isinstance(key, (bytes, bytearray, memoryview)):
        raise ValueError(f"key: {type(key).__name__}; {_expected(suite)} fits")
    octets = bytes(key)
    if len(octets) != sum(_LENGTHS[suite]):
        raise ValueError(f"key: {len(octets)} bytes; {_expected(suite)} fits")
    return octets


def _expected(suite: SRTPSuite) -> str:
    key, salt = _LENGTHS[suite]
    return f"for {suite} {key + salt} bytes, {key} of key and {salt} of salt,"


def _unbase64(text: str) -> bytes | None:
    """Padding may be missing: rtpengine leaves it out."""
    bare = text.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _check_mki(mki: object) -> None:
    if not isinstance(mki, bytes):
        raise ValueError(f"mki: {type(mki).__name__}; bytes, or None, fit")
    if not 1 <= len(mki) <= _LONGEST_MKI:
        raise ValueError(f"mki: {len(mki)} bytes; 1 to {_LONGEST_MKI} fit")


def _key(given: object, suite: SRTPSuite, mki: bytes | None, name: str) -> SRTPKey:
    if isinstance(given, SRTPKey):
        return given
    try:
        return SRTPKey(suite, cast(bytes, given), mki)
    except ValueError as error:
        if str(error).startswith("key: "):
            raise ValueError(f"{name}: {str(error)[5:]}") from None
        raise


def _check_set(keys: Sequence[SRTPKey], name: str) -> None:
    """Several keys of one direction are told apart by MKIs of one length (RFC 4568 §6.1)."""
    if not 1 <= len(keys) <= _MOST_KEYS:
        raise ValueError(f"{name}: {len(keys)} of them; 1 to {_MOST_KEYS} fit")
    if not all(isinstance(key, SRTPKey) for key in keys):
        raise ValueError(f"{name}: SRTPKey objects fit")
    if len({key.suite for key in keys}) > 1:
        raise ValueError(f"{name}: keys of several suites; those of one suite fit")
    if len(keys) > 1:
        names = [key.mki for key in keys]
        if (
            None in names
            or len(set(names)) < len(names)
            or len(set(map(len, filter(None, names)))) > 1
        ):
            raise ValueError(
                f"{name}: {len(keys)} keys; an MKI for each fits, all of one length and none twice"
                " (RFC 4568 §6.1)"
            )


def _parse_key(text: str, suite: SRTPSuite, where: str) -> SRTPKey:
    method, colon, rest = text.partition(":")
    if method.lower() != "inline" or not colon:
        # What stands there may be a key with its method forgotten.
        raise ValueError(f"{where}: another key method than 'inline:'; that alone fits")
    material, *more = rest.split("|")
    octets = _unbase64(material)
    if octets is None:
        raise ValueError(f"{where}: the key is not base64; {_expected(suite)} in base64 fits")
    lifetime = mki = None
    # The lifetime may be left out, the MKI too; the colon tells which one it is (RFC 4568 §9.1).
    if more and ":" not in more[0]:
        lifetime = _parse_lifetime(more.pop(0), where)
    if more:
        mki = _parse_mki(more.pop(0), where)
    if more:
        raise ValueError(f"{where}: more behind the MKI; 'inline:<key>|2^48|1:4' fits")
    try:
        return SRTPKey(suite, octets, mki, lifetime)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _parse_lifetime(text: str, where: str) -> int:
    power = re.fullmatch(r"2\^(\d{1,2})", text)
    if power is not None:
        packets = 1 << int(power[1])
    elif re.fullmatch(r"\d{1,15}", text):
        packets = int(text)
    else:
        raise ValueError(f"{where}: lifetime {_quoted(text)}; packets such as 2^31 or 1048576 fit")
    if not 1 <= packets <= _LIFETIME:
        raise ValueError(f"{where}: lifetime {_quoted(text)}; 1 to 2^48 packets fit")
    return packets


def _parse_mki(text: str, where: str) -> bytes:
    parts = re.fullmatch(r"(\d{1,310}):(\d{1,3})", text)
    if parts is None:
        raise ValueError(f"{where}: MKI {_quoted(text)}; a number and its octets, '1:4', fit")
    value, octets = int(parts[1]), int(parts[2])
    if not 1 <= octets <= _LONGEST_MKI or value >= 256**octets:
        raise ValueError(
            f"{where}: MKI {_quoted(text)}; 1 to {_LONGEST_MKI} octets that hold the number fit"
        )
    return value.to_bytes(octets, "big")


def _check_parameter(text: str, where: str) -> None:
    name, _, value = text.partition("=")
    if name in _REFUSED:
        raise ValueError(f"{where}: {name}; {_REFUSED[name]}")
    if name == "WSH":
        # A hint of the replay window that is wanted; ours is 128 packets, whatever is asked for.
        if not re.fullmatch(r"\d{1,9}", value) or int(value) < 64:
            raise ValueError(f"{where}: WSH {_quoted(value)}; 64 or more fits (RFC 4568 §6.3.7)")
    elif not name.startswith("-"):
        # With a hyphen before it, it may be ignored (RFC 4568 §6.3.8).
        # In capitals as all are written (RFC 4568 §9.2); else it may be half of a key.
        said = f" {name!r}" if re.fullmatch(r"[A-Z_]{1,19}", name) else ""
        raise ValueError(f"{where}: unknown session parameter{said}; none fits")


def _write_key(key: SRTPKey) -> str:
    assert isinstance(key.key, bytes)
    text = f"inline:{base64.b64encode(key.key).decode()}"
    if key.lifetime is not None:
        power = key.lifetime.bit_length() - 1
        text += f"|2^{power}" if key.lifetime == 2**power else f"|{key.lifetime}"
    if key.mki is not None:
        text += f"|{int.from_bytes(key.mki, 'big')}:{len(key.mki)}"
    return text


def _quoted(text: str) -> str:
    """A piece of the line. No key is that short; a longer piece may be one out of its place, or a
    part of one."""
    fits = len(text) <= 24 and re.search("[A-Za-z0-9+/]{20}", text) is None
    return repr(text) if fits else f"of {len(text)} characters"
