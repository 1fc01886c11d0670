"""`RTPStats`: what a session counted and measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

__all__ = ["RTPStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RTPStats(Mapping[str, "int | float | None"]):
    """Statistics of a session at one moment, by attribute or, for logs and metrics, as a mapping.

    Counts never go back; octets are RTP payload, without headers (RFC 3550 §6.4.1). Whatever the
    network did wrong has a counter named by its reason.
    """

    # Sent.
    packets_sent: int = 0
    """RTP packets that the system took, digits included."""
    octets_sent: int = 0
    digits_sent: int = 0
    keepalives_sent: int = 0
    """RTP or RTCP that left because nothing else did (RFC 6263)."""
    rtcp_sent: int = 0
    """RTCP compound packets."""

    # Received from the trusted source.
    packets_received: int = 0
    octets_received: int = 0
    packets_expected: int = 0
    """By the sequence numbers of the present source (RFC 3550 §A.3)."""
    packets_lost: int = 0
    """Expected less received; negative when duplicates outnumber losses (RFC 3550 §A.3)."""
    jitter_ms: float = 0.0
    """Interarrival jitter (RFC 3550 §A.8)."""
    digits_received: int = 0
    """Presses of a key, however they became known."""
    digits_merged: int = 0
    """Reports of a press that another one had told: its tones beside its events, or SIP INFO."""
    rtcp_received: int = 0
    keepalives_received: int = 0
    """Datagrams and RTP packets without any payload (RFC 6263)."""

    # As the far end reports it.
    round_trip_ms: float | None = None
    """From the newest report that tells one (RFC 3550 §6.4.1); None: none did yet."""
    remote_lost: int | None = None
    """Packets of ours that it lost in all."""
    remote_fraction_lost: float | None = None
    """Of ours since its report before, 0 to 1."""
    remote_jitter_ms: float | None = None
    remote_packets_sent: int | None = None
    """RTP packets that it says it has sent, modulo 2³²."""
    remote_octets_sent: int | None = None
    remote_discard_fraction: float | None = None
    """Packets of ours that came too late for it, 0 to 1 (RFC 3611 §4.7.1), as the next five where
    it sends extended reports."""
    remote_burst_density: float | None = None
    """Lost within its bursts of loss, 0 to 1."""
    remote_burst_duration_ms: float | None = None
    """The mean length of those bursts."""
    remote_end_delay_ms: float | None = None
    """The delay within it, both ways."""
    remote_buffer_ms: float | None = None
    """How long its jitter buffer holds what comes in time (RFC 3611 §4.7.7)."""
    remote_buffer_most_ms: float | None = None
    """How long it would hold the earliest packet that it takes."""
    remote_signal_dbm0: float | None = None
    """The level of our speech there."""
    remote_noise_dbm0: float | None = None
    remote_r_factor: float | None = None
    """The E-model's rating of what it hears, 0 to 100: its own, or by its reports of loss."""
    remote_mos: float | None = None
    """The mean opinion score of that rating, 1 to 4.5."""

    # How good what is heard here is, once 50 packets were played.
    r_factor: float | None = None
    """The E-model's rating, 0 to 93.2 (ITU-T G.107), with delay, loss and how the loss lies."""
    mos: float | None = None
    """The mean opinion score of that rating, 1 to 4.41."""
    mos_listening: float | None = None
    """The same without the delay."""
    burst_density: float = 0.0
    """Missing within bursts of loss, 0 to 1 (RFC 3611 §4.7.2)."""
    gap_density: float = 0.0
    """Missing within the gaps between them."""
    burst_duration_ms: float = 0.0
    """The mean length of bursts."""
    gap_duration_ms: float = 0.0
    burst_ratio: float = 1.0
    """How much longer losses last than random ones would (G.107 §7.4)."""
    signal_dbm0: float | None = None
    """The level of the far end's speech, once a second of it was heard."""
    noise_dbm0: float | None = None
    """The level of its pauses."""

    # Delivered to the program.
    frames_received: int = 0
    """Frames of received audio."""
    frames_concealed: int = 0
    """Frames made up for a loss."""
    frames_silence: int = 0
    """Frames in which the sender paused."""
    frames_comfort_noise: int = 0
    """Frames of noise made as the sender described its own (RFC 3389)."""
    frames_given_back: int = 0
    """Times that a piece of at most 20 ms was left out to return to the target delay."""
    frames_put_in: int = 0
    """Times that a piece of at most 20 ms was put in to return to the target delay."""
    packets_recovered: int = 0
    """Packets lost whose audio was recovered from a copy in the next one (RFC 7587 §3.3)."""
    buffered_ms: float = 0.0
    """Audio that waits in the jitter buffer now."""
    buffer_target_ms: float = 0.0
    """The delay that the jitter buffer aims at."""
    buffer_delay_ms: float = 0.0
    """The delay that it has now: how long after its arrival audio is played that came without
    delay."""
    unheard: int = 0
    """Times that packets came for 2 s and not one frame of them was heard
    (`roomkit.rtp.Unheard`)."""

    # Came, and too late or too many at once to be heard (RFC 3611 §4.7.1).
    discarded: int = 0
    """Those in `late` and in `overflow`: lost to the listener and in `mos`, though not in
    `packets_lost`, which the network has."""

    # Refused, by reason.
    late: int = 0
    """Audio packets that came when something newer had been played."""
    duplicate: int = 0
    overflow: int = 0
    """Packets that were skipped since more than half a second beyond `buffer_target_ms` waited."""
    undecodable: int = 0
    comfort_noise_invalid: int = 0
    """Payloads of comfort noise that describe none (RFC 3389 §3)."""
    malformed: int = 0
    """Datagrams that are neither RTP nor RTCP, from an address that might be heard."""
    oversized: int = 0
    """RTP that is longer than 200 ms of the call's codecs may be (at least 2048 octets are taken),
    and RTCP above 2048 octets."""
    unwanted: int = 0
    """Audio and digits that came although `direction` says that we do not receive."""
    unknown_payload_type: int = 0
    stranger: int = 0
    """Packets of a source that is not trusted, for any of these reasons:"""
    stranger_host: int = 0
    """It is another host than `remote_addr`, which `source_policy="host"` asks for."""
    stranger_address: int = 0
    """It is another address than `remote_addr`, which `source_policy="strict"` asks for."""
    stranger_ssrc: int = 0
    """It has another SSRC than `remote_ssrc`."""
    stranger_meanwhile: int = 0
    """The trusted source speaks."""
    stranger_too_late: int = 0
    """It might have been learned, but `learn_window` is over."""
    stranger_unproven: int = 0
    """It did not go on to prove itself, or found too many others doing so."""
    rate_limited: int = 0
    """Packets of the trusted source beyond `source_rate` or `session_rate`."""
    doubtful: int = 0
    """Jumps in sequence that no second packet confirmed (RFC 3550 §A.1)."""
    looped: int = 0
    """What came under our own SSRC and is no reflection: a collision or a loop (RFC 3550 §8.2)."""
    reflected: int = 0
    """Our own packets and reports that the far end sent back within two seconds, as an echo test
    does: its audio is heard. Without `srtp` only."""
    rtcp_malformed: int = 0
    """RTCP that RFC 3550 §A.2 rejects, or of more than 32 packets."""
    rtcp_stranger: int = 0
    rtcp_rate_limited: int = 0
    """RTCP of the trusted source beyond 50 packets a second."""
    srtp_bad_tag: int = 0
    """With `srtp`: RTP and RTCP that is not authentic: forged, damaged, or not encrypted."""
    srtp_replayed: int = 0
    """What came before, or so late that nobody can tell (RFC 3711 §3.3.2)."""
    srtp_malformed: int = 0
    """What is too short to be SRTP or SRTCP, or no RTP at all."""
    srtp_unkeyed: int = 0
    """Packets whose MKI names no valid key."""
    srtp_unencrypted: int = 0
    """RTCP that says it is not encrypted (RFC 3711 §3.4)."""
    srtp_overflow: int = 0
    """Authentic packets of one source too many: 256 are told apart under one key."""
    srtp_rate_limited: int = 0
    """RTP and RTCP of unknown sources that was not authenticated, since so much from its address
    was forged of late; a source that is known is heard all the same."""
    srtp_unsent: int = 0
    """Packets of ours that were not sent, since the key has served its lifetime (RFC 3711 §9.2)."""
    dtmf_invalid: int = 0
    """Event payloads that are too short, of no known digit or of no duration."""
    source_changes: int = 0
    """Times another SSRC or address proved itself and took over."""

    # At the local address, for all sessions that share it.
    datagrams_sent: int = 0
    """RTP and RTCP that the kernel took."""
    send_dropped: int = 0
    """Datagrams for which the kernel had no room."""
    send_errors: int = 0
    """Datagrams that the system refused, for the following reasons and others."""
    send_unreachable: int = 0
    """No way leads there: no route, no network, no such host."""
    send_denied: int = 0
    """A filter does not allow it."""
    send_refused: int = 0
    """Nobody listens there, as the answer to an earlier one said."""
    send_too_long: int = 0
    """They are too long for the way."""
    receive_errors: int = 0
    """Errors that the socket reported while receiving, ICMP's among them."""
    dscp_refused: int = 0
    """Sockets that the system did not let be marked with `dscp`; the call goes on without."""
    kernel_drops: int = 0
    """Datagrams that the kernel dropped because the socket's buffer was full."""
    unmatched: int = 0
    """Datagrams that belong to no session there."""

    # On this machine.
    frames_skipped: int = 0
    """Ticks that went unserved because the machine was away for too long."""
    worst_lateness_ms: float = 0.0
    """The latest that a tick was served after its deadline."""
    inbound_dropped: int = 0
    """Frames and events that Python did not take from the core in time (`inbound_ms`)."""
    frames_overrun: int = 0
    """Frames that an `async for` did not take in time."""
    live_bytes_dropped: int = 0
    """Bytes given to `send` that found no room."""

    @classmethod
    def from_native(cls, native: Mapping[str, Any], **more: int) -> RTPStats:
        """From the core's dict and what Python counts itself."""
        counted = {**native, **more}
        return cls(**{name: counted[name] for name in _NAMES if name in counted})

    def __getitem__(self, name: str) -> int | float | None:
        if name not in _NAMES:
            raise KeyError(name)
        value: int | float | None = getattr(self, name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


_NAMES: Final = tuple(entry.name for entry in fields(RTPStats))
