//! Operations on a session, as the program and the network may bring them in any order: every datagram is well formed,
//! the timelines hold in both directions, playbacks end once, and the same operations give the same outputs.
#![no_main]

#[path = "session/clean_end.rs"]
mod clean_end;
#[path = "session/setup.rs"]
mod setup;

use std::collections::BTreeSet;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use roomkit_media::dtmf::{parse_dial, Digit, Method, Tone};
use roomkit_media::rtcp::{parse_compound, write_compound, SenderInfo};
use roomkit_media::rtp::{is_rtcp, RtpHeader, RtpPacket};
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{
    unheard_reasons, Chunk, Event, Mark, Output, Port, RtcpMode, Session, SessionConfig,
};
use roomkit_media::srtp::{Effort, Srtp};
use roomkit_media::time::{Duration, Time};

use setup::{codecs, config, keys, peer, ptime_of, ssrc_of, Setup, DIRECTIONS, FILLS};

/// Operations of one run: enough for a call with everything in it, few enough for a thousand runs a second.
const MAX_OPERATIONS: usize = 150;

/// What may happen next.
#[derive(Arbitrary, Clone, Debug)]
enum Operation {
    /// Time passes, and every deadline is served when it is due.
    Wait {
        ms: u8,
    },
    /// The machine was busy: only then are the deadlines served.
    Stall {
        ms: u16,
    },
    /// A packet of a stream that is mostly in order.
    Rtp {
        from: u8,
        seq_step: i8,
        time_step: i16,
        far_jump: bool,
        payload_type: u8,
        len: u8,
    },
    /// A packet of a telephone event.
    Key {
        from: u8,
        marker: bool,
        new: bool,
        event: u8,
        flags: u8,
        duration: u16,
    },
    /// A key's tones in the audio, at the pace of a call.
    Tones {
        from: u8,
        event: u8,
        packets: u8,
    },
    /// A description of noise.
    Noise {
        from: u8,
        wide: bool,
        time_step: i16,
        payload: Vec<u8>,
    },
    /// A compound that is well formed.
    Rtcp {
        from: u8,
        sender: bool,
        own_ssrc: bool,
        bye: bool,
    },
    /// Anything at all.
    Datagram {
        from: u8,
        rtcp_port: bool,
        bytes: Vec<u8>,
    },
    Play {
        next: bool,
        samples: u16,
        rate: u32,
        channels: u8,
        last: bool,
    },
    Cancel {
        back: u8,
    },
    SendDigit {
        event: u8,
        ms: u16,
    },
    Dial {
        text: String,
        tones: bool,
    },
    CancelDial,
    Inject {
        event: u8,
        ms: u16,
    },
    Mask(bool),
    Mute(bool),
    Retarget(u8),
    Update {
        codec: u8,
        only_codec: bool,
        ptime: u8,
        direction: u8,
        fill: u8,
        remote: Option<u8>,
        mux: bool,
    },
    /// Other keys at both ends, or the first.
    Rekey(u8),
    Close,
}

fuzz_target!(|input: (Setup, Vec<Operation>)| {
    let (setup, mut operations) = input;
    operations.truncate(MAX_OPERATIONS);
    let mut first = Run::new(setup);
    let mut second = Run::new(setup);
    for operation in &operations {
        first.perform(operation);
        second.perform(operation);
        assert_eq!(first.outputs, second.outputs, "the same operations, the same outputs");
    }
    first.end_cleanly(setup);
    first.perform(&Operation::Close);
    first.outputs.clear();
    first.perform(&Operation::Wait { ms: 255 });
    assert!(first.outputs.is_empty(), "nothing comes after the end");
    assert_eq!(first.session.deadline(), Time::FAR);
    assert_eq!(first.playing, None, "what started has ended");
});

