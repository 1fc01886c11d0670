"""The native core: sockets, clock and media of every call, on threads that never touch Python.

This is the border, and only `roomkit._bridge`, `roomkit.rtp.session` and the pipeline's
`GoertzelDTMF` stand next to it. Addresses
are numeric IPs: names are resolved before they come here. PCM is signed 16 bit little endian,
interleaved.
"""

from collections.abc import Sequence
from typing import Any, final

from typing_extensions import Buffer

__all__ = [
    "BYE",
    "CLOSED",
    "DIALLED",
    "DIGIT",
    "FAULT",
    "FRAME",
    "HEARD_AGAIN",
    "LEFT",
    "LOW_WATER",
    "NOTHING_LEAVES",
    "PLAYBACK_ENDED",
    "PLAYBACK_MARK",
    "PLAYBACK_STARTED",
    "RTCP_TIMEOUT",
    "RTP_RESUMED",
    "RTP_TIMEOUT",
    "SOURCE",
    "UNHEARD",
    "UNHEARD_REASONS",
    "DTMFDetector",
    "EchoGuard",
    "Engine",
    "Inbox",
    "Resampler",
    "Session",
    "__version__",
]

__version__: str

FRAME: int
"""`a` = PCM (bytes), `b` = media time of its first sample in ms since the first frame (float),
`c` = 0 received, 1 concealed, 2 silence, 3 comfort noise, `d` = when it was due on the media clock,
in ms since the session opened (float)."""
DIGIT: int
"""`a` = digit (str), `b` = duration in ms (int), `c` = (confidence, 0 to 1; whether it was pressed
while digits are masked)."""
NOTHING_LEAVES: int
"""`a` = why: for a second the system has refused all that the session sent. Once, until something
leaves."""
DIALLED: int
"""`a` = what `send_dtmf` returned, `b` = whether some of it was cancelled (bool)."""
PLAYBACK_STARTED: int
"""`a` = playback id: its first packet left."""
PLAYBACK_ENDED: int
"""`a` = playback id, `b` = ms of it that left on the wire (float), `c` = whether it was
cancelled (bool), `d` = when its first and its newest packet left, in s of `time.monotonic` or
None."""
PLAYBACK_MARK: int
"""`a` = playback id, `b` = name of the mark (int), `c` = its place in ms of the playback (float),
`d` = when the packet with the first sample behind it left, in s of `time.monotonic`."""
LEFT: int
"""Audio has left, and `Session.take_left` tells of it; not where a frame comes anyway."""
LOW_WATER: int
"""After a `push` that did not fit: the queue fell by a tenth of the lead, at least 100 ms but no
more than half, and there is room for more."""
SOURCE: int
"""`a` = (host, port) of the remote source now trusted, `b` = its SSRC, `c` = whether it replaced
another (bool)."""
BYE: int
"""`a` = the reason the remote gave in its RTCP BYE (RFC 3550 §6.6), or an empty string."""
RTP_TIMEOUT: int
"""No RTP came for `rtp_timeout`."""
RTCP_TIMEOUT: int
"""No RTCP came for `rtcp_timeout`, though some had come."""
RTP_RESUMED: int
"""The remote is heard again after a timeout or a BYE."""
UNHEARD: int
"""`a` = reason, one of `UNHEARD_REASONS`: packets have come for 2 s and nothing of them was heard.
Told once until `HEARD_AGAIN`."""
UNHEARD_REASONS: tuple[str, ...]
"""Names in the dict of `Session.stats` of counters that say what became of such packets, and
`"unplayed"`."""
HEARD_AGAIN: int
"""Audio is heard after `UNHEARD`."""
FAULT: int
"""`a` = message: the session ended by a panic or a failed socket. `CLOSED` follows."""
CLOSED: int
"""The last item of a session: its socket has been given back."""

