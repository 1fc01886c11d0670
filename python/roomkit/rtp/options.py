"""`RTPOptions`: every option of a session, checked once, in one place.

`RTPSession` and `RTPVoiceBackend` take them as keyword arguments: the published six by name, all
others as `RTPExtra`. An option is written twice, since no type can be made of another: its type in
`RTPExtra`; in `RTPOptions` its default, its meaning and its `Rule`. All else follows from that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, TypeAlias, TypedDict

from roomkit.errors import shown
from roomkit.rtp.addresses import Address, check_address, is_numeric
from roomkit.rtp.checks import number
from roomkit.rtp.codecs import DYNAMIC_TYPES, STATIC_NOISE, Codec, codecs_for
from roomkit.rtp.presets import preset_options
from roomkit.rtp.rules import choice, rule, rule_of, span, switch, whole
from roomkit.rtp.srtp import SRTP

__all__ = [
    "CHANGEABLE",
    "NEGOTIATED",
    "DTMFMethod",
    "MediaDirection",
    "RTCPMode",
    "RTPCallOptions",
    "RTPExtra",
    "RTPOptions",
    "RTPWishes",
    "SDPSecurity",
    "SilenceFill",
    "SourcePolicy",
    "check_names",
]

SourcePolicy: TypeAlias = Literal["host", "strict", "learn", "follow"]
RTCPMode: TypeAlias = Literal["separate", "mux", "off"]
SilenceFill: TypeAlias = Literal["none", "silence", "comfort_noise"]
DTMFMethod: TypeAlias = Literal["rfc4733", "inband"]
SDPSecurity: TypeAlias = Literal["accept", "offer", "require", "off"]
MediaDirection: TypeAlias = Literal["sendrecv", "sendonly", "recvonly", "inactive"]

_EVENT_TYPE: Final = 101
_PTIMES: Final = (10, 20, 30, 40, 50, 60)
_SEVERAL_TYPES: Final = ("dtmf_types", "comfort_noise_types")
"""Of these, more than one may count at a clock."""
_TYPES_BY_CLOCK: Final = (
    "dtmf_types",
    "dtmf_send_types",
    "comfort_noise_types",
    "comfort_noise_send_types",
)
_RATES: Final = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000)


class RTPExtra(TypedDict, total=False):
    """The options beside the published six, as keyword arguments; see `RTPOptions`."""

    preset: str | None
    codecs: Sequence[Codec | str] | None
    dtmf_types: Mapping[int, int | Sequence[int]] | None
    dtmf_send_types: Mapping[int, int] | None
    dtmf_inband: bool
    dtmf_method: DTMFMethod
    dtmf_beside_audio: bool
    comfort_noise_types: Mapping[int, int | Sequence[int]] | None
    comfort_noise_send_types: Mapping[int, int] | None
    comfort_noise_level: int
    fill: SilenceFill
    keepalive: float | None
    ptime_ms: int
    sample_rate: int | None
    channels: int | None
    jitter_ms: int
    lead_ms: int
    inbound_ms: int
    source_policy: SourcePolicy
    remote_ssrc: int | None
    symmetric: bool | None
    learn_window: float | None
    probation: int
    source_rate: int
    session_rate: int
    port_range: tuple[int, int] | None
    port_quarantine: float
    dscp: int
    rtcp: RTCPMode
    rtcp_xr: bool
    remote_rtcp_addr: Address | None
    advertised_host: str | None
    sdp_security: SDPSecurity
    rtp_timeout: float | None
    rtp_timeout_on_hold: float | None
    rtcp_timeout: float | None
    direction: MediaDirection
    srtp: SRTP | None


class RTPWishes(RTPExtra, total=False):
    """The options of a session whose peer is told by SDP: what that decides is a wish here."""

    local_addr: Address
    dtmf_payload_type: int | None
    rtcp_interval: float


class RTPCallOptions(RTPExtra, total=False):
    """The options of one call, for `RoomKit.join` and `RTPVoiceBackend.connect`. They override the
    backend's; see `RTPOptions`."""

    local_addr: Address
    remote_addr: Address | None
    payload_type: int
    clock_rate: int
    dtmf_payload_type: int | None
    rtcp_interval: float


