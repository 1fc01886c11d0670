//! The receiving half of a session: from a datagram of the trusted source to the jitter buffer or the digits.

use std::net::SocketAddr;

use super::ear::Ear;
use super::{frame_ticks, Direction, Event, EventType, NoiseType, Output, Session, SessionConfig};
use crate::comfort_noise::NoiseShape;
use crate::dtmf::{self, EventPayload};
use crate::jitter::{Insert, Packet};
use crate::playout::Playout;
use crate::report::Reception;
use crate::rtp::RtpPacket;
use crate::seq::{ExtSeq, ExtTime, SeqTracker, SeqUpdate, Ssrc, TimeUnwrapper};
use crate::source::{Policy, RejectReason, SourceGuard, Verdict};
use crate::stats::Stats;
use crate::time::{Duration, Time};

/// Another source at the address of one that said goodbye is on its way to prove itself while its packets are no further
/// apart than this; after the longest proof there is, it will not.
const PROVING: Duration = Duration::from_millis(200);
const LONGEST_PROOF: Duration = Duration::from_secs(1);

/// Packets that overtook each other come within this time of a goodbye; what comes later is a return.
const STRAGGLERS: Duration = Duration::from_millis(500);

/// What is heard, and of whom.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) guard: SourceGuard,
    pub(super) playout: Playout,
    pub(super) source: Option<Source>,
    pub(super) ear: Ear,
    events: Vec<EventType>,
    noise: Vec<NoiseType>,
    ptime: Duration,
    timeout: Option<Duration>,
    timeout_on_hold: Option<Duration>,
    direction: Direction,
    /// The call went both ways before its direction changed: one side has put the other on hold (RFC 3264 §8.4). A call
    /// that began one way, such as a recorder's, is not on hold.
    held: bool,
    /// When the far end was last heard; before that, when the session began.
    last_heard: Time,
    pub(super) timed_out: bool,
    /// When the far end's goodbye was told.
    parted: Option<Time>,
    /// The far end said goodbye, when, and its reason; told once its last audio has been played.
    goodbye: Option<(Time, String)>,
    /// When another source at its address was heard after that.
    successor: Option<Time>,
}

/// The one source that is trusted.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) ssrc: Ssrc,
    pub(super) reception: Reception,
    seq: SeqTracker,
    times: TimeUnwrapper,
    /// That of its audio so far, and so of its timestamps, in Hz.
    clock_rate: u32,
    /// Packets before those that its reception counts, that came too late or found no room.
    pub(super) late_before: u64,
    /// The packet after a jump that is not believed yet: if the next one confirms it, it was the first of a restart.
    doubtful: Option<(Time, Vec<u8>)>,
}

impl Inbound {
    pub(super) fn new(config: &SessionConfig, now: Time, own: Ssrc, seed: u64) -> Inbound {
        let mut playout = Playout::new(
            &config.receive_codecs,
            config.ptime,
            config.jitter_delay,
            config.sample_rate,
            config.channels,
            seed,
        );
        playout.set_filters(&config.filters);
        let mut ear = Ear::new(
            config.receive_codecs[0].clock_rate,
            config.sample_rate,
            config.channels,
            config.dtmf_inband,
        );
        ear.set_filters(&config.filters);
        Inbound {
            guard: SourceGuard::new(config.source(), now).of(own),
            playout,
            source: None,
            ear,
            events: config.receive_events.clone(),
            noise: config.receive_noise.clone(),
            ptime: config.ptime,
            timeout: config.rtp_timeout,
            timeout_on_hold: config.rtp_timeout_on_hold,
            direction: config.direction,
            held: false,
            last_heard: now,
            timed_out: false,
            parted: None,
            goodbye: None,
            successor: None,
        }
    }