@final
class Engine:
    """The media threads and their sockets. They start with the first session and end with `stop`.

    `threads`: 1 to 64 media threads; a session belongs to one of them. `portable`: take the path of
    platforms without epoll. `realtime`: schedule them in real time, where the process may
    (elsewhere with a short slice and a high nice level). After a fork the child's copy has no
    threads: `open` raises `RuntimeError`, and a new engine is made.
    """

    def __new__(
        cls, threads: int = 1, *, portable: bool = False, realtime: bool = True
    ) -> Engine: ...
    def open(self, inbox: Inbox, config: dict[str, Any]) -> Session:
        """Opens a session whose items arrive at `inbox`.

        Keys: `local` (host, port; port 0 takes a free even one) · `remote` (host, port) or None ·
        `codecs`, a list of dict(kind="PCMU"|"PCMA"|"G722"|"L16"|"opus", payload_type, clock_rate,
        sample_rate, channels), all are received · `send_codec`, such a dict with the far end's
        payload type, for Opus with bitrate, complexity, inband_fec, expected_loss, dtx and cbr; the
        first of `codecs` without it · `receive_events`, `send_events`, lists of (payload type,
        clock rate) of telephone events · `dtmf_inband`, whether digits are also listened for in
        the audio · `dtmf_beside_audio`, whether audio goes on beside events ·
        `receive_noise`, `send_noise`, the same of comfort noise ·
        `fill` "none"|"silence"|"comfort_noise" · `noise_level` in -dBov ·
        `keepalive` in s or None ·
        `direction` "sendrecv"|"sendonly"|"recvonly"|"inactive" · `ptime_ms` ·
        `rtcp` "separate"|"mux"|"off" · `rtcp_interval` in s ·
        `rtcp_xr`, whether extended reports are sent ·
        `policy` "strict"|"host"|"learn"|"follow" · `remote_ssrc` or None ·
        `symmetric` True, False or None · `learn_window` in s or None · `probation` in packets ·
        `source_rate` and `session_rate` in packets a second ·
        `jitter_ms` ·
        `rtp_timeout`, `rtp_timeout_on_hold` and `rtcp_timeout` in s or None ·
        `lead_ms`, audio that may wait to be sent (1000) ·
        `inbound_ms`, frames that may wait for Python (2000) · `sample_rate` and
        `channels` of the frames delivered · `shared`, whether sessions may share `local` ·
        `port_range` (low, high) or None, where port 0 is taken from · `port_quarantine` in s, how
        long a port then rests (0) · `dscp` of what is sent.

        `srtp`, dict(send=key, receive=[key, …]) or None, a key being dict(suite, key, mki,
        lifetime); `mki` and `lifetime` may be None.

        `remote_rtcp`, (host, port), where the remote's RTCP is elsewhere than on its RTP port + 1.

        Raises `ValueError` for a key that does not fit, `OSError` if the address cannot be bound
        (`EADDRINUSE` too if no port is left to take), `RuntimeError` after `stop` and after a fork.
        """

    def stop(self) -> None:
        """Closes every session and ends the threads. Idempotent; bounded."""

    def threads(self) -> int:
        """Media threads that run now."""

    def sessions(self) -> int:
        """Sessions that are open now."""

@final
class Inbox:
    """Where the sessions of one event loop put their items; `fileno` is readable while something
    waits.
    """

    def __new__(cls) -> Inbox: ...
    def fileno(self) -> int: ...
    def drain(self, limit: int = 4096) -> list[tuple[int, int, Any, Any, Any, Any]]:
        """Takes up to about `limit` items `(session key, kind, a, b, c, d)`, in order per session,
        and clears the wake once nothing waits. The kinds and what they carry are this module's
        constants.
        """

    def close(self) -> None:
        """Gives the descriptor back; items that come later are dropped. Idempotent."""

@final
class DTMFDetector:
    """Finds digits in audio of 8 to 192 kHz (ITU-T Q.24), one call's after another."""

    def __new__(cls, sample_rate: int, channels: int = 1) -> DTMFDetector: ...
    def process(self, data: Buffer) -> list[tuple[str, float, float, float]]:
        """The digits that are complete with this PCM: key, start and duration in ms, counted from
        the first sample, and confidence.
        """

    def finish(self) -> list[tuple[str, float, float, float]]:
        """The audio ends here: a digit that sounds is complete."""

@final
class EchoGuard:
    """Tells a caller from our own voice that comes back, for a detector of speech. Frames of 8 to
    192 kHz; `played_rate` is that of `sample_rate` unless it is given. Times are of one clock.
    """

    def __new__(cls, sample_rate: int, played_rate: int | None = None) -> EchoGuard: ...
    def played(self, data: Buffer, clock_ms: float, channels: int = 1) -> None:
        """A frame left, its first sample at `clock_ms`."""

    def heard(self, data: Buffer, clock_ms: float, channels: int = 1) -> bytes | None:
        """What a detector is to hear in place of the next frame; None: the frame as it is."""

@final
class Resampler:
    """Converts one stream of `channels` interleaved channels for a recording, 8 to 192 kHz each
    way. Output sample n belongs to the time n / `to_hz` of it: the filter's delay is taken out.
    """

    def __new__(cls, from_hz: int, to_hz: int, channels: int = 1) -> Resampler: ...
    def process(self, data: Buffer) -> bytes:
        """Takes more; what can be told of the output now, which lags by half the filter."""

    def finish(self) -> bytes:
        """The rest: silence follows. In all there are exactly ⌈n · to / from⌉ samples of n then,
        and what comes next begins afresh."""