/// A session and what must hold of it.
struct Run {
    session: Session,
    /// The far end's keys: it can open all that leaves, and seals what it sends.
    far: Option<Srtp>,
    config: SessionConfig,
    now: Time,
    /// The far end's stream.
    seq: SeqNo,
    timestamp: RtpTime,
    key_timestamp: RtpTime,
    /// Outputs of the last operation.
    outputs: Vec<Output>,
    last_seq: Option<(Ssrc, SeqNo)>,
    /// Frames of tones and packets of events that left since it may not send.
    on_hold: (u32, u32),
    /// Where the last frame ended.
    frames_end: Duration,
    playback: u64,
    /// The playback has its last piece; more audio is another one.
    complete: bool,
    playing: Option<u64>,
    /// The newest mark, and the newest that was told; until when audio has left.
    mark: u64,
    last_mark: u64,
    left_until: Duration,
    ended: BTreeSet<u64>,
    /// The far end was said to be gone, and has not been back since.
    gone: bool,
    deaf: bool,
    /// The number of what was dialled last.
    batch: u64,
    dialled: BTreeSet<u64>,
    /// Frames were held back at some time: those of another length may still come.
    masked: bool,
}

impl Run {
    fn new(setup: Setup) -> Run {
        let config = config(setup);
        let session = Session::new(config.clone(), Time::ZERO, setup.seed)
            .expect("a configuration that fits");
        Run {
            session,
            far: setup.secured.map(|secret| Srtp::new(&keys(secret).1)),
            now: Time::ZERO,
            config,
            seq: SeqNo(65_500),
            timestamp: RtpTime(u32::MAX - 1_000),
            key_timestamp: RtpTime(0),
            outputs: Vec::new(),
            last_seq: None,
            on_hold: (0, 0),
            frames_end: Duration::ZERO,
            playback: 1,
            complete: false,
            playing: None,
            mark: 0,
            last_mark: 0,
            left_until: Duration::ZERO,
            ended: BTreeSet::new(),
            gone: false,
            deaf: false,
            batch: 0,
            dialled: BTreeSet::new(),
            masked: false,
        }
    }

