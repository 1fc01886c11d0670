//! One call's media, both ways: the state machine that ties the parts together.
//!
//! ```
//! use roomkit_media::session::{Chunk, Output, Session, SessionConfig};
//! use roomkit_media::time::Time;
//!
//! let far = "192.0.2.1:20000".parse().unwrap();
//! let mut session = Session::new(SessionConfig::pcmu(Some(far)), Time::ZERO, 7).unwrap();
//! let pcm = vec![0; 320];
//! let chunk = Chunk { playback: 1, pcm, sample_rate: 8000, channels: 1, last: true, live: false, marks: vec![] };
//! session.play(chunk).unwrap();
//! let mut packets = 0;
//! //   ┌────────────────────────────────────────────┐
//! //   ▼                                            │
//! // wait until deadline() or a datagram comes      │
//! //   ├─ deadline: handle_deadline(now) ──┐        │
//! //   └─ datagram: receive(now, …) ───────┤        │
//! //                                       ▼        │
//! //             poll() until it is empty: datagrams, frames, events
//! while session.deadline() < Time::ms(100) {
//!     let now = session.deadline();
//!     session.handle_deadline(now);
//!     while let Some(output) = session.poll() {
//!         packets += usize::from(matches!(output, Output::Datagram { to, .. } if to == far));
//!     }
//! }
//! assert_eq!(packets, 2);
//! ```

mod config;
mod credit;
mod ear;
mod idle;
mod inbound;
mod lengths;
mod mask;
mod outbound;
mod playing;
mod quality;
mod reflection;
mod reports;
mod secure;
mod unheard;

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::dtmf::{self, Digit, Signal};
use crate::pacer::Left;
use crate::playout::samples;
use crate::rng::Rng;
use crate::rtp::HEADER_LEN;
use crate::seq::Ssrc;
use crate::stats::Stats;
use crate::time::{Duration, Time};

pub use crate::pacer::{BadChunk, Chunk, Mark};
pub use crate::playout::{Frame, FrameKind};
pub use config::{ConfigError, Direction, EventType, Fill, NoiseType, RtcpMode, SessionConfig};
pub use dtmf::QueueFull;
pub use quality::Ratings;
pub use unheard::unheard_reasons;

use idle::Idle;
use inbound::Inbound;
use outbound::Outbound;
use reflection::Reflection;
use reports::Reports;
use secure::Secure;
use unheard::Unheard;

/// After a stall of up to this many frames the frames that were missed are sent at once, right behind one another: the
/// far end's jitter buffer still has use for them. After a longer one they are skipped, so that no burst leaves.
const CATCH_UP_FRAMES: u64 = 2;

/// After a stall longer than this, inbound frames are skipped as well: nobody wants to hear the past.
const LONGEST_STALL: Duration = Duration::from_secs(1);

/// The two ports of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Audio and events, and RTCP too with RTCP-mux.
    Rtp,
    /// RTCP.
    Rtcp,
}

/// What a session gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// To be sent now.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// From which of the two local ports.
        port: Port,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// Inbound audio for the program.
    Frame(Frame),
    /// Something happened.
    Event(Event),
}