@final
class Session:
    """One RTP session. Methods may be called from any thread and none waits for the media thread
    but `close`.

    An object that is dropped without `close` is closed in the background.
    """

    @property
    def key(self) -> int:
        """Names the session in drained items; unique in the process."""

    @property
    def ssrc(self) -> int: ...
    @property
    def local_addr(self) -> tuple[str, int]:
        """The bound RTP address, with its actual port."""

    @property
    def rtcp_addr(self) -> tuple[str, int] | None:
        """The bound RTCP address; the RTP one when multiplexed, None when RTCP is off."""

    def push(
        self,
        data: Buffer,
        sample_rate: int,
        channels: int,
        playback: int,
        last: bool,
        live: bool = False,
        marks: Sequence[tuple[int, int]] | None = None,
    ) -> int:
        """Queues PCM of a playback and returns how many bytes were taken: fewer than offered
        when `lead_ms` of audio wait already, and then `LOW_WATER` tells when to go on. `last`
        counts only if everything was taken; it ends the playback (empty `data` is fine then).
        Playback ids ascend. `marks` are places and names, in rising order of the places: samples of
        each channel from the first offered here. Those go along that lie in what was taken, and
        with `last` those behind it too; `PLAYBACK_MARK` tells of them. 1024 may wait: of audio with
        more less is taken. `live` audio is forwarded as it is made and is never the last: what
        waits of it for longer than a second without need is given back. Never waits.
        """

    def cancel(self, upto: int) -> bool:
        """Drops all playbacks with an id up to `upto`, before the next packet leaves. True if
        there was anything.
        """

    def cancel_one(self, playback: int) -> bool:
        """Drops one playback, wherever it stands, before the next packet leaves. True if it was
        pushed and had not ended.
        """

    def pause(self, playback: int) -> bool:
        """Holds a playback back, pushed or not: from the next packet on nothing of it leaves, and
        what is behind it waits. False if it has ended; `BlockingIOError` if thousands are paused.
        """

    def resume(self, playback: int) -> bool:
        """Goes on with the sample after the last that left. True if it was held back."""

    def tell_left(self, tells: bool) -> None:
        """Whether `take_left` is to tell what leaves."""

    def take_left(self) -> list[tuple[int, int, int, float, float | None, bool]]:
        """What left since this was last asked, in pieces without a gap: playback, samples of it
        before these (per channel, as pushed), how many these are, when the first was due on the
        media clock in ms since the session opened, its place on the timeline of inbound frames in
        ms (None: there is none yet), and whether nothing more of the playback leaves.
        """

    def send_dtmf(self, digits: str, duration_ms: int, gap_ms: int, inband: bool) -> int:
        """Queues digits (0-9 * # A-D) and pauses (, w p), all or none, and returns the number under
        which `DIALLED` tells of them; `ValueError` for anything else, `BlockingIOError` if too many
        wait.
        """

    def cancel_dtmf(self) -> bool:
        """Drops the digits that wait and ends the one on its way; True if not all had left."""

    def inject_dtmf(self, digit: str, duration_ms: int) -> None:
        """A key was pressed until now, as signalling says; `BlockingIOError` if too many orders
        wait.
        """

    def mask_digits(self, masked: bool) -> None:
        """Whether digits are silenced in the frames delivered."""

    def set_input_muted(self, muted: bool) -> None: ...
    def retarget(self, host: str, port: int) -> None:
        """Sends to another address and expects the remote there, from the next packet on.

        Raises `ValueError` for a host that is no numeric IP, and for a remote that another session
        on the same local address has already; `BlockingIOError` if too many orders wait.
        """

    def update(self, config: dict[str, Any]) -> None:
        """Goes over to another configuration, with the keys of `Engine.open`, at the next frame and
        without a gap. The local address, whether there is RTCP, policy, bounds and the format of
        frames stay. RTCP that no longer shares RTP's port gets the next one.

        Raises `ValueError` and `BlockingIOError` as `retarget` does, and `OSError` where that port
        cannot be had; nothing has changed then.
        """

    def position(
        self, playback: int | None = None
    ) -> tuple[int, float, float | None, float | None, bool, bool, bool] | None:
        """How far a playback has come, the one heard last if none is named: its id, the ms of it
        that left on the wire, when its first and its newest packet left (s of `time.monotonic`),
        whether it is over, was cancelled, is paused. None before anything of it left, and when 64
        later ones have ended.
        """

    def queued_ms(self) -> float:
        """Audio pushed that has not left yet."""

    def remote_addr(self) -> tuple[str, int] | None:
        """Where packets go now: the signalled address, or the one symmetric RTP learned."""

    def local_host(self) -> str | None:
        """On a session bound to all of the host's addresses the one that the remote sends to, and
        that packets leave from; None elsewhere, and before it was heard.
        """

    def stats(self) -> dict[str, int | float | str | None]:
        """As of the last frame: what the session counted, spans in ms (`…_ms`), and of its local
        address `datagrams_sent`, `send_dropped` (no room in the kernel), `send_errors`, of which
        `send_unreachable`, `send_denied`, `send_refused` and `send_too_long`, `unmatched` (for none
        of the sessions there), `kernel_drops` (the socket's buffer was full), `receive_errors`.
        `inbound_dropped` are frames and events that the program did not drain in time.
        """

    @property
    def over(self) -> bool:
        """Whether it is over, by whatever reason, and its port free. In a forked child it is."""

    def begin_close(self, reason: str = "") -> None:
        """`close`, without waiting: `over` tells when it is done."""

    def close(self, reason: str = "") -> None:
        """Sends the RTCP BYE and gives the socket back; returns when the port is free.
        Idempotent; bounded.
        """
