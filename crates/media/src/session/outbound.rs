//! The sending half of a session: a frame of audio, or an event packet in its place, at every frame's deadline.

use std::net::SocketAddr;

use super::{frame_ticks, Direction, EventType, Output, Port, Session, SessionConfig};
use crate::codec::{CodecSpec, Encoder};
use crate::dtmf::{self, EventPacket};
use crate::pacer::Pacer;
use crate::rng::Rng;
use crate::rtp::{RtpHeader, HEADER_LEN};
use crate::seq::{RtpTime, SeqNo, Ssrc};
use crate::time::Time;

/// Room for what SRTP appends: the longest tag, and an MKI of four octets.
const TAG_ROOM: usize = 20;

/// What is sent, and where it stands in sequence and time.
pub(super) struct Outbound {
    pub(super) pacer: Pacer,
    pub(super) digits: dtmf::Sender,
    pub(super) ssrc: Ssrc,
    pub(super) codec: CodecSpec,
    encoder: Box<dyn Encoder>,
    event: Option<EventType>,
    /// Whether audio goes on beside events; and whether the one on its way has the wire for itself, which holds to its end.
    beside: bool,
    alone: bool,
    pub(super) direction: Direction,
    seq: SeqNo,
    /// The timestamp of the frame that is due next. It advances with the clock, sent or not (RFC 3551 §4.1).
    timestamp: RtpTime,
    ticks: u32,
    /// True if the frame before this one was sent: the next is not the first of a talkspurt.
    talking: bool,
    pcm: Vec<i16>,
    /// Octets of the last payload of audio: the next one is likely to be as long.
    room: usize,
}

impl Outbound {
    pub(super) fn new(config: &SessionConfig, ssrc: Ssrc, rng: &mut Rng) -> Outbound {
        let codec = config.send_codec;
        let mut digits = dtmf::Sender::new(codec.clock_rate);
        digits.set_events(config.send_event().map(|event| event.clock_rate));
        let mut pacer = Pacer::new(config.ptime, codec.sample_rate, codec.channels);
        pacer.filters.add_all(&config.filters);
        Outbound {
            pacer,
            digits,
            ssrc,
            codec,
            encoder: codec.encoder(),
            event: config.send_event(),
            beside: config.dtmf_beside_audio,
            alone: false,
            direction: config.direction,
            seq: first_seq(rng, config.srtp.is_some()),
            timestamp: RtpTime(rng.next_u32()),
            ticks: frame_ticks(config.ptime, codec.clock_rate),
            talking: false,
            pcm: Vec::new(),
            room: 0,
        }
    }

    /// Goes over to what a new configuration asks for, between two frames: sequence, SSRC and the queued audio go on, and
    /// the timestamp runs on from where it is at the new codec's clock (RFC 7160 §4.1).
    pub(super) fn update(&mut self, config: &SessionConfig) {
        let codec = config.send_codec;
        if codec != self.codec {
            // Another payload type or bit rate is no reason to begin anew, which the far end would hear.
            if !codec.is_same_but_for_type(&self.codec) && !self.encoder.adapt(&codec) {
                self.encoder = codec.encoder();
            }
            self.codec = codec;
        }
        self.pacer.filters.add_all(&config.filters);
        self.pacer.set_format(config.ptime, codec.sample_rate, codec.channels);
        self.digits.set_clock_rate(codec.clock_rate);
        self.ticks = frame_ticks(config.ptime, codec.clock_rate);
        let event = config.send_event();
        if event.is_none() || !config.direction.sends() {
            self.digits.let_go();
        }
        // An event on its way ends under the type that it began with, where there is no other.
        self.event = event.or(self.event);
        self.digits.set_events(event.map(|event| event.clock_rate));
        self.beside = config.dtmf_beside_audio;
        self.direction = config.direction;
    }

    /// Begins a new sequence, for a new SSRC.
    pub(super) fn begin_sequence(&mut self, rng: &mut Rng, secured: bool) {
        self.seq = first_seq(rng, secured);
    }

    /// Lets the time of `frames` frames pass unsent.
    pub(super) fn skip(&mut self, frames: u64) {
        self.timestamp = self.timestamp.after_frames(frames, self.ticks);
        if frames > 0 {
            self.talking = false;
        }
    }

    /// The timestamp that stands for `now`, `next_frame` being the deadline of the next frame (RFC 3550 §6.4.1).
    pub(super) fn timestamp_at(&self, now: Time, next_frame: Time) -> RtpTime {
        let rate = self.codec.clock_rate;
        self.timestamp.after(now - next_frame, rate).before(next_frame - now, rate)
    }

    /// The timestamp of the frame that was due last.
    pub(super) fn last_timestamp(&self) -> RtpTime {
        self.timestamp.back(self.ticks)
    }

    /// A packet that is still without payload, with room for so many octets of that.
    pub(super) fn header(
        &mut self,
        marker: bool,
        payload_type: u8,
        timestamp: RtpTime,
        payload: usize,
    ) -> Vec<u8> {
        let header = RtpHeader { marker, payload_type, seq: self.seq, timestamp, ssrc: self.ssrc };
        self.seq = self.seq.plus(1);
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload + TAG_ROOM);
        header.write(&mut bytes);
        bytes
    }
}

