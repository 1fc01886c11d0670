//! RTCP of a session: what it reports, and what it learns from the far end's reports.

use std::net::SocketAddr;

use super::{Event, Output, Port, RtcpMode, Session, SessionConfig};
use crate::report::{in_65536ths, round_trip};
use crate::rng::Rng;
use crate::rtcp::xr::{Delay, Delays, VoipMetrics, XrBlock, XrBlocks, NO_LEVEL};
use crate::rtcp::{
    parse_compound, write_compound, Compound, ReportBlock, RtcpPacket, Schedule, SenderInfo,
};
use crate::seq::{wire_count, NtpTime, Ssrc};
use crate::source::rate::Rate;
use crate::stats::Stats;
use crate::time::{Duration, Time};

/// Who sent RTP since the report before the last one is a sender (RFC 3550 §6.4).
const SENDER_FOR_REPORTS: u8 = 2;

/// Compounds of the far end that are taken in a second, in the mean: one for each frame. Who reports on a call does it every
/// few seconds, and at once only of what has just happened (RFC 4585 §3.1).
const MOST_REPORTS: u32 = 50;

/// The RTCP side of a session.
#[derive(Debug)]
pub(super) struct Reports {
    pub(super) mode: RtcpMode,
    /// Reports are taken on RTP's port: they were to come there at one time, and the far end learns of a change later than we do.
    pub(super) muxed: bool,
    /// Where the far end's RTCP really comes from, once it came.
    pub(super) remote: Option<SocketAddr>,
    configured: Option<SocketAddr>,
    rate: Rate,
    schedule: Schedule,
    cname: String,
    wallclock: NtpTime,
    /// Reports to come in which we count as a sender.
    sender_for: u8,
    /// True once any RTP or RTCP left: who never spoke does not say goodbye (RFC 3550 §6.3.7).
    spoke: bool,
    /// RTP packets and payload octets sent before the present SSRC: its sender reports count from zero (§6.4.1).
    before_ssrc: (u64, u64),
    /// The address that was seen with our SSRC: what comes from there is our own, looped (§8.2).
    conflict: Option<SocketAddr>,
    timeout: Option<Duration>,
    /// When the far end's RTCP came last.
    last_heard: Option<Time>,
    pub(super) timed_out: bool,
    pub(super) far: FarEnd,
    /// Whether extended reports are sent.
    extended: bool,
}

/// What the far end says of our stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FarEnd {
    pub(super) block: Option<ReportBlock>,
    pub(super) round_trip: Option<Duration>,
    clock_rate: u32,
    /// What it says of how our stream arrives (RFC 3611 §4.7).
    pub(super) voip: Option<VoipMetrics>,
    /// What it says it has sent.
    sent: Option<SenderInfo>,
    /// Its newest reference time and when it came, to be answered (RFC 3611 §4.5).
    reference: Option<(Ssrc, NtpTime, Time)>,
}

impl Reports {
    pub(super) fn new(config: &SessionConfig, now: Time, rng: &mut Rng) -> Reports {
        Reports {
            mode: config.rtcp,
            muxed: config.rtcp == RtcpMode::Mux,
            remote: None,
            configured: config.remote_rtcp,
            rate: Rate::new(MOST_REPORTS),
            schedule: Schedule::new(config.rtcp_interval, now, rng),
            cname: config.cname.clone(),
            wallclock: config.wallclock,
            sender_for: 0,
            spoke: false,
            before_ssrc: (0, 0),
            conflict: None,
            extended: config.extended_reports,
            far: FarEnd { clock_rate: config.send_codec.clock_rate, ..FarEnd::default() },
            timeout: config.rtcp_timeout,
            last_heard: None,
            timed_out: false,
        }
    }

    /// Goes over to what a new configuration asks for.
    pub(super) fn update(&mut self, config: &SessionConfig, moved: bool) {
        if moved || self.configured != config.remote_rtcp {
            self.configured = config.remote_rtcp;
            self.remote = None;
        }
        if config.rtcp != self.mode && ![config.rtcp, self.mode].contains(&RtcpMode::Off) {
            self.mode = config.rtcp;
            self.muxed |= config.rtcp == RtcpMode::Mux;
            self.remote = None;
        }
        self.far.clock_rate = config.send_codec.clock_rate;
        self.timeout = config.rtcp_timeout;
    }