    pub(super) fn fill(&self, stats: &mut Stats) {
        let counts = self.playout.counts();
        stats.frames_received = counts.received;
        stats.frames_concealed = counts.concealed;
        stats.frames_silence = counts.silence;
        stats.frames_comfort_noise = counts.noise;
        stats.frames_given_back = counts.given_back;
        stats.undecodable = counts.undecodable;
        stats.packets_recovered = counts.recovered;
        (stats.buffered, stats.buffer_target) = self.playout.depth();
        let rejected = |reason| self.guard.rejected(reason);
        stats.stranger_host = rejected(RejectReason::OtherHost);
        stats.stranger_address = rejected(RejectReason::NotSignalled);
        stats.stranger_ssrc = rejected(RejectReason::UnexpectedSsrc);
        stats.stranger_meanwhile = rejected(RejectReason::LockedElsewhere);
        stats.stranger_too_late = rejected(RejectReason::TooLate);
        stats.rate_limited = rejected(RejectReason::RateLimited);
        stats.stranger_unproven = rejected(RejectReason::TooManyCandidates) + self.guard.given_up();
        stats.stranger = stats.stranger_host
            + stats.stranger_address
            + stats.stranger_ssrc
            + stats.stranger_meanwhile
            + stats.stranger_too_late
            + stats.stranger_unproven;
        if let Some(source) = &self.source {
            stats.packets_expected = source.reception.expected();
            stats.packets_lost = source.reception.lost();
            stats.jitter = Duration::from_secs_f64(source.reception.jitter_ms() / 1000.0);
        }
    }

    fn knows(&self, payload_type: u8) -> bool {
        self.event_clock(payload_type).is_some()
            || self.playout.codec_of(payload_type).is_some()
            || self.codec_of_noise(payload_type).is_some()
    }

    /// The clock of a payload type of telephone events.
    fn event_clock(&self, payload_type: u8) -> Option<u32> {
        let event = self.events.iter().find(|event| event.payload_type == payload_type);
        event.map(|event| event.clock_rate)
    }

    /// The codec at whose clock a payload type of comfort noise counts; without such a codec it means nothing.
    fn codec_of_noise(&self, payload_type: u8) -> Option<usize> {
        let noise = self.noise.iter().find(|noise| noise.payload_type == payload_type)?;
        self.playout.codec_of_clock(noise.clock_rate)
    }

    /// Goes over to what a new configuration asks for.
    pub(super) fn update(&mut self, now: Time, config: &SessionConfig) {
        self.playout.set_codecs(&config.receive_codecs, now);
        self.playout.set_filters(&config.filters);
        self.playout.set_ptime(config.ptime);
        self.ptime = config.ptime;
        self.events.clone_from(&config.receive_events);
        self.noise.clone_from(&config.receive_noise);
        self.timeout = config.rtp_timeout;
        self.timeout_on_hold = config.rtp_timeout_on_hold;
        self.turn(now, config.direction);
        self.ear.set_inband(config.dtmf_inband);
        if let Some(remote) = config.remote {
            self.retarget(now, remote);
        }
        if config.policy == Policy::Strict {
            self.guard.narrow();
        }
    }

    /// The far end is said to be elsewhere.
    pub(super) fn retarget(&mut self, now: Time, remote: SocketAddr) {
        if self.guard.signalled() != Some(remote) {
            // It was another one that has left.
            self.parted = None;
        }
        self.guard.retarget(now, remote);
    }
}

impl Inbound {
    /// Nothing need come now, or only music: the far end is silent without being gone.
    fn is_on_hold(&self) -> bool {
        self.held || !self.direction.receives()
    }

    fn turn(&mut self, now: Time, direction: Direction) {
        let before = core::mem::replace(&mut self.direction, direction);
        if before == direction {
            return;
        }
        self.held =
            direction != Direction::SendRecv && (self.held || before == Direction::SendRecv);
        // Whoever is taken off hold has a moment to begin.
        self.last_heard = self.last_heard.max(now);
        if !direction.receives() {
            self.playout.end_noise();
        } else if !before.receives() {
            // What went by meanwhile was not listened to, and is no loss.
            self.playout.new_timeline();
        }
    }