    fn perform(&mut self, operation: &Operation) {
        self.outputs.clear();
        match operation {
            Operation::Wait { ms } => self.wait(Duration::from_millis(u64::from(*ms))),
            Operation::Stall { ms } => {
                self.now += Duration::from_millis(u64::from(*ms));
                self.session.handle_deadline(self.now);
                assert!(self.session.deadline() > self.now, "served up to now");
                // What was missed for long is skipped, not sent in a burst: at most three frames of audio, each with
                // an event packet beside it, and a report.
                let sent = self.drain();
                assert!(sent <= 7, "{sent} datagrams at once");
            }
            Operation::Rtp { from, seq_step, time_step, far_jump, payload_type, len } => {
                let jump = if *far_jump { 20_000 } else { 0 };
                self.seq = self.seq.plus((*seq_step as u16).wrapping_add(jump));
                self.timestamp = self.timestamp.plus(*time_step as u32);
                let types = [0, 8, 9, 96, 97, 111, 101, 13, 72];
                let payload_type = types[usize::from(*payload_type) % types.len()];
                let payload = vec![0x55; usize::from(*len) * 4];
                self.receive_rtp(*from, false, payload_type, self.timestamp, &payload);
            }
            Operation::Key { from, marker, new, event, flags, duration } => {
                self.seq = self.seq.plus(1);
                if *new {
                    self.key_timestamp = self.timestamp;
                }
                let [high, low] = duration.to_be_bytes();
                let payload = [event % 18, *flags, high, low];
                self.receive_rtp(*from, *marker, 101, self.key_timestamp, &payload);
            }
            Operation::Tones { from, event, packets } => {
                let digit = Digit::from_event(event % 16).expect("sixteen keys");
                let mut tone = Tone::new(digit, Duration::from_millis(160), 16_000);
                for _ in 0..packets % 8 {
                    let mut pcm = [0; 320];
                    tone.fill(&mut pcm, 1);
                    let payload: Vec<u8> =
                        pcm.iter().flat_map(|sample| sample.to_be_bytes()).collect();
                    self.seq = self.seq.plus(1);
                    self.timestamp = self.timestamp.plus(320);
                    self.receive_rtp(*from, false, 96, self.timestamp, &payload);
                    self.wait(Duration::from_millis(20));
                }
            }
            Operation::Noise { from, wide, time_step, payload } => {
                self.seq = self.seq.plus(1);
                self.timestamp = self.timestamp.plus(*time_step as u32);
                let payload_type = if *wide { 98 } else { 13 };
                self.receive_rtp(*from, false, payload_type, self.timestamp, payload);
            }
            Operation::Rtcp { from, sender, own_ssrc, bye } => {
                let ssrc = if *own_ssrc { self.session.ssrc() } else { ssrc_of(*from) };
                let info = sender.then(SenderInfo::default);
                let mut bytes = Vec::new();
                let reason = bye.then_some("gone\u{7}");
                write_compound(&mut bytes, ssrc, info, &[], "far", &[], reason);
                let sealed =
                    self.far.as_mut().is_none_or(|far| far.protect_rtcp(&mut bytes).is_ok());
                if sealed {
                    self.session.receive(self.now, peer(*from), Port::Rtcp, &bytes);
                }
            }
            Operation::Datagram { from, rtcp_port, bytes } => {
                let port = if *rtcp_port { Port::Rtcp } else { Port::Rtp };
                self.session.receive(self.now, peer(*from), port, bytes);
            }
            Operation::Play { next, samples, rate, channels, last } => {
                self.playback += u64::from(*next || self.complete);
                let chunk = Chunk {
                    playback: self.playback,
                    pcm: vec![1_000; usize::from(*samples % 4_000)],
                    sample_rate: *rate,
                    channels: channels % 10,
                    last: *last,
                    live: samples % 2 == 1,
                    marks: vec![],
                };
                let chunk = self.marked(chunk);
                let fits = (8_000..=192_000).contains(&chunk.sample_rate)
                    && (1..=8).contains(&chunk.channels)
                    && chunk.pcm.len().is_multiple_of(usize::from(chunk.channels));
                assert_eq!(self.session.play(chunk).is_ok(), fits);
                self.complete = fits && *last;
            }
            // Those that are no cancellation of all hold one back, let it go on, or cancel it alone.
            Operation::Cancel { back } if back & 128 != 0 => {
                let playback = self.playback.saturating_sub(u64::from(back >> 2 & 7));
                match back & 3 {
                    0 | 1 => self.session.pause(playback),
                    2 => self.session.resume(playback),
                    _ => self.session.cancel_one(playback),
                }
                self.session.tell_left(back & 64 != 0);
            }
            Operation::Cancel { back } => {
                let upto = self.playback.saturating_sub(u64::from(*back));
                self.session.cancel(upto);
                let position = self.session.position();
                assert!(position.is_none_or(|(playback, _)| playback > upto));
            }
            Operation::SendDigit { event, ms } => {
                let digit = Digit::from_event(event % 16).expect("sixteen keys");
                let _ = self.session.send_dtmf(digit, Duration::from_millis(u64::from(*ms)));
            }
            Operation::Dial { text, tones } => {
                let method = if *tones { Method::Tone } else { Method::Event };
                let held = Duration::from_millis(100);
                if let Ok(signals) = parse_dial(text, held, held, method) {
                    self.batch += 1;
                    let _ = self.session.dial(self.batch, &signals);
                }
            }
            Operation::CancelDial => self.session.cancel_dial(self.batch),
            Operation::Inject { event, ms } => {
                let digit = Digit::from_event(event % 16).expect("sixteen keys");
                let held = Duration::from_millis(u64::from(*ms));
                self.session.inject_dtmf(self.now, digit, held);
            }
            Operation::Mask(masked) => {
                self.masked |= masked;
                self.session.mask_digits(*masked);
            }
            Operation::Mute(muted) => self.session.set_input_muted(*muted),
            Operation::Retarget(to) => self.session.retarget(self.now, peer(*to)),
            Operation::Update { codec, only_codec, ptime, direction, fill, remote, mux } => {
                let codecs = codecs();
                let config = &mut self.config;
                config.send_codec = codecs[usize::from(*codec) % codecs.len()];
                config.receive_codecs =
                    if *only_codec { vec![config.send_codec] } else { codecs.to_vec() };
                config.ptime = ptime_of(*ptime);
                config.direction = DIRECTIONS[usize::from(*direction) % DIRECTIONS.len()];
                config.fill = FILLS[usize::from(*fill) % FILLS.len()];
                config.remote = remote.map(peer).or(config.remote);
                config.rtcp = if *mux { RtcpMode::Mux } else { RtcpMode::Separate };
                self.session.update(self.now, config).expect("a configuration that fits");
            }
            Operation::Rekey(secret) => {
                let (here, there) = keys(*secret);
                self.config.srtp = Some(here);
                self.session.update(self.now, &self.config).expect("a configuration that fits");
                match &mut self.far {
                    Some(far) => far.rekey(self.now, &there),
                    None => self.far = Some(Srtp::new(&there)),
                }
            }
            Operation::Close => self.session.close(self.now, "done"),
        }
        self.drain();
        let _ = self.session.stats();
    }

    fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        while self.session.deadline() <= until {
            self.now = self.session.deadline();
            self.session.handle_deadline(self.now);
            assert!(self.session.deadline() > self.now);
            // One frame of audio, one event packet, one report.
            let sent = self.drain();
            assert!(sent <= 3, "{sent} datagrams in one frame");
        }
        self.now = until;
    }

    fn receive_rtp(
        &mut self,
        from: u8,
        marker: bool,
        payload_type: u8,
        timestamp: RtpTime,
        payload: &[u8],
    ) {
        let header =
            RtpHeader { marker, payload_type, seq: self.seq, timestamp, ssrc: ssrc_of(from) };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        bytes.extend_from_slice(payload);
        // An index that was used is not used again: the far end does not send that packet.
        let sealed = self.far.as_mut().is_none_or(|far| far.protect_rtp(&mut bytes).is_ok());
        if sealed {
            self.session.receive(self.now, peer(from), Port::Rtp, &bytes);
        }
    }

    /// Takes what the session gives, checks each, and counts the datagrams.
    fn drain(&mut self) -> usize {
        let mut datagrams = 0;
        while let Some(output) = self.session.poll() {
            match &output {
                Output::Datagram { bytes, port, .. } => {
                    datagrams += 1;
                    let mut clear = bytes.clone();
                    if let Some(far) = &mut self.far {
                        let opened = if is_rtcp(bytes) {
                            far.unprotect_rtcp(self.now, &mut clear, Effort::Whole)
                        } else {
                            far.unprotect_rtp(self.now, &mut clear, Effort::Whole)
                        };
                        opened.expect("what leaves is authentic and never sent twice");
                    }
                    self.check_datagram(*port, &clear);
                }
                Output::Frame(frame) => {
                    let SessionConfig { sample_rate, channels, ptime, .. } = self.config;
                    let per_channel = frame.pcm.len() / usize::from(channels);
                    let length =
                        Duration::from_millis(per_channel as u64 * 1000 / u64::from(sample_rate));
                    assert!(length == ptime || self.masked, "{length:?} of {ptime:?}");
                    assert!(frame.timestamp >= self.frames_end);
                    self.frames_end = frame.timestamp + length;
                }
                Output::Event(event) => self.check_event(event),
            }
            self.outputs.push(output);
        }
        datagrams
    }

    /// Marks at the beginning, and where it can be at the end.
    fn marked(&mut self, mut chunk: Chunk) -> Chunk {
        let samples = (chunk.pcm.len() / usize::from(chunk.channels.max(1))) as u64;
        let places = [0, samples].into_iter().filter(|at| *at < samples || chunk.last);
        for at in places {
            self.mark += 1;
            chunk.marks.push(Mark { at, id: self.mark });
        }
        chunk
    }

    fn check_datagram(&mut self, port: Port, bytes: &[u8]) {
        if is_rtcp(bytes) {
            let compound = parse_compound(bytes).expect("a compound we wrote");
            assert!(compound.iter().count() >= 2, "a report and a name");
            return;
        }
        assert_eq!(port, Port::Rtp);
        let packet = RtpPacket::parse(bytes).expect("a packet we wrote");
        let keepalive = packet.payload.is_empty();
        assert!(!keepalive || packet.payload_type == 127 && !packet.marker);
        let media = matches!(packet.payload_type, 0 | 8 | 96 | 97 | 101);
        if self.config.direction.sends() {
            self.on_hold = (0, 0);
        } else if media {
            // A key that was pressed is let go: a frame in which its tone fades, or the end of its event. That has lasted 40 ms
            // at least then, and is said three times.
            let event = packet.payload_type == 101;
            self.on_hold.0 += u32::from(!event);
            self.on_hold.1 += u32::from(event);
            assert!(self.on_hold.0 <= 1 && self.on_hold.1 <= 8, "no media while on hold");
        }
        let noise = [13, 98].contains(&packet.payload_type);
        assert!(!noise || packet.payload.len() == 1 && !packet.marker);
        // With keys, another SSRC after a collision has numbers of its own.
        let before = self.last_seq.filter(|(ssrc, _)| *ssrc == packet.ssrc);
        assert!(before.is_none_or(|(_, last)| packet.seq == last.plus(1)), "numbers without a gap");
        self.last_seq = Some((packet.ssrc, packet.seq));
    }

    fn check_event(&mut self, event: &Event) {
        match event {
            Event::PlaybackStarted { playback } => {
                assert_eq!(self.playing, None, "one plays at a time");
                assert!(!self.ended.contains(playback));
                self.playing = Some(*playback);
            }
            Event::PlaybackEnded { playback, played, .. } => {
                let started = self.playing.take_if(|playing| playing == playback).is_some();
                assert!(started || played.is_zero(), "only what started was heard");
                assert!(self.ended.insert(*playback), "playback {playback} ended twice");
            }
            Event::Left { audio, clock, .. } => {
                assert_eq!(self.playing.or(Some(audio.playback)), Some(audio.playback));
                assert!(audio.samples > 0 && *clock >= self.left_until, "no time has two");
                self.left_until = *clock + audio.span;
            }
            Event::PlaybackMark { playback, id, .. } => {
                assert!(self.playing.is_none_or(|playing| playing == *playback));
                assert!(!self.ended.contains(playback), "before its end");
                assert!(std::mem::replace(&mut self.last_mark, *id) < *id, "once, and in order");
            }
            Event::Dialled { batch, .. } => {
                assert!(*batch <= self.batch && self.dialled.insert(*batch), "told once");
            }
            Event::RemoteBye { reason } => {
                assert!(!reason.contains(char::is_control));
                self.gone = true;
            }
            Event::RtpTimeout | Event::RtcpTimeout => {
                assert!(!std::mem::replace(&mut self.gone, true), "it is gone already");
            }
            Event::RtpResumed => {
                assert!(std::mem::replace(&mut self.gone, false), "it had not been gone");
            }
            Event::Unheard { reason } => {
                assert!(!std::mem::replace(&mut self.deaf, true), "told once");
                assert!(unheard_reasons().any(|known| known == *reason));
            }
            Event::HeardAgain => {
                assert!(std::mem::replace(&mut self.deaf, false), "it had not been deaf");
            }
            _ => {}
        }
    }
}