/// What happens in a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The far end pressed a key and let it go.
    Digit {
        /// Which.
        digit: Digit,
        /// For how long.
        duration: Duration,
        /// How sure that is: 1 for what was signalled, less for what was heard.
        confidence: f32,
        /// It was pressed while digits are masked: not to be recorded or logged.
        masked: bool,
    },
    /// The last packet of what was dialled has left, or it was cancelled.
    Dialled {
        /// The batch.
        batch: u64,
        /// Whether some of it was not sent, or not for as long as it was to be.
        cancelled: bool,
    },
    /// The first frame of a playback leaves.
    PlaybackStarted {
        /// Which.
        playback: u64,
    },
    /// The frame with the first sample behind a mark leaves.
    PlaybackMark {
        /// Of which playback.
        playback: u64,
        /// Which mark.
        id: u64,
        /// Where it lies in the playback.
        position: Duration,
    },
    /// Audio of a playback that left with the present frame, where that is [asked for](Session::tell_left).
    Left {
        /// What left, in the program's own samples.
        audio: Left,
        /// When its first sample was due, on the media clock: since the session opened.
        clock: Duration,
        /// The same on the timeline of the inbound frames; `None` before the first.
        timestamp: Option<Duration>,
    },
    /// A playback is over.
    PlaybackEnded {
        /// Which.
        playback: u64,
        /// How much of it left.
        played: Duration,
        /// True if it was cancelled.
        cancelled: bool,
    },
    /// The first source has proved itself.
    SourceLocked {
        /// Its address.
        addr: SocketAddr,
        /// Its SSRC; our own where the far end sends back what we send.
        ssrc: Ssrc,
    },
    /// Another source, or the same one from elsewhere, has proved itself.
    SourceChanged {
        /// Its address.
        addr: SocketAddr,
        /// Its SSRC.
        ssrc: Ssrc,
    },
    /// The far end said goodbye (RFC 3550 §6.6).
    RemoteBye {
        /// Why, if it said; without controls, line ends, and what turns a text around or takes no room in it.
        reason: String,
    },
    /// Nothing has come from the far end for the configured time.
    RtpTimeout,
    /// The far end's RTCP has stopped for the configured time.
    RtcpTimeout,
    /// The far end is heard again after a timeout of either kind.
    RtpResumed,
    /// Packets have come for 2 s, and not one frame of audio was heard of them. Told once until something is heard.
    Unheard {
        /// What became of most of them, one of [`unheard_reasons`]: the name of the counter in [`Stats`] that tells, or
        /// `unplayed` for what the jitter buffer took and never played.
        reason: &'static str,
    },
    /// Audio is heard after [`Event::Unheard`].
    HeardAgain,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Session {
    inbound: Inbound,
    outbound: Outbound,
    idle: Idle,
    reports: Reports,
    reflection: Reflection,
    ptime: Duration,
    /// Frame `n` is due at `start + n · ptime`.
    start: Time,
    frame: u64,
    /// When the first frame was due: the media clock's zero.
    opened: Time,
    /// When the present frame was due, and where the newest inbound frame belongs that was.
    due: Time,
    heard: Option<(Time, Duration)>,
    rng: Rng,
    stats: Stats,
    output: VecDeque<Output>,
    secure: Option<Secure>,
    unheard: Unheard,
    closed: bool,
}

impl Session {
    /// A session whose first frame is due at `now`. The seed decides its SSRC, first sequence number and timestamp: take
    /// it from the operating system (RFC 3550 §5.1).
    pub fn new(config: SessionConfig, now: Time, seed: u64) -> Result<Session, ConfigError> {
        config.check()?;
        let mut rng = Rng::new(seed);
        let ssrc = Ssrc(rng.next_u32());
        Ok(Session {
            ptime: config.ptime,
            start: now,
            frame: 0,
            opened: now,
            due: now,
            heard: None,
            stats: Stats::default(),
            output: VecDeque::new(),
            secure: config.srtp.as_ref().map(Secure::new),
            unheard: Unheard::default(),
            closed: false,
            outbound: Outbound::new(&config, ssrc, &mut rng),
            idle: Idle::new(&config, now),
            reports: Reports::new(&config, now, &mut rng),
            inbound: Inbound::new(&config, now, ssrc, rng.next_u64()),
            reflection: Reflection::new(seed),
            rng,
        })
    }

    /// Takes a datagram that reached one of the local ports at `now`.
    pub fn receive(&mut self, now: Time, from: SocketAddr, port: Port, datagram: &[u8]) {
        if self.closed {
            return;
        }
        if datagram.is_empty() {
            // RFC 6263 §4.1.
            self.stats.keepalives_received += 1;
            return;
        }
        let rtcp = crate::rtp::is_rtcp(datagram);
        match port {
            Port::Rtp if !rtcp => self.receive_media(now, from, datagram),
            _ if self.reports.mode == RtcpMode::Off => self.stats.rtcp_stranger += 1,
            Port::Rtp if !self.reports.muxed => self.stats.rtcp_stranger += 1,
            _ => self.receive_control(now, from, port, datagram),
        }
    }

    /// A datagram that was polled has not left after all, as the system says: it does not count as sent, here and in reports.
    pub fn unsent(&mut self, datagram: &[u8]) {
        let stats = &mut self.stats;
        if crate::rtp::is_rtcp(datagram) {
            stats.rtcp_sent = stats.rtcp_sent.saturating_sub(1);
            return;
        }
        let sealed = self.secure.as_ref().map_or(0, |secure| secure.added);
        let octets = datagram.len().saturating_sub(HEADER_LEN + sealed) as u64;
        stats.packets_sent = stats.packets_sent.saturating_sub(1);
        stats.octets_sent = stats.octets_sent.saturating_sub(octets);
    }