def check_names(given: Iterable[str]) -> None:
    """Raises `TypeError` for a name that no option has, and tells the one that is near."""
    for name in given:
        if name not in RTPOptions.__dataclass_fields__:
            from difflib import get_close_matches

            near = get_close_matches(name, RTPOptions.__dataclass_fields__, 1)
            raise TypeError(f"{name}: there is no such option" + "".join(f"; {n} is" for n in near))


@dataclass(frozen=True, kw_only=True)
class RTPOptions:
    """Options of a session. The defaults alone make a good call.

    Raises one `ValueError` that names the parameter, the value and what fits.
    """

    local_addr: Address = field(default=("0.0.0.0", 0), metadata=rule())
    """(host, port) to bind. Port 0: a free even port is taken."""
    remote_addr: Address | None = field(default=None, metadata=rule(changes=True, agreed=True))
    """(host, port) to send to; None: told later, or learned (`source_policy="learn"`)."""
    payload_type: int = field(default=0, metadata=rule(agreed=True))
    """0 PCMU, 8 PCMA, 9 G.722, 10 and 11 L16 at 44.1 kHz (RFC 3551 §6); 96 to 127, or
    35 to 63: Opus at a `clock_rate` of 48000, L16 mono at any other."""
    clock_rate: int = field(default=8000, metadata=rule(agreed=True))
    """RTP ticks per second of `payload_type`, in Hz. G.722 has 8000 (RFC 3551 §4.5.2), which may
    also be said as 16000."""
    dtmf_payload_type: int | None = field(default=_EVENT_TYPE, metadata=rule(agreed=True))
    """Of RFC 4733 events, both ways; None: no digits are sent or received."""
    rtcp_interval: float = field(default=5.0, metadata=rule(span(3600), core=True))
    """Seconds between RTCP reports: the deterministic base of RFC 3550 §6.3.1, at most 3600."""
    preset: str | None = field(default=None, metadata=rule())
    """The kind of a peer that sends no SDP, such as `"asterisk-external-media"`: its codecs under
    its payload types, and its digits, where the options say nothing of them. `payload_type` then
    picks the one that is sent. `roomkit.rtp.presets.PRESETS` has them all."""
    codecs: Sequence[Codec | str] | None = field(
        default=None, metadata=rule(changes=True, agreed=True)
    )
    """In place of `payload_type` and `clock_rate`: the first is sent, all are received."""
    dtmf_types: Mapping[int, int | Sequence[int]] | None = field(
        default=None, metadata=rule(changes=True, agreed=True)
    )
    """Payload types of RFC 4733 events by the RTP clock they count at, such as `{8000: 101,
    48000: 102}`, in place of `dtmf_payload_type`, whose clock is that of the codec that is sent.
    Where the far end may use several at one clock, all of them: `{8000: (101, 96)}`."""
    dtmf_send_types: Mapping[int, int] | None = field(
        default=None, metadata=rule(changes=True, agreed=True)
    )
    """The same of those that the far end receives, where its numbers are others (RFC 3264 §5.1)."""
    comfort_noise_types: Mapping[int, int | Sequence[int]] | None = field(
        default=None, metadata=rule(changes=True)
    )
    """Payload types of comfort noise that are understood, one or several, by the RTP clock they
    count at. None: the static `{8000: 13}` (RFC 3389 §4); `{}`: none."""
    comfort_noise_send_types: Mapping[int, int] | None = field(
        default=None, metadata=rule(changes=True, agreed=True)
    )
    """The same of those that the far end understands. None: those of `comfort_noise_types`."""
    comfort_noise_level: int = field(
        default=70, metadata=rule(whole(0, 127), changes=True, core=True)
    )
    """Of the noise that `fill="comfort_noise"` describes, in -dBov, 0 to 127. 70 is about as quiet
    as an idle telephone line."""
    fill: SilenceFill = field(
        default="none", metadata=rule(choice(SilenceFill), changes=True, core=True)
    )
    """What is sent while nothing is played, from the beginning on. `"none"`: nothing.
    `"silence"`: silence, coded like speech, for gateways that wait for media or have timers for it.
    `"comfort_noise"`: a description of noise where speech ends and every 200 ms (RFC 3389); silence
    where `comfort_noise_send_types` has none at the clock of the codec. None of it is playback."""
    keepalive: float | None = field(
        default=15.0, metadata=rule(span(3600, least=1, or_none=True), changes=True, core=True)
    )
    """Seconds in which nothing left from the RTP port after which a keep-alive does, 1 to 3600;
    None: none. RFC 6263 asks for 15, since NATs may forget a UDP flow after 30."""
    dtmf_inband: bool = field(default=False, metadata=rule(switch(), changes=True, core=True))
    """Whether digits are also listened for in the audio (ITU-T Q.24). One that is signalled as well
    is told once."""
    dtmf_method: DTMFMethod = field(
        default="rfc4733", metadata=rule(choice(DTMFMethod), changes=True)
    )
    """How `send_dtmf` sends digits: `"rfc4733"`, as events; `"inband"`, as tones in the audio, for
    peers that take no events."""
    dtmf_beside_audio: bool = field(default=False, metadata=rule(switch(), changes=True, core=True))
    """Whether audio goes on beside the events of a digit. Else each takes its place until its last
    end packet, as with gateways: what is played waits meanwhile, live audio passes unsent. With
    audio beside them, rtpengine's transcoder makes three presses of one."""
    ptime_ms: int = field(
        default=20, metadata=rule(choice(_PTIMES), changes=True, agreed=True, core=True)
    )
    """Audio per packet sent, 10 to 60 ms in tens. Packets of any length are received."""
    sample_rate: int | None = field(default=None, metadata=rule(choice(_RATES, or_none=True)))
    """Of the frames delivered, in Hz; None: the codec's. The core resamples."""
    channels: int | None = field(default=None, metadata=rule(whole(1, 2, or_none=True)))
    """Of the frames delivered, 1 or 2; None: the codec's. The core mixes."""
    jitter_ms: int = field(default=60, metadata=rule(whole(0, 500), core=True))
    """Delay that evens out the network's jitter, 0 to 500 ms."""
    lead_ms: int = field(default=1000, metadata=rule(whole(100, 60_000), core=True))
    """Audio that may wait in the core to be sent, 100 to 60000 ms: how far a source is read
    ahead."""
    inbound_ms: int = field(default=2000, metadata=rule(whole(100, 60_000), core=True))
    """Audio that may wait for Python to take it, 100 to 60000 ms; then the newest is dropped."""
    source_policy: SourcePolicy = field(
        default="host", metadata=rule(choice(SourcePolicy), core=True)
    )
    """Who is heard. `"host"`: the host of `remote_addr`, from any port; we send to `remote_addr`.
    `"strict"`: exactly `remote_addr`. `"learn"`: the first source that proves itself by a run of
    packets, and we send to where it speaks from (symmetric RTP, RFC 4961). `"follow"`: as
    `"learn"`, and that source is then followed to any address on proof that it is the same, while
    it talks. Once a source has proved itself, it alone is heard."""
    remote_ssrc: int | None = field(
        default=None, metadata=rule(whole(0, 0xFFFF_FFFF, or_none=True), core=True)
    )
    """The only SSRC that is heard, where signalling told it."""
    symmetric: bool | None = field(default=None, metadata=rule(switch(or_none=True), core=True))
    """Whether our packets go to where the trusted source speaks from rather than to `remote_addr`
    (RFC 4961); None: as `source_policy` says above."""
    learn_window: float | None = field(
        default=None, metadata=rule(span(86_400, or_none=True), core=True)
    )
    """Seconds from the beginning, or from `retarget`, in which another address than `remote_addr`
    may be learned, at most 86400; None: always."""
    probation: int = field(default=5, metadata=rule(whole(2, 50), core=True))
    """Consecutive packets with which another address than `remote_addr` proves itself, 2 to 50."""
    source_rate: int = field(default=400, metadata=rule(whole(50, 100_000), core=True))
    """Packets a second that are taken of one source, 50 to 100000: four times those of 10 ms."""
    session_rate: int = field(default=800, metadata=rule(whole(50, 100_000), core=True))
    """Packets a second that are taken of all sources that follow one another, 50 to 100000."""
    port_range: tuple[int, int] | None = field(default=None, metadata=rule(core=True))
    """(low, high), both included: where a local port 0 is taken from, an even one with the next
    beside it for RTCP; None: any free one. All taken: `PortsExhaustedError`."""
    port_quarantine: float = field(default=5.0, metadata=rule(span(600, or_zero=True), core=True))
    """Seconds that a port rests after this session, at most 600, before port 0 of another becomes
    it: what a far end that has not heard of the end still sends must not reach the next call."""
    dscp: int = field(default=46, metadata=rule(whole(0, 63), core=True))
    """The code point that RTP and RTCP are sent with, 0 to 63 (RFC 2474): 46 is EF, for voice
    (RFC 4594 §4.1); 0 leaves it to the system."""
    rtcp: RTCPMode = field(
        default="separate", metadata=rule(choice(RTCPMode), changes=True, agreed=True, core=True)
    )
    """`"separate"`: RTP port + 1 (RFC 3550 §11); `"mux"`: the RTP port (RFC 5761); `"off"`."""
    rtcp_xr: bool = field(default=True, metadata=rule(switch(), core=True))
    """Whether our RTCP also tells how the far end's voice arrives: VoIP metrics, RFC 3611 §4.7."""
    remote_rtcp_addr: Address | None = field(default=None, metadata=rule(changes=True, agreed=True))
    """(host, port) of the far end's RTCP where it is not on its RTP port + 1 (RFC 3605)."""
    advertised_host: str | None = field(default=None, metadata=rule())
    """The numeric address that SDP tells the far end, where a NAT gives this host another; None:
    the one that packets to it leave from."""
    sdp_security: SDPSecurity = field(default="accept", metadata=rule(choice(SDPSecurity)))
    """Encryption where SDP decides (RFC 4568). `"accept"`: where the far end offers keys;
    `"offer"`: our offers have keys too, and plain RTP does as well; `"require"`: no call without;
    `"off"`: none with."""
    rtp_timeout: float | None = field(
        default=30.0, metadata=rule(span(86_400, or_none=True), changes=True, core=True)
    )
    """Seconds without RTP after which the peer is reported gone, at most 86400; None: never."""
    rtp_timeout_on_hold: float | None = field(
        default=300.0, metadata=rule(span(86_400, or_none=True), changes=True, core=True)
    )
    """The same while the call is on hold, where RTCP counts too: nothing else need come then."""
    rtcp_timeout: float | None = field(
        default=None, metadata=rule(span(86_400, or_none=True), changes=True, core=True)
    )
    """Seconds without RTCP, once some came, after which the peer is reported gone, at most 86400.
    None: never, since many gateways stop their RTCP, or pass on none, while the audio goes on."""

    direction: MediaDirection = field(
        default="sendrecv",
        metadata=rule(choice(MediaDirection), changes=True, agreed=True, core=True),
    )
    """Who sends audio, seen from here (RFC 8866 §6.7). While it is `"recvonly"` or `"inactive"`,
    what is to be played waits; while it is `"sendonly"` or `"inactive"`, what comes is unheard."""

    srtp: SRTP | None = field(default=None, metadata=rule(changes=True, agreed=True))
    """The keys that RTP and RTCP are encrypted and authenticated with; None: they are plain. A
    receive key is one call's alone: no other live session of the process may have it."""

    active: tuple[Codec, ...] = field(init=False, repr=False, compare=False)
    """The codecs that follow from the above; the first is sent."""

    def __post_init__(self) -> None:
        put = object.__setattr__  # the dataclass is frozen for everyone else
        for each in _OPTIONS:
            put(self, each.name, rule_of(each).check(getattr(self, each.name), each.name))
        put(self, "local_addr", check_address(self.local_addr, "local_addr", free_port=True))
        if self.remote_addr is not None:
            put(self, "remote_addr", check_address(self.remote_addr, "remote_addr"))
        if self.preset is not None:
            picked = self.payload_type if self.codecs is None else 0
            self._fill_in(preset_options(self.preset, picked))
        active = codecs_for(self.payload_type, self.clock_rate, self.codecs)
        put(self, "active", active)
        if self.codecs is not None:
            put(self, "codecs", active)
            put(self, "payload_type", active[0].payload_type)
        put(self, "clock_rate", active[0].clock_rate)
        for name in _TYPES_BY_CLOCK:
            put(self, name, _checked_types(getattr(self, name), name))
        self._check_dtmf()
        self._check_noise()
        if self.sample_rate is not None:
            self._check_frames(self.sample_rate, "sample_rate", f"{self.sample_rate} Hz")
        for codec in active:
            self._check_frames(codec.sample_rate, "ptime_ms", codec.rtpmap)
        self._check_ports()
        if self.rtcp == "off" and self.rtcp_timeout is not None:
            raise ValueError(
                f"rtcp_timeout: {self.rtcp_timeout:g} contradicts rtcp='off', which takes no"
                " reports; None fits"
            )
        if self.srtp is not None and not isinstance(self.srtp, SRTP):
            # What stands there instead may well be a key.
            raise ValueError(f"srtp: {type(self.srtp).__name__}; an SRTP, or None, fits")
        if self.remote_rtcp_addr is not None:
            address = check_address(self.remote_rtcp_addr, "remote_rtcp_addr")
            put(self, "remote_rtcp_addr", address)
        if self.advertised_host is not None:
            host, _ = check_address((self.advertised_host, 1), "advertised_host")
            if not is_numeric(host):
                raise ValueError(f"advertised_host: {host!r}; a numeric address fits")
            put(self, "advertised_host", host)
        if self.rtcp == "separate":
            for name in ("local_addr", "remote_addr"):
                address = getattr(self, name)
                if address is not None and address[1] == 65535:
                    raise ValueError(
                        f"{name}: port 65535 leaves no port + 1 for RTCP (RFC 3550 §11);"
                        " 1 to 65534 fits, or rtcp='mux'"
                    )

    @property
    def codec(self) -> Codec:
        """The codec that is sent."""
        return self.active[0]

    @property
    def learns(self) -> bool:
        """Whether the peer may be learned, without a `remote_addr`."""
        return self.source_policy in ("learn", "follow")

    @property
    def frame_rate(self) -> int:
        """Sample rate of the frames delivered, in Hz."""
        return self.sample_rate or self.codec.sample_rate

    @property
    def frame_channels(self) -> int:
        """Channels of the frames delivered."""
        return self.channels or self.codec.audio_channels

    @property
    def events(self) -> Mapping[int, int]:
        """Payload types of the telephone events that are received, by RTP clock, the first of
        each; empty for none."""
        if self.dtmf_types is not None:
            return _first_of_each(self.dtmf_types)
        number = self.dtmf_payload_type
        return {} if number is None else {self.codec.clock_rate: number}

    @property
    def noise(self) -> Mapping[int, int]:
        """Payload types of comfort noise that are understood, by RTP clock, the first of each;
        empty for none."""
        types = self.comfort_noise_types
        return {8000: 13} if types is None else _first_of_each(types)

    @property
    def sent_events(self) -> Mapping[int, int]:
        """Payload types of the telephone events that are sent, by RTP clock; empty for none."""
        return self.events if self.dtmf_send_types is None else self.dtmf_send_types

    @property
    def sent_noise(self) -> Mapping[int, int]:
        """Payload types of comfort noise that the far end understands, by RTP clock."""
        sent = self.comfort_noise_send_types
        return self.noise if sent is None else sent

    @property
    def sends_events(self) -> bool:
        """Whether the far end takes telephone events."""
        return bool(self.sent_events)

    @property
    def packet_octets(self) -> int:
        """Of RTP header and payload of what is sent, 0 for Opus, whose packets always fit."""
        codec = self.codec
        if codec.name == "opus":
            return 0
        width = 2 * codec.channels * codec.sample_rate if codec.name == "L16" else 8000
        return 12 + width * self.ptime_ms // 1000

    def native(
        self, local: Address, remote: Address | None, rtcp: Address | None, *, shared: bool
    ) -> dict[str, Any]:
        """In the media core's form. The addresses are numeric, `rtcp` is that of
        `remote_rtcp_addr`; `shared`: sessions may share `local`."""
        same = {each.name: getattr(self, each.name) for each in _OPTIONS if rule_of(each).core}
        return {
            **same,
            "local": local,
            "remote": remote,
            "remote_rtcp": rtcp,
            "shared": shared,
            "codecs": [codec.native(self.frame_rate) for codec in self.active],
            "send_codec": self.codec.native_sent(),
            "receive_events": self._heard_events(),
            "send_events": [(number, clock) for clock, number in self.sent_events.items()],
            "receive_noise": self._heard_noise(),
            "send_noise": [(number, clock) for clock, number in self.sent_noise.items()],
            "srtp": None if self.srtp is None else self.srtp.native(),
            "sample_rate": self.frame_rate,
            "channels": self.frame_channels,
        }

    def _heard_events(self) -> list[tuple[int, int]]:
        """All payload types of events that are received, each with its clock."""
        return _pairs(self.events if self.dtmf_types is None else self.dtmf_types)

    def _heard_noise(self) -> list[tuple[int, int]]:
        """The same of comfort noise."""
        return _pairs(self.noise if self.comfort_noise_types is None else self.comfort_noise_types)

    def _check_ports(self) -> None:
        if self.port_range is None:
            return
        pair: object = self.port_range
        fits = "a (low, high) pair of ports, 1 to 65535, fits"
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"port_range: {shown(pair)}; {fits}")
        low = number(pair[0], "port_range: low", 1, 65535)
        high = number(pair[1], "port_range: high", low, 65535)
        object.__setattr__(self, "port_range", (low, high))
        if self.local_addr[1] != 0:
            raise ValueError(
                f"port_range: {pair!r} beside local_addr port {self.local_addr[1]};"
                " one of the two fits, a range with port 0"
            )
        if low + low % 2 + (self.rtcp == "separate") > high:
            raise ValueError(
                f"port_range: {pair!r} holds no even port"
                f"{' with the next one for RTCP' if self.rtcp == 'separate' else ''};"
                " a wider range fits"
            )

    def _fill_in(self, options: Mapping[str, Any]) -> None:
        """Options of a preset, where the program left the default, which is None for all of them:
        so what it says itself is always told apart. Of digits it may also have said the type."""
        types_open = self.dtmf_types is None
        for name, value in options.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if types_open and self.dtmf_types is not None and self.dtmf_payload_type != _EVENT_TYPE:
            number = self.dtmf_payload_type
            said = {} if number is None else dict.fromkeys(self.dtmf_types, number)
            object.__setattr__(self, "dtmf_types", said)

    def _check_dtmf(self) -> None:
        if self.dtmf_payload_type is not None:
            number(self.dtmf_payload_type, "dtmf_payload_type", 0, 127)
        name = "dtmf_payload_type" if self.dtmf_types is None else "dtmf_types"
        taken: dict[int, str] = {codec.payload_type: codec.name for codec in self.active}
        for event, _ in self._heard_events():
            _event_type(event, name)
            if event in taken:
                raise ValueError(
                    f"{name}: {event} is also the payload type of {taken[event]};"
                    " one that nothing else has fits"
                )
            taken[event] = "other telephone events"
        sent = self.dtmf_send_types or {}
        for event in sent.values():
            _event_type(event, "dtmf_send_types")
            if event == self.codec.wire_type:
                raise ValueError(
                    f"dtmf_send_types: {event} is also the payload type of {self.codec.name}"
                    " at the far end; one that nothing else has fits"
                )

    def _check_noise(self) -> None:
        taken: dict[int, str] = {codec.payload_type: codec.name for codec in self.active}
        taken.update((event, "telephone events") for event, _ in self._heard_events())
        for noise, clock in self._heard_noise():
            if noise in taken:
                raise ValueError(
                    f"comfort_noise_types: {noise} is also the payload type of {taken[noise]};"
                    " one that nothing else has fits"
                )
            static = noise in STATIC_NOISE and clock == 8000
            if noise not in DYNAMIC_TYPES and not static:
                raise ValueError(
                    f"comfort_noise_types: {noise} at {clock} Hz; 13 at 8000 Hz or a dynamic type,"
                    " 96 to 127 or 35 to 63, fits (RFC 3389 §4)"
                )
            taken[noise] = "other comfort noise"
        sent: dict[int, str] = {self.codec.wire_type: self.codec.name}
        sent.update(dict.fromkeys(self.sent_events.values(), "telephone events"))
        for noise in self.sent_noise.values():
            if noise in sent:
                raise ValueError(
                    f"comfort_noise_send_types: {noise} is also the payload type of {sent[noise]}"
                    " at the far end; one that nothing else has fits"
                )

    def _check_frames(self, rate: int, name: str, what: str) -> None:
        """A frame is a whole number of samples: 11025 Hz has such of 40 ms only, 22050 Hz of 20."""
        if rate * self.ptime_ms % 1000:
            fits = " or ".join(str(ms) for ms in _PTIMES if rate * ms % 1000 == 0)
            raise ValueError(
                f"{name}: {getattr(self, name)}; {what} has no whole frame of {self.ptime_ms} ms,"
                f" ptime_ms={fits} fits"
            )