    /// `span` before `now` does not count as silence.
    pub(super) fn excuse(&mut self, span: Duration, now: Time) {
        self.last_heard = (self.last_heard + span).min(now);
    }

    /// The far end gave a sign of life; true if it had been taken for gone.
    fn hear(&mut self, at: Time) -> bool {
        self.last_heard = self.last_heard.max(at);
        if self.parted.is_some_and(|told| at - told < STRAGGLERS) {
            return false;
        }
        self.parted = None;
        core::mem::take(&mut self.timed_out)
    }
}

impl Session {
    /// RTCP is all that may come while the call is on hold.
    pub(super) fn hear_report(&mut self, now: Time) {
        if self.inbound.is_on_hold() {
            self.hear(now);
        }
    }

    /// The far end gave a sign of life.
    fn hear(&mut self, at: Time) {
        if self.inbound.hear(at) {
            self.reports.forgive();
            self.output.push_back(Output::Event(Event::RtpResumed));
        }
    }

    /// `authenticated`: SRTP has vouched for it.
    pub(super) fn receive_rtp(
        &mut self,
        now: Time,
        from: SocketAddr,
        datagram: &[u8],
        authenticated: bool,
    ) {
        let Ok(packet) = RtpPacket::parse(datagram) else {
            self.stats.malformed += 1;
            return;
        };
        if packet.ssrc == self.outbound.ssrc {
            if !self.is_reflection(now, from, &packet) {
                self.meet_own_ssrc(now, from);
                return;
            }
            self.stats.reflected += 1;
        }
        let inbound = &mut self.inbound;
        // What nobody agreed on proves nothing, whoever sends it.
        if !inbound.knows(packet.payload_type)
            && inbound.guard.locked() != Some((from, packet.ssrc))
        {
            if packet.payload.is_empty() {
                self.stats.keepalives_received += 1;
            } else {
                self.stats.unknown_payload_type += 1;
            }
            return;
        }
        match inbound.guard.judge(now, from, &packet, datagram, authenticated) {
            Verdict::Accept => self.accept(now, &packet, datagram),
            Verdict::Hold if inbound.guard.locked().is_some_and(|(addr, _)| addr == from) => {
                inbound.successor = Some(now);
            }
            Verdict::Hold => {}
            Verdict::NewSource { held, continues, .. } => {
                self.change_source(now, from, packet.ssrc, continues);
                for earlier in held {
                    if let Ok(packet) = RtpPacket::parse(&earlier.bytes) {
                        self.accept(earlier.arrival, &packet, &earlier.bytes);
                    }
                }
            }
            // The guard counts it by its reason.
            Verdict::Reject(_) => {}
        }
    }

    /// Whether the far end sends back what it was sent just now: it is heard, as those who test a line expect. With keys
    /// nothing that comes back is authentic.
    fn is_reflection(&self, now: Time, from: SocketAddr, packet: &RtpPacket<'_>) -> bool {
        self.secure.is_none()
            && self.inbound.guard.is_signalled(from)
            && self.reflection.is_ours(now, packet)
    }

    /// Looks after what only time tells: the end of a digit, the end of the far end.
    pub(super) fn watch_source(&mut self, now: Time) {
        self.forget_keys(now);
        self.tell_digits(now);
        let inbound = &mut self.inbound;
        inbound.playout.forget_codecs(now);
        let parts = inbound.goodbye.take_if(|(came, _)| {
            let proving = |heard| now - heard < PROVING && now - *came < LONGEST_PROOF;
            inbound.playout.depth().0 == Duration::ZERO && !inbound.successor.is_some_and(proving)
        });
        if let Some((_, reason)) = parts {
            inbound.playout.stop();
            inbound.ear.audio_ends(now, &mut self.output);
            self.tell_digits(Time::FAR);
            let inbound = &mut self.inbound;
            // Its silence from here on need not be told as well.
            (inbound.timed_out, inbound.parted) = (true, Some(now));
            self.output.push_back(Output::Event(Event::RemoteBye { reason }));
        }
        let inbound = &mut self.inbound;
        let limit = if inbound.is_on_hold() { inbound.timeout_on_hold } else { inbound.timeout };
        let silent = limit.is_some_and(|limit| now - inbound.last_heard >= limit);
        if silent && !inbound.timed_out {
            inbound.timed_out = true;
            inbound.playout.stop();
            inbound.ear.audio_ends(now, &mut self.output);
            self.tell_digits(Time::FAR);
            // Who is gone already is not gone once more.
            if !self.reports.timed_out {
                self.output.push_back(Output::Event(Event::RtpTimeout));
            }
        }
    }