    /// Queues digits and pauses for the far end, all or none. `batch` is told when they have left ([`Event::Dialled`]); a
    /// later one has a greater number.
    pub fn dial(&mut self, batch: u64, signals: &[Signal]) -> Result<(), QueueFull> {
        self.outbound.digits.dial(batch, signals)
    }

    /// Drops what waits of the batches up to `upto`; a digit on its way ends at once.
    pub fn cancel_dial(&mut self, upto: u64) {
        self.outbound.digits.cancel(upto);
        self.tell_progress();
    }

    /// Digits and pauses that wait.
    pub fn dialling(&self) -> usize {
        self.outbound.digits.queued()
    }

    /// Queues a digit for the far end (RFC 4733).
    pub fn send_dtmf(&mut self, digit: Digit, duration: Duration) -> Result<(), QueueFull> {
        self.outbound.digits.push(digit, duration)
    }

    /// A key was pressed for `duration` until `now`, as signalling says (SIP INFO). It is told as a digit that was received,
    /// unless it was received as well.
    pub fn inject_dtmf(&mut self, now: Time, digit: Digit, duration: Duration) {
        self.inbound.ear.inject(now, digit, duration.min(dtmf::LONGEST_DIGIT));
        self.tell_digits(now);
    }

    /// While masked, digits are silenced in the frames delivered, which come 60 ms later for it, and
    /// [`Event::Digit`] says so. Tones are then listened for even if the configuration does not ask for it: nobody else
    /// could hear them.
    ///
    /// It ends when nothing of a digit is left in what was held back, whether audio comes or not. However long that takes, a
    /// key is not told as masked that was pressed once all that had come when the end was asked for was played.
    pub fn mask_digits(&mut self, masked: bool) {
        self.inbound.ear.set_masked(masked);
    }

    /// While muted, the frames delivered are silence: the timeline, statistics and digits go on.
    pub fn set_input_muted(&mut self, muted: bool) {
        self.inbound.ear.muted = muted;
    }

    /// The far end has moved, as signalling says.
    pub fn retarget(&mut self, now: Time, remote: SocketAddr) {
        self.inbound.retarget(now, remote);
        self.reports.remote = None;
    }

    /// Goes over to another configuration in the middle of the call, without a gap either way: codecs and payload types,
    /// event types, frame length, remote addresses, whether RTCP shares the port of RTP, direction, timeouts and keys. What a
    /// session is made with for good stays: the format of the frames delivered, the delay, whether there is RTCP, the names, and
    /// who may talk, but for [`Policy::Strict`](crate::source::Policy::Strict): it holds from then on, whatever was before.
    ///
    /// Types that are no longer in `receive_codecs` are understood for two more seconds: the far end learns of the change
    /// later than we do (RFC 3264 §8.3.2).
    pub fn update(&mut self, now: Time, config: &SessionConfig) -> Result<(), ConfigError> {
        config.check()?;
        let before = self.signalled();
        self.inbound.update(now, config);
        self.outbound.update(config);
        self.idle.update(config);
        self.rekey(now, config);
        self.reports.update(config, self.signalled() != before);
        if config.ptime != self.ptime {
            self.start = self.frame_time(self.frame);
            self.frame = 0;
            self.ptime = config.ptime;
        }
        Ok(())
    }

    /// Says goodbye; nothing is sent or received after it (RFC 3550 §6.6). What masking held back of the audio so far is
    /// delivered.
    pub fn close(&mut self, now: Time, reason: &str) {
        if !self.closed {
            self.inbound.ear.audio_ends(now, &mut self.output);
            self.outbound.pacer.cancel(u64::MAX);
            self.outbound.digits.cancel(u64::MAX);
            self.hang_up_digit();
            self.tell_progress();
            self.send_report(now, Some(reason));
            self.closed = true;
        }
    }

    /// Serves every deadline up to `now`.
    pub fn handle_deadline(&mut self, now: Time) {
        let due = self.deadline();
        if self.closed || now < due {
            return;
        }
        self.reflection.at(now);
        let behind = now - due;
        self.stats.worst_lateness = self.stats.worst_lateness.max(behind);
        let frames = (behind.as_nanos() / self.ptime.as_nanos()) as u64 + 1;
        if behind > LONGEST_STALL {
            self.pass(frames - 1, now);
            self.serve_frame(true);
        } else {
            let skipped = if frames > CATCH_UP_FRAMES + 1 { frames - 1 } else { 0 };
            self.stats.frames_skipped += skipped;
            for n in 0..frames {
                self.serve_frame(n >= skipped);
            }
        }
        self.watch_source(now);
        self.watch_unheard(now);
        self.watch_reports(now);
        if self.reports.is_due(now, &mut self.rng) {
            self.send_report(now, None);
        }
        self.keep_alive(now);
    }