def _checked_types(value: object, name: str) -> Mapping[int, int | tuple[int, ...]] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        usual = 13 if name.startswith("comfort") else 101
        raise ValueError(f"{name}: {shown(value)}; a dict such as {{8000: {usual}}}, or None, fits")
    checked: dict[int, int | tuple[int, ...]] = {}
    for clock, types in value.items():
        number(clock, f"{name}: clock", 8000, 192_000)
        if name in _SEVERAL_TYPES and isinstance(types, (tuple, list)) and types:
            checked[clock] = tuple(number(n, f"{name}: payload type", 0, 127) for n in types)
        else:
            checked[clock] = number(types, f"{name}: payload type", 0, 127)
    return checked


def _first_of_each(types: Mapping[int, int | Sequence[int]]) -> Mapping[int, int]:
    return {clock: each if isinstance(each, int) else each[0] for clock, each in types.items()}


def _pairs(types: Mapping[int, int | Sequence[int]]) -> list[tuple[int, int]]:
    """(payload type, clock) of all of them."""
    return [
        (number, clock)
        for clock, each in types.items()
        for number in ((each,) if isinstance(each, int) else each)
    ]


_OPTIONS: Final = tuple(each for each in fields(RTPOptions) if each.init)
CHANGEABLE: Final = frozenset(each.name for each in _OPTIONS if rule_of(each).changes)
"""Options that may change in mid-call. The rest is bound to the socket, or to what the program was
told."""
NEGOTIATED: Final = frozenset(each.name for each in _OPTIONS if rule_of(each).agreed)
"""Options that a description decides; as options they are wishes."""


def _event_type(value: int, name: str) -> None:
    if value not in DYNAMIC_TYPES:
        raise ValueError(
            f"{name}: {value}; a dynamic type fits: 96 to 127, or 35 to 63"
            " (others are static, or collide with RTCP, RFC 5761 §4)"
        )