    /// The far end said goodbye.
    pub(super) fn part(&mut self, now: Time, reason: &[u8]) {
        // Who has left, and was not heard since, does not leave again.
        if self.inbound.parted.is_some() {
            return;
        }
        // A peer's text, which may end in a log or a terminal.
        let reason = String::from_utf8_lossy(reason).chars().filter(|&c| is_plain(c)).collect();
        let inbound = &mut self.inbound;
        let came = inbound.goodbye.take().map_or(now, |(came, _)| came);
        inbound.goodbye = Some((came, reason));
    }

    /// A source has proved itself: reception begins anew (RFC 3550 §8.2), unless it is the same one at another address.
    fn change_source(&mut self, now: Time, addr: SocketAddr, ssrc: Ssrc, continues: bool) {
        let event = if self.inbound.source.is_some() {
            if !continues {
                self.reports.forget_far_end();
            }
            self.stats.source_changes += 1;
            Event::SourceChanged { addr, ssrc }
        } else {
            Event::SourceLocked { addr, ssrc }
        };
        self.output.push_back(Output::Event(event));
        if !continues {
            // What the old source began, it will not end.
            self.inbound.ear.audio_ends(now, &mut self.output);
            self.tell_digits(Time::FAR);
            let clock_rate = self.inbound.playout.spec(0).clock_rate;
            self.inbound.ear.receiver = dtmf::Receiver::new(clock_rate);
            self.inbound.playout.new_timeline();
            self.inbound.source = None;
            // The one that said goodbye has a successor: the far end has changed its SSRC and is still there.
            self.inbound.goodbye = None;
        }
    }

    /// Takes a packet of the trusted source.
    fn accept(&mut self, arrival: Time, packet: &RtpPacket<'_>, datagram: &[u8]) {
        self.stats.packets_received += 1;
        self.stats.octets_received += packet.payload.len() as u64;
        self.hear(arrival);
        let playout = &self.inbound.playout;
        let codec = playout.codec_of(packet.payload_type);
        let clock_rate = playout.spec(codec.unwrap_or(0)).clock_rate;
        let source = self.inbound.source.get_or_insert_with(|| {
            let seq = SeqTracker::new(packet.seq);
            Source {
                ssrc: packet.ssrc,
                reception: Reception::new(seq.newest(), clock_rate),
                seq,
                times: TimeUnwrapper::default(),
                clock_rate,
                late_before: self.stats.late + self.stats.overflow,
                doubtful: None,
            }
        });
        match source.seq.update(packet.seq) {
            SeqUpdate::Valid(seq) => {
                source.doubtful = None;
                self.place(arrival, seq, packet);
            }
            SeqUpdate::Doubtful => {
                self.stats.doubtful += 1;
                source.doubtful = Some((arrival, datagram.to_vec()));
            }
            SeqUpdate::Restarted(seq) => {
                self.stats.source_changes += 1;
                source.reception = Reception::new(seq.back(1), clock_rate);
                source.late_before = self.stats.late + self.stats.overflow;
                source.times = TimeUnwrapper::default();
                let first = source.doubtful.take();
                self.inbound.ear.receiver.new_timeline();
                self.inbound.playout.new_timeline();
                if let Some((arrival, bytes)) = first {
                    if let Ok(first) = RtpPacket::parse(&bytes) {
                        self.place(arrival, seq.back(1), &first);
                    }
                }
                self.place(arrival, seq, packet);
            }
        }
    }