impl Session {
    /// Sends the frame that is due: the packet of an event, or else audio, if there is any.
    ///
    /// An event has the wire for itself until its last packet, as with gateways: with audio between its packets, a relay that
    /// transcodes gives the end's repeats the audio's time, and what comes out is several presses. What is played waits
    /// meanwhile; live audio passes, since later it would be late.
    pub(super) fn send_frame(&mut self) {
        let out = &mut self.outbound;
        let Some(to) = self.inbound.guard.destination() else {
            // Nobody to talk to yet: audio waits, time does not.
            out.skip(1);
            return;
        };
        let sends = out.direction.sends();
        if !sends && !out.digits.is_active() {
            // On hold: what is played waits, live audio passes with the time.
            out.pacer.pass_live();
            out.skip(1);
            self.tell_progress();
            return;
        }
        // On hold, a key that was let go for it has an end, which the far end is told.
        let (timestamp, ticks) = (out.timestamp, out.ticks);
        out.timestamp = timestamp.plus(ticks);
        let event = out.digits.next(timestamp, ticks);
        if let Some(event) = event {
            if event.marker {
                out.alone = !out.beside;
            }
        }
        if !sends || event.is_some() && out.alone {
            out.pacer.pass_live();
        }
        if event.is_some() && out.alone {
            // The audio behind it begins anew, for a receiver that places it: its time has jumped.
            out.talking = false;
            self.idle.spoke();
        } else {
            self.send_audio(to, timestamp, sends);
        }
        if let Some(event) = event {
            self.send_event(to, &event);
        }
        self.tell_progress();
    }

    /// Sends the frame of audio that is due, or what fills its place.
    fn send_audio(&mut self, to: SocketAddr, timestamp: RtpTime, sends: bool) {
        let out = &mut self.outbound;
        let mut pcm = core::mem::take(&mut out.pcm);
        let audio = sends && out.pacer.frame(&mut pcm);
        let tells = audio && !out.pacer.left().is_empty();
        if !audio {
            pcm.clear();
            pcm.resize(out.pacer.frame_len(), 0);
        }
        let (rate, channels) = (out.codec.sample_rate, out.codec.channels);
        // Tones take the place of the audio, which goes on unheard behind them.
        let speaks = out.digits.fill(&mut pcm, rate, channels) || audio;
        let fills = sends && !speaks && self.idle.fills_with_silence();
        out.pcm = pcm;
        if speaks {
            self.idle.spoke();
        }
        let mut talks = speaks || fills;
        if talks {
            let seq = out.seq;
            let mut bytes = out.header(!out.talking, out.codec.payload_type, timestamp, out.room);
            out.encoder.encode(&out.pcm, &mut bytes);
            if bytes.len() > HEADER_LEN {
                out.room = bytes.len() - HEADER_LEN;
                self.transmit(to, bytes);
            } else {
                // The codec leaves this frame out: time goes on, the sequence does not (RFC 7587 §3.1.3).
                out.seq = seq;
                talks = false;
            }
        }
        // Silence that is sent is no silence on the wire: what follows it is no talkspurt of its own (RFC 3551 §4.1).
        self.outbound.talking = talks;
        if tells {
            self.tell_what_left();
        }
        if sends && !speaks && !fills {
            if let Some((payload_type, payload)) = self.idle.noise_due(self.ptime) {
                self.send_beside(to, payload_type, timestamp, &payload);
            }
        }
    }

    /// Ends the event that is on its way: nothing is sent after it.
    pub(super) fn hang_up_digit(&mut self) {
        let Some(event) = self.outbound.digits.hang_up() else { return };
        if let Some(to) = self.inbound.guard.destination() {
            self.send_event(to, &event);
        }
    }

    fn send_event(&mut self, to: SocketAddr, event: &EventPacket) {
        let out = &mut self.outbound;
        let Some(EventType { payload_type, .. }) = out.event else { return };
        let mut bytes =
            out.header(event.marker, payload_type, event.timestamp, event.payload.len());
        bytes.extend_from_slice(&event.payload);
        self.transmit(to, bytes);
    }

    pub(super) fn transmit(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.stats.packets_sent += 1;
        self.stats.octets_sent += (bytes.len() - HEADER_LEN) as u64;
        self.reports.sent_something();
        if self.secure.is_none() {
            self.reflection.sent(&bytes, self.ptime);
        }
        self.output.push_back(Output::Datagram { to, port: Port::Rtp, bytes });
    }
}

/// With SRTP in the lower half: the receiver guesses the rollover counter, and is wrong if it loses the first packets and
/// with them the turn (RFC 3711 §3.3.1).
fn first_seq(rng: &mut Rng, secured: bool) -> SeqNo {
    SeqNo(rng.next_u16() >> u32::from(secured))
}

impl core::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Outbound")
            .field("codec", &self.codec)
            .field("ssrc", &self.ssrc)
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}