    /// The far end is back with its audio: its reports are missed again once one has come.
    pub(super) fn forgive(&mut self) {
        (self.timed_out, self.last_heard) = (false, None);
    }

    /// What the far end said was another's: nobody has said anything of our stream or theirs.
    pub(super) fn forget_far_end(&mut self) {
        self.far = FarEnd { clock_rate: self.far.clock_rate, ..FarEnd::default() };
    }

    /// `span` before `now` does not count as silence.
    pub(super) fn excuse(&mut self, span: Duration, now: Time) {
        self.last_heard = self.last_heard.map(|heard| (heard + span).min(now));
    }

    /// RTP left.
    pub(super) fn sent_something(&mut self) {
        self.sender_for = SENDER_FOR_REPORTS;
        self.spoke = true;
    }

    pub(super) fn is_due(&mut self, now: Time, rng: &mut Rng) -> bool {
        self.mode != RtcpMode::Off && self.schedule.due(now, rng)
    }

    pub(super) fn fill(&self, stats: &mut Stats) {
        stats.round_trip = self.far.round_trip;
        if let Some(block) = self.far.block {
            stats.remote_lost = Some(block.cumulative_lost);
            stats.remote_fraction_lost = Some(f32::from(block.fraction_lost) / 256.0);
            let nanos = u64::from(block.jitter) * 1_000_000_000 / u64::from(self.far.clock_rate);
            stats.remote_jitter = Some(Duration::from_nanos(nanos));
        }
        if let Some(sent) = self.far.sent {
            stats.remote_packets_sent = Some(sent.packets);
            stats.remote_octets_sent = Some(sent.octets);
        }
        if let Some(voip) = self.far.voip {
            let level = |dbm0: i8| (dbm0 != NO_LEVEL).then(|| f32::from(dbm0));
            stats.remote_discard_fraction = Some(f32::from(voip.discard_rate) / 256.0);
            stats.remote_burst_density = Some(f32::from(voip.burst_density) / 256.0);
            stats.remote_burst_duration = Some(Duration::from_millis(voip.burst_ms.into()));
            let delay = Duration::from_millis(voip.end_system_ms.into());
            stats.remote_end_delay = Some(delay).filter(|delay| !delay.is_zero());
            let span =
                |ms: u16| Some(Duration::from_millis(ms.into())).filter(|span| !span.is_zero());
            stats.remote_buffer = span(voip.jb_nominal_ms);
            stats.remote_buffer_most = span(voip.jb_maximum_ms.max(voip.jb_nominal_ms));
            stats.remote_signal_dbm0 = level(voip.signal_dbm0);
            stats.remote_noise_dbm0 = level(voip.noise_dbm0);
        }
    }

    /// RTP packets that left under the present SSRC.
    pub(super) fn packets_of_ssrc(&self, stats: &Stats) -> u64 {
        // What was sent right before may turn out not to have left.
        stats.packets_sent.saturating_sub(self.before_ssrc.0)
    }

    fn ntp(&self, now: Time) -> NtpTime {
        self.wallclock.plus(now - Time::ZERO)
    }
}

