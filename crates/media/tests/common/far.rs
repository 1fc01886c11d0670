//! A far end that is told what to send, packet by packet, and what is heard of it.

use roomkit_media::codec::CodecSpec;
use roomkit_media::rtp::RtpHeader;
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{
    Event, Frame, FrameKind, Output, Port, RtcpMode, Session, SessionConfig,
};
use roomkit_media::time::Time;

/// A far end that sends what it is told, packet by packet.
pub struct Far {
    pub session: Session,
    pub seq: u16,
    /// The first octet of its packets: version, padding bit, extension bit, count of CSRCs.
    pub first: u8,
    /// RTP ticks per millisecond.
    per_ms: u32,
    pub frames: Vec<Frame>,
    pub events: Vec<Event>,
}

impl Far {
    pub fn new(per_ms: u32, change: impl Fn(&mut SessionConfig)) -> Far {
        let mut config = SessionConfig::pcmu(Some(super::A.parse().unwrap()));
        config.rtcp = RtcpMode::Off;
        change(&mut config);
        let session = Session::new(config, Time::ZERO, 11).unwrap();
        Far { session, seq: 65_530, first: 0x80, per_ms, frames: vec![], events: vec![] }
    }

    /// A packet at `ms`, which is its timestamp too.
    pub fn send(&mut self, ms: u64, payload_type: u8, payload: &[u8]) {
        self.send_late(ms, ms, payload_type, payload);
    }

    pub fn send_late(&mut self, ms: u64, arrival_ms: u64, payload_type: u8, payload: &[u8]) {
        self.send_ticks(ms as u32 * self.per_ms, arrival_ms, payload_type, payload);
    }

    /// A packet at `arrival_ms` whose timestamp is so many ticks after the first one's.
    pub fn send_ticks(&mut self, ticks: u32, arrival_ms: u64, payload_type: u8, payload: &[u8]) {
        self.run(arrival_ms);
        let mut bytes = vec![];
        let timestamp = RtpTime((u32::MAX - 20_000).wrapping_add(ticks));
        let (seq, ssrc) = (SeqNo(self.seq), Ssrc(5));
        RtpHeader { marker: false, payload_type, seq, timestamp, ssrc }.write(&mut bytes);
        bytes[0] = self.first;
        bytes.extend_from_slice(payload);
        self.seq = self.seq.wrapping_add(1);
        let from = super::A.parse().unwrap();
        self.session.receive(Time::ms(arrival_ms), from, Port::Rtp, &bytes);
    }

    /// 20 ms packets of a tone from `ms` on.
    pub fn talk(&mut self, ms: u64, packets: u64) {
        for n in 0..packets {
            let pcm: Vec<i16> = (0..160).map(|i| if i % 16 < 8 { 4000 } else { -4000 }).collect();
            let mut payload = vec![];
            CodecSpec::PCMU.encoder().encode(&pcm, &mut payload);
            self.send(ms + 20 * n, 0, &payload);
        }
    }

    pub fn run(&mut self, until_ms: u64) {
        while self.session.deadline() < Time::ms(until_ms) {
            let due = self.session.deadline();
            self.session.handle_deadline(due);
            while let Some(output) = self.session.poll() {
                match output {
                    Output::Frame(frame) => self.frames.push(frame),
                    Output::Event(event) => self.events.push(event),
                    Output::Datagram { .. } => {}
                }
            }
        }
    }

    pub fn count(&self, kind: FrameKind) -> usize {
        self.frames.iter().filter(|frame| frame.kind == kind).count()
    }
}

/// Of a square wave at the overload point it is 0 (RFC 3389 §3.1).
pub fn dbov(pcm: &[i16]) -> f64 {
    let power: f64 = pcm.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / pcm.len() as f64;
    10.0 * (power / 32_768f64.powi(2)).log10()
}

pub fn noise_heard(frames: &[Frame]) -> Vec<i16> {
    let noise = frames.iter().filter(|frame| frame.kind == FrameKind::ComfortNoise);
    noise.flat_map(|frame| frame.pcm.clone()).collect()
}