    /// When [`handle_deadline`](Self::handle_deadline) wants to be called: at the next frame, `start + n · ptime`.
    pub fn deadline(&self) -> Time {
        if self.closed {
            return Time::FAR;
        }
        self.frame_time(self.frame)
    }

    /// The next thing that came of the inputs so far. Drain it after every input.
    pub fn poll(&mut self) -> Option<Output> {
        loop {
            let mut output = self.output.pop_front()?;
            // This is the only way out, so that nothing leaves a secured session in plain.
            if let Output::Datagram { bytes, .. } = &mut output {
                if !self.seal(bytes) {
                    continue;
                }
            }
            return Some(output);
        }
    }

    /// Where packets go: the proven source (RFC 4961), or the signalled address before there is one.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.inbound.guard.destination()
    }

    /// Where the far end is said to be.
    pub fn signalled(&self) -> Option<SocketAddr> {
        self.inbound.guard.signalled()
    }

    /// The source that has proved itself.
    pub fn source(&self) -> Option<(SocketAddr, Ssrc)> {
        self.inbound.guard.locked()
    }

    /// How many datagrams so far were the far end's, as far as it has proved that: all else has had no effect.
    pub fn believed(&self) -> u64 {
        self.stats.packets_received + self.stats.rtcp_received
    }

    /// Octets of the longest datagram that a port takes. Who reads one from a network need not copy more than an octet beyond:
    /// by that it is known for one that is too long.
    pub fn longest(&self, port: Port) -> usize {
        match port {
            Port::Rtp => self.inbound.longest.max(lengths::LONGEST_RTCP),
            Port::Rtcp => lengths::LONGEST_RTCP,
        }
    }

    /// Our own SSRC; it changes on a collision (RFC 3550 §8.2).
    pub fn ssrc(&self) -> Ssrc {
        self.outbound.ssrc
    }

    /// The counters and estimates as they stand.
    pub fn stats(&self) -> Stats {
        let (mut stats, ratings) = self.unrated_stats();
        ratings.fill(&mut stats);
        stats
    }

    /// The same without the ratings, and what it takes to fill them in: for who shows statistics with every frame.
    pub fn unrated_stats(&self) -> (Stats, Ratings) {
        let mut stats = self.stats;
        stats.digits_sent = self.outbound.digits.started();
        self.inbound.fill(&mut stats);
        self.reports.fill(&mut stats);
        let ratings = self.fill_quality(&mut stats);
        (stats, ratings)
    }

    /// One frame each way. `send` is false for a frame whose time has passed too long ago to be sent.
    fn serve_frame(&mut self, send: bool) {
        let due = self.frame_time(self.frame);
        self.frame += 1;
        self.due = due;
        let frame = self.inbound.playout.frame(due);
        let delay = self.inbound.playout.delay();
        match frame {
            Some(frame) => {
                self.heard = Some((due, frame.timestamp));
                self.inbound.ear.frame(due, delay, frame, &mut self.output);
            }
            None => self.inbound.ear.no_frame(due, delay, &mut self.output),
        }
        if send {
            self.send_frame();
        } else {
            self.outbound.skip(1);
        }
    }

    /// The time of `frames` frames has passed, and nobody was there: the machine slept, or the process was stopped.
    fn pass(&mut self, frames: u64, now: Time) {
        self.frame += frames;
        self.stats.frames_skipped += frames;
        self.outbound.skip(frames);
        let due = self.frame_time(self.frame);
        self.stats.late += self.inbound.playout.pass(frames, due) as u64;
        self.inbound.ear.finish(due);
        self.tell_digits(now);
        self.unheard.forget();
        // Who did not listen has not heard that nobody was there.
        let span = self.ptime.saturating_mul(u32::try_from(frames).unwrap_or(u32::MAX));
        self.inbound.excuse(span, now);
        self.reports.excuse(span, now);
    }

    fn frame_time(&self, frame: u64) -> Time {
        let nanos = u128::from(frame) * self.ptime.as_nanos();
        self.start + Duration::from_nanos(nanos.min(u128::from(u64::MAX)) as u64)
    }
}

/// RTP ticks of one frame.
fn frame_ticks(ptime: Duration, clock_rate: u32) -> u32 {
    samples(ptime, clock_rate) as u32
}