impl Session {
    /// Sends a compound: with a `bye`, the last one.
    pub(super) fn send_report(&mut self, now: Time, bye: Option<&str>) {
        let reports = &mut self.reports;
        if reports.mode == RtcpMode::Off || (bye.is_some() && !reports.spoke) {
            return;
        }
        let Some((to, port)) = self.rtcp_destination() else {
            // Nobody to report to yet; ask again in an interval.
            self.reports.schedule.on_sent(now, &mut self.rng);
            return;
        };
        let next_frame = self.frame_time(self.frame);
        let reports = &mut self.reports;
        let sent = (reports.sender_for > 0).then(|| SenderInfo {
            ntp: reports.ntp(now),
            rtp: self.outbound.timestamp_at(now, next_frame),
            packets: wire_count(reports.packets_of_ssrc(&self.stats)),
            octets: wire_count(self.stats.octets_sent.saturating_sub(reports.before_ssrc.1)),
        });
        let metrics = if reports.extended { self.voip_metrics() } else { None };
        let reports = &mut self.reports;
        let mut blocks = Vec::with_capacity(2);
        // Who sends no SR is told the round trip this way (RFC 3611 §4.4).
        if reports.extended && sent.is_none() {
            blocks.push(XrBlock::ReferenceTime(reports.ntp(now)));
        }
        let answer = reports.far.reference.map(|(ssrc, ntp, at)| {
            Delay { ssrc, lrr: ntp.middle(), dlrr: in_65536ths(now - at) }.to_bytes()
        });
        blocks.extend(answer.as_ref().map(|bytes| XrBlock::Dlrr(Delays::one(bytes))));
        blocks.extend(metrics.map(XrBlock::Voip));
        // Of our own stream that comes back, the far end has nothing to be told.
        let source =
            self.inbound.source.as_mut().filter(|source| source.ssrc != self.outbound.ssrc);
        let block = source.map(|source| source.reception.block(source.ssrc, now));
        let mut bytes = Vec::with_capacity(128);
        write_compound(
            &mut bytes,
            self.outbound.ssrc,
            sent,
            block.as_slice(),
            &reports.cname,
            &blocks,
            bye,
        );
        reports.spoke = true;
        reports.sender_for = reports.sender_for.saturating_sub(1);
        reports.schedule.on_sent(now, &mut self.rng);
        self.stats.rtcp_sent += 1;
        if self.secure.is_none() {
            self.reflection.reported(now, &bytes);
        }
        self.output.push_back(Output::Datagram { to, port, bytes });
    }

    /// Whether the far end's reports have stopped. Where none ever came there is nothing to miss.
    pub(super) fn watch_reports(&mut self, now: Time) {
        let reports = &mut self.reports;
        let (Some(limit), Some(heard)) = (reports.timeout, reports.last_heard) else { return };
        if now - heard >= limit && !reports.timed_out {
            reports.timed_out = true;
            if !self.inbound.timed_out {
                self.output.push_back(Output::Event(Event::RtcpTimeout));
            }
        }
    }

    pub(super) fn receive_rtcp(
        &mut self,
        now: Time,
        from: SocketAddr,
        port: Port,
        datagram: &[u8],
    ) {
        let Ok(compound) = parse_compound(datagram) else {
            self.stats.rtcp_malformed += 1;
            return;
        };
        if self.secure.is_none()
            && self.inbound.guard.may_report(from)
            && self.reflection.is_our_report(now, datagram)
        {
            // It says nothing that we did not say: not even, after a collision, that the far end has left.
            self.stats.reflected += 1;
            return;
        }
        if compound.sender() == self.outbound.ssrc {
            self.meet_own_ssrc(now, from);
            return;
        }
        if !self.inbound.guard.judge_rtcp(from, compound.sender()) {
            self.stats.rtcp_stranger += 1;
            return;
        }
        let bye = self.goodbye_in(&compound);
        if !self.reports.rate.admits(now) {
            self.stats.rtcp_rate_limited += 1;
            // However much came before it.
            if let Some(reason) = bye.filter(|_| self.may_part(from)) {
                self.part(now, reason);
            }
            return;
        }
        self.stats.rtcp_received += 1;
        if port == Port::Rtcp {
            self.reports.remote = Some(from);
        }
        self.reports.last_heard = self.reports.last_heard.max(Some(now));
        // A goodbye is no sign of life.
        if bye.is_none() {
            if core::mem::take(&mut self.reports.timed_out) && !self.inbound.timed_out {
                self.output.push_back(Output::Event(Event::RtpResumed));
            }
            self.hear_report(now);
        }
        for packet in compound {
            match packet {
                RtcpPacket::SenderReport { ssrc, info, blocks } => {
                    let source = self.inbound.source.as_mut().filter(|s| s.ssrc == ssrc);
                    if let Some(source) = source {
                        source.reception.on_sender_report(&info, now);
                    }
                    self.reports.far.sent = Some(info);
                    self.learn(now, blocks);
                }
                RtcpPacket::Extended { ssrc, blocks } if ssrc == compound.sender() => {
                    self.learn_extended(now, ssrc, blocks);
                }
                RtcpPacket::ReceiverReport { blocks, .. } => self.learn(now, blocks),
                _ => {}
            }
        }
        match bye {
            Some(reason) if self.may_part(from) => self.part(now, reason),
            Some(_) => self.stats.rtcp_stranger += 1,
            None => {}
        }
    }