    /// Puts a packet where it belongs: among the digits, or into the jitter buffer.
    fn place(&mut self, arrival: Time, seq: ExtSeq, packet: &RtpPacket<'_>) {
        let inbound = &mut self.inbound;
        let audio = inbound.playout.codec_of(packet.payload_type);
        let codec = audio.or_else(|| inbound.codec_of_noise(packet.payload_type));
        let event_clock = inbound.event_clock(packet.payload_type);
        let Some(source) = &mut inbound.source else { return };
        let timestamp = source.times.unwrap(packet.timestamp);
        if packet.payload.is_empty() && event_clock.is_none() {
            // RFC 6263 §4.6, or 0 ms of audio (RFC 3551 §4.2): nothing to play, nothing to start with.
            source.reception.on_untimed_packet(seq);
            inbound.playout.note_silent(seq);
            self.stats.keepalives_received += 1;
            return;
        }
        if !inbound.direction.receives() {
            // We said that we do not want it (RFC 3264 §5.1, §8.4); some was on its way, and some send regardless.
            source.reception.on_untimed_packet(seq);
            inbound.playout.note_silent(seq);
            self.stats.unwanted += 1;
            return;
        }
        let Some(codec) = codec else {
            source.reception.on_untimed_packet(seq);
            inbound.playout.note_silent(seq);
            if let Some(clock_rate) = event_clock {
                inbound.ear.receiver.set_clock_rates(clock_rate, source.clock_rate);
                self.take_event(arrival, timestamp, packet.payload);
            } else {
                self.stats.unknown_payload_type += 1;
            }
            return;
        };
        source.clock_rate = inbound.playout.spec(codec).clock_rate;
        source.reception.set_clock_rate(source.clock_rate);
        source.reception.on_packet(seq, packet.timestamp, arrival);
        let noise = audio.is_none();
        if noise && NoiseShape::parse(packet.payload).is_err() {
            inbound.playout.note_silent(seq);
            self.stats.comfort_noise_invalid += 1;
            return;
        }
        let spec = inbound.playout.spec(codec);
        let ticks = match spec.samples_in(packet.payload) {
            // It says what a pause sounds like, and lasts until the next packet.
            _ if noise => 0,
            Ok(samples) => u32::try_from(spec.ticks_for(samples as u64)).unwrap_or(u32::MAX),
            // It will be found undecodable when its time comes, and be concealed for a frame.
            Err(_) => frame_ticks(inbound.ptime, spec.clock_rate),
        };
        let payload = packet.payload.to_vec();
        let due = self.deadline();
        let packet = Packet { seq, timestamp, ticks, codec, noise, arrival, payload };
        match self.inbound.playout.insert(packet, due) {
            Insert::Stored => {}
            Insert::Late => self.stats.late += 1,
            Insert::Duplicate => self.stats.duplicate += 1,
            Insert::Overflow(dropped) => self.stats.overflow += dropped as u64,
        }
    }

    fn take_event(&mut self, arrival: Time, timestamp: ExtTime, payload: &[u8]) {
        match EventPayload::parse(payload) {
            Ok(event) => {
                let ear = &mut self.inbound.ear;
                ear.signalled(arrival);
                let outcome = ear.receiver.receive(arrival, timestamp, &event);
                if matches!(outcome, dtmf::Outcome::ZeroDuration | dtmf::Outcome::NotADigit) {
                    self.stats.dtmf_invalid += 1;
                }
                self.tell_digits(arrival);
            }
            Err(_) => self.stats.dtmf_invalid += 1,
        }
    }

    pub(super) fn tell_digits(&mut self, now: Time) {
        self.inbound.ear.tell(now, &mut self.stats, &mut self.output);
    }
}

/// Whether a character shows itself and changes nothing around it: no control of either set, no mark that turns the
/// direction, hides, or ends a line.
fn is_plain(c: char) -> bool {
    let hides = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !hides
}