    /// The reason of a goodbye that is the far end's.
    fn goodbye_in<'a>(&self, compound: &Compound<'a>) -> Option<&'a [u8]> {
        let source = self.inbound.source.as_ref().map(|source| source.ssrc);
        let leaves = |ssrc| Some(ssrc) == source || ssrc == compound.sender();
        compound.iter().find_map(|packet| match packet {
            RtcpPacket::Bye { mut ssrcs, reason } => ssrcs.any(leaves).then_some(reason),
            _ => None,
        })
    }

    /// Somebody uses our SSRC, and it is no reflection. From the far end's host it is a collision the first time: we leave under the old SSRC and
    /// go on under a new one. After that it is a loop, and is dropped (RFC 3550 §8.2).
    pub(super) fn meet_own_ssrc(&mut self, now: Time, from: SocketAddr) {
        self.stats.looped += 1;
        let far_host = self.destination().map(|addr| addr.ip());
        if far_host != Some(from.ip()) || self.reports.conflict.is_some() {
            return;
        }
        self.reports.conflict = Some(from);
        self.send_report(now, Some("SSRC collision"));
        self.outbound.ssrc = Ssrc(self.rng.next_u32());
        self.inbound.guard.renamed(self.outbound.ssrc);
        if self.secure.is_some() {
            self.outbound.begin_sequence(&mut self.rng, true);
        }
        self.reports.far.voip = None;
        self.reports.far.block = None;
        self.reports.before_ssrc = (self.stats.packets_sent, self.stats.octets_sent);
    }

    /// Takes from the far end's report what it says of our stream.
    fn learn(&mut self, now: Time, blocks: impl Iterator<Item = ReportBlock>) {
        let own = self.outbound.ssrc;
        for block in blocks.filter(|block| block.ssrc == own) {
            let far = &mut self.reports.far;
            far.block = Some(block);
            let wall = self.reports.wallclock.plus(now - Time::ZERO);
            far.round_trip = round_trip(&block, wall).or(far.round_trip);
        }
    }

    /// Takes from its extended report what that says of our stream and of the way.
    fn learn_extended(&mut self, now: Time, sender: Ssrc, blocks: XrBlocks<'_>) {
        let own = self.outbound.ssrc;
        let wall = self.reports.ntp(now);
        let far = &mut self.reports.far;
        for block in blocks {
            match block {
                XrBlock::ReferenceTime(ntp) => far.reference = Some((sender, ntp, now)),
                XrBlock::Dlrr(delays) => {
                    for delay in delays.filter(|delay| delay.ssrc == own) {
                        let as_block =
                            ReportBlock { lsr: delay.lrr, dlsr: delay.dlrr, ..Default::default() };
                        far.round_trip = round_trip(&as_block, wall).or(far.round_trip);
                    }
                }
                XrBlock::Voip(metrics) if metrics.ssrc == own => far.voip = Some(metrics),
                XrBlock::Voip(_) | XrBlock::Unknown { .. } => {}
            }
        }
    }

    /// Where RTCP goes: to where the far end's comes from, else to where it is configured or usual to be.
    fn rtcp_destination(&self) -> Option<(SocketAddr, Port)> {
        if self.reports.mode == RtcpMode::Mux {
            return Some((self.announced_rtcp()?, Port::Rtp));
        }
        Some((self.reports.remote.or_else(|| self.announced_rtcp())?, Port::Rtcp))
    }

    /// Where the far end's RTCP is configured or usual to be.
    fn announced_rtcp(&self) -> Option<SocketAddr> {
        let media = self.destination()?;
        let usual = match self.reports.mode {
            RtcpMode::Mux => Some(media),
            _ => media.port().checked_add(1).map(|port| SocketAddr::new(media.ip(), port)),
        };
        self.reports.configured.or(usual)
    }

    /// Whether a goodbye from this address ends the call. Before a source has proved itself there is no SSRC that a forger
    /// would have to guess: then it must come from exactly where RTCP was announced, or be vouched for by a key.
    fn may_part(&self, from: SocketAddr) -> bool {
        self.secure.is_some()
            || self.inbound.guard.locked().is_some_and(|(_, ssrc)| ssrc != self.outbound.ssrc)
            || self.announced_rtcp().is_some_and(|announced| {
                (announced.ip().to_canonical(), announced.port())
                    == (from.ip().to_canonical(), from.port())
            })
    }
}
