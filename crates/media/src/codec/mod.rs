//! Codecs: what a payload type means, and how its payload becomes PCM and back.
//!
//! A [`CodecSpec`] is the small description that session, SDP and configuration pass around. A [`Decoder`] or
//! [`Encoder`] belongs to one direction of one stream and may keep state between packets.

mod g711;
mod g722;
mod l16;
pub mod opus;

use core::fmt;

/// The codecs this build knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodecKind {
    /// G.711 µ-law (RFC 3551 §4.5.14).
    Pcmu,
    /// G.711 A-law (RFC 3551 §4.5.14).
    Pcma,
    /// G.722 at 64 kbit/s (RFC 3551 §4.5.2).
    G722,
    /// Linear 16 bit in network byte order (RFC 3551 §4.5.11).
    L16,
    /// Opus (RFC 7587), encoded as the far end wants it.
    Opus(opus::Settings),
}

/// What one payload type stands for.
///
/// `clock_rate` and `sample_rate` are two things: the RTP clock of G.722 counts 8000 while its audio has 16 000
/// samples a second (RFC 3551 §4.5.2), and Opus always counts 48 000 (RFC 7587 §4.1). Use
/// [`samples_for`](Self::samples_for) and [`ticks_for`](Self::ticks_for) between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CodecSpec {
    /// The codec.
    pub kind: CodecKind,
    /// The number on the wire, 0 to 127.
    pub payload_type: u8,
    /// RTP ticks per second.
    pub clock_rate: u32,
    /// Audio samples per second and channel.
    pub sample_rate: u32,
    /// Interleaved channels, 1 or 2.
    pub channels: u8,
}

/// Turns payloads of one stream into PCM.
pub trait Decoder: Send {
    /// Appends the payload's samples to `out`: `i16`, interleaved, at the spec's `sample_rate` and `channels`.
    ///
    /// An empty payload is 0 ms of audio, which RFC 3551 §4.2 asks to accept: nothing is appended. On `Err`, `out` is
    /// as it was and the decoder goes on as if the packet had been lost.
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), Undecodable>;

    /// Appends so many samples per channel in the place of audio that did not come, and returns true; false if the
    /// codec has no way of its own to do so.
    fn conceal(&mut self, _samples: usize, _out: &mut Vec<i16>) -> bool {
        false
    }

    /// Samples per channel right before a payload that it carries a copy of, for the case that they were lost.
    fn copied_before(&self, _payload: &[u8]) -> usize {
        0
    }

    /// Appends the last `samples` per channel before a payload from the copy that it carries. The payload itself is
    /// decoded after that.
    fn recover(&mut self, _payload: &[u8], samples: usize, out: &mut Vec<i16>) {
        self.conceal(samples, out);
    }
}

/// Turns PCM of one stream into payloads.
pub trait Encoder: Send {
    /// Appends the payload of `pcm` to `out`. `pcm` is one packet's worth of `i16`, interleaved, at the spec's
    /// `sample_rate` and `channels`: a whole number of frames over all channels. Where nothing is appended, nothing need
    /// be sent.
    fn encode(&mut self, pcm: &[i16], out: &mut Vec<u8>);

    /// Goes on under another spec of the same codec, rate and channels, without beginning anew; false if it cannot.
    fn adapt(&mut self, _spec: &CodecSpec) -> bool {
        false
    }
}

/// Why a payload cannot be decoded: the peer's fault, counted and concealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undecodable {
    /// The octets do not end where a sample of all channels ends.
    PartialSample {
        /// Length of the payload in octets.
        octets: usize,
        /// Octets of one sample of all channels.
        unit: usize,
    },
    /// The octets are no packet of the codec.
    Malformed(opus::Malformed),
    /// The codec's library refuses them.
    Refused {
        /// Length of the payload in octets.
        octets: usize,
    },
}

/// A [`CodecSpec`] that cannot be: the program's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSpec {
    /// The field of [`CodecSpec`].
    pub field: &'static str,
    /// What it held.
    pub value: u32,
    /// What fits.
    pub expected: &'static str,
}

impl CodecSpec {
    /// PCMU as everyone has it: type 0, 8 kHz, mono (RFC 3551 §6).
    pub const PCMU: CodecSpec = CodecSpec::plain(CodecKind::Pcmu, 0, 8000, 1);
    /// PCMA as everyone has it: type 8, 8 kHz, mono (RFC 3551 §6).
    pub const PCMA: CodecSpec = CodecSpec::plain(CodecKind::Pcma, 8, 8000, 1);

    /// G.722 as everyone has it: type 9, 16 kHz audio on a clock of 8 kHz, mono (RFC 3551 §4.5.2).
    pub const G722: CodecSpec =
        CodecSpec { sample_rate: 16_000, ..CodecSpec::plain(CodecKind::G722, 9, 8000, 1) };

    /// L16 under a payload type of one's choice; 10 and 11 are the static ones (RFC 3551 §6).
    pub const fn l16(payload_type: u8, sample_rate: u32, channels: u8) -> CodecSpec {
        CodecSpec::plain(CodecKind::L16, payload_type, sample_rate, channels)
    }

    /// Opus under a payload type of one's choice, at one of its five sample rates, which both ends choose for themselves
    /// (RFC 7587 §4.1).
    pub const fn opus(
        payload_type: u8,
        sample_rate: u32,
        channels: u8,
        settings: opus::Settings,
    ) -> CodecSpec {
        let plain = CodecSpec::plain(CodecKind::Opus(settings), payload_type, 48_000, channels);
        CodecSpec { sample_rate, ..plain }
    }

    /// What a static payload type means without any signalling (RFC 3551 §6, table 4). `None` for dynamic and
    /// unassigned types and for codecs this build does not have.
    pub const fn from_static(payload_type: u8) -> Option<CodecSpec> {
        match payload_type {
            0 => Some(CodecSpec::PCMU),
            8 => Some(CodecSpec::PCMA),
            9 => Some(CodecSpec::G722),
            10 => Some(CodecSpec::l16(10, 44_100, 2)),
            11 => Some(CodecSpec::l16(11, 44_100, 1)),
            _ => None,
        }
    }

    const fn plain(kind: CodecKind, payload_type: u8, rate: u32, channels: u8) -> CodecSpec {
        CodecSpec { kind, payload_type, clock_rate: rate, sample_rate: rate, channels }
    }

    /// The encoding name as SDP spells it (RFC 4855).
    pub const fn name(&self) -> &'static str {
        match self.kind {
            CodecKind::Pcmu => "PCMU",
            CodecKind::Pcma => "PCMA",
            CodecKind::G722 => "G722",
            CodecKind::L16 => "L16",
            CodecKind::Opus(_) => "opus",
        }
    }

    /// Whether one is the other under another payload type.
    pub fn is_same_but_for_type(&self, other: &CodecSpec) -> bool {
        *self == CodecSpec { payload_type: self.payload_type, ..*other }
    }

    /// Whether a payload is decoded by what came before it.
    pub const fn keeps_state(&self) -> bool {
        matches!(self.kind, CodecKind::G722 | CodecKind::Opus(_))
    }

    /// Says what is wrong with a spec that was filled in by hand.
    pub fn check(&self) -> Result<(), BadSpec> {
        let bad = |field, value, expected| Err(BadSpec { field, value, expected });
        if self.payload_type > 127 {
            return bad("payload_type", u32::from(self.payload_type), "0 to 127");
        }
        // RFC 5761 §4: with the marker bit these would look like RTCP packets 192 to 223.
        if (64..=95).contains(&self.payload_type) {
            return bad("payload_type", u32::from(self.payload_type), "0 to 63 or 96 to 127");
        }
        if !(8000..=192_000).contains(&self.sample_rate) {
            return bad("sample_rate", self.sample_rate, "8000 to 192000");
        }
        if let CodecKind::G722 = self.kind {
            if self.sample_rate != 16_000 {
                return bad("sample_rate", self.sample_rate, "16000, for G.722");
            }
            if self.clock_rate != 8000 {
                return bad("clock_rate", self.clock_rate, "8000, for G.722");
            }
            if self.channels != 1 {
                return bad("channels", u32::from(self.channels), "1, for G.722");
            }
        } else if let CodecKind::Opus(settings) = self.kind {
            if self.clock_rate != 48_000 {
                return bad("clock_rate", self.clock_rate, "48000, for Opus");
            }
            if ![8000, 12_000, 16_000, 24_000, 48_000].contains(&self.sample_rate) {
                let rates = "8000, 12000, 16000, 24000 or 48000, for Opus";
                return bad("sample_rate", self.sample_rate, rates);
            }
            if !(6000..=510_000).contains(&settings.bitrate) {
                return bad("bitrate", settings.bitrate, "6000 to 510000");
            }
            if settings.complexity > 10 {
                return bad("complexity", u32::from(settings.complexity), "0 to 10");
            }
            if settings.expected_loss > 100 {
                return bad("expected_loss", u32::from(settings.expected_loss), "0 to 100");
            }
        } else if self.clock_rate != self.sample_rate {
            return bad("clock_rate", self.clock_rate, "the sample rate, for this codec");
        }
        if !(1..=2).contains(&self.channels) {
            return bad("channels", u32::from(self.channels), "1 or 2");
        }
        Ok(())
    }

    /// Samples per channel in `ticks` of the RTP clock, rounded down.
    pub const fn samples_for(&self, ticks: u64) -> u64 {
        scale(ticks, self.sample_rate, self.clock_rate)
    }

    /// Ticks of the RTP clock that `samples` per channel last, rounded down.
    pub const fn ticks_for(&self, samples: u64) -> u64 {
        scale(samples, self.clock_rate, self.sample_rate)
    }

    /// Samples per channel that a payload holds, without decoding it.
    pub fn samples_in(&self, payload: &[u8]) -> Result<usize, Undecodable> {
        match self.kind {
            CodecKind::G722 => return Ok(2 * payload.len()),
            CodecKind::Opus(_) if payload.is_empty() => return Ok(0),
            CodecKind::Opus(_) => {
                let samples = opus::Packet::parse(payload)?.samples();
                return Ok(self.samples_for(samples as u64) as usize);
            }
            _ => {}
        }
        let unit = self.octets_per_sample();
        if payload.len() % unit != 0 {
            return Err(Undecodable::PartialSample { octets: payload.len(), unit });
        }
        Ok(payload.len() / unit)
    }

    /// Whether a payload holds no sound but says that there is none: some senders go on with such through silence.
    pub fn is_silence(&self, payload: &[u8]) -> bool {
        // libopus takes a frame of up to one octet for one that was not sent.
        let opus = matches!(self.kind, CodecKind::Opus(_));
        opus && opus::Packet::parse(payload)
            .is_ok_and(|packet| packet.frames().iter().all(|frame| frame.len() <= 1))
    }

    /// A decoder for one stream.
    pub fn decoder(&self) -> Box<dyn Decoder> {
        match self.kind {
            CodecKind::Pcmu => Box::new(g711::Decode::new(g711::Law::Mu, *self)),
            CodecKind::Pcma => Box::new(g711::Decode::new(g711::Law::A, *self)),
            CodecKind::G722 => Box::new(g722::Decode::default()),
            CodecKind::L16 => Box::new(l16::Decode::new(*self)),
            CodecKind::Opus(_) => Box::new(opus::Decode::new(self)),
        }
    }

    /// An encoder for one stream.
    pub fn encoder(&self) -> Box<dyn Encoder> {
        match self.kind {
            CodecKind::Pcmu => Box::new(g711::Encode::new(g711::Law::Mu)),
            CodecKind::Pcma => Box::new(g711::Encode::new(g711::Law::A)),
            CodecKind::G722 => Box::new(g722::Encode::default()),
            CodecKind::L16 => Box::new(l16::Encode),
            CodecKind::Opus(settings) => Box::new(opus::Encode::new(self, settings)),
        }
    }

    /// Octets that one sample of all channels takes on the wire, in codecs that have such.
    const fn octets_per_sample(&self) -> usize {
        let width = match self.kind {
            CodecKind::L16 => 2,
            _ => 1,
        };
        // A spec of no channels does not pass `check`; here it only must not divide by zero.
        let channels = if self.channels == 0 { 1 } else { self.channels as usize };
        width * channels
    }
}

/// `count · to / from`, which cannot overflow; a zero rate does not pass `check` and counts as 1.
const fn scale(count: u64, to: u32, from: u32) -> u64 {
    let from = if from == 0 { 1 } else { from };
    let scaled = count as u128 * to as u128 / from as u128;
    if scaled > u64::MAX as u128 {
        u64::MAX
    } else {
        scaled as u64
    }
}

impl From<opus::Malformed> for Undecodable {
    fn from(malformed: opus::Malformed) -> Undecodable {
        Undecodable::Malformed(malformed)
    }
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undecodable::PartialSample { octets, unit } => {
                write!(f, "{octets} octets are no whole number of samples of {unit} octets")
            }
            Undecodable::Malformed(malformed) => malformed.fmt(f),
            Undecodable::Refused { octets } => write!(f, "{octets} octets were refused"),
        }
    }
}

impl std::error::Error for Undecodable {}

impl fmt::Display for BadSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, expected {}", self.field, self.value, self.expected)
    }
}

impl std::error::Error for BadSpec {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc3551_s6_static_payload_types() {
        let known = |pt| CodecSpec::from_static(pt).map(|s| (s.name(), s.clock_rate, s.channels));
        assert_eq!(known(0), Some(("PCMU", 8000, 1)));
        assert_eq!(known(8), Some(("PCMA", 8000, 1)));
        assert_eq!(known(9), Some(("G722", 8000, 1)));
        assert_eq!(known(10), Some(("L16", 44_100, 2)));
        assert_eq!(known(11), Some(("L16", 44_100, 1)));
        assert_eq!((0..=255).filter_map(CodecSpec::from_static).count(), 5);
        assert!((0..=255).filter_map(CodecSpec::from_static).all(|s| s.check().is_ok()));
    }

    #[test]
    fn rfc5761_4_types_from_64_to_95_look_like_rtcp_and_those_below_are_as_good_as_dynamic_ones() {
        let fits = |pt: &u8| CodecSpec::l16(*pt, 16_000, 1).check().is_ok();
        let fitting: Vec<u8> = (0..=255).filter(fits).collect();
        assert_eq!(fitting, (0..64).chain(96..128).collect::<Vec<u8>>());
    }

    #[test]
    fn a_bad_spec_names_the_field_the_value_and_what_fits() {
        let good = CodecSpec::l16(96, 16_000, 1);
        let says = |spec: CodecSpec| spec.check().map_err(|e| e.to_string());
        assert_eq!(says(good), Ok(()));
        assert_eq!(
            says(CodecSpec { payload_type: 128, ..good }),
            Err("payload_type is 128, expected 0 to 127".into())
        );
        assert!(says(CodecSpec { payload_type: 72, ..good }).is_err());
        assert!(says(CodecSpec { clock_rate: 8000, ..good }).is_err());
        assert!(says(CodecSpec { channels: 0, ..good }).is_err());
        assert!(says(CodecSpec::l16(96, 7999, 1)).is_err());
        assert!(says(CodecSpec { clock_rate: 16_000, ..CodecSpec::G722 }).is_err());
        assert!(says(CodecSpec { sample_rate: 8000, ..CodecSpec::G722 }).is_err());
        assert!(says(CodecSpec { channels: 2, ..CodecSpec::G722 }).is_err());
        let opus = |change: fn(&mut opus::Settings)| {
            let mut settings = opus::Settings::default();
            change(&mut settings);
            CodecSpec::opus(96, 48_000, 2, settings)
        };
        assert_eq!(says(opus(|_| {})), Ok(()));
        assert!(says(opus(|s| s.bitrate = 5999)).is_err());
        assert!(says(opus(|s| s.complexity = 11)).is_err());
        assert!(says(opus(|s| s.expected_loss = 101)).is_err());
        assert!(says(CodecSpec { sample_rate: 44_100, ..opus(|_| {}) }).is_err());
        assert!(says(CodecSpec { clock_rate: 16_000, ..opus(|_| {}) }).is_err());
        assert!(says(CodecSpec::l16(96, 192_001, 1)).is_err());
    }

    #[test]
    fn clock_and_sample_rate_convert_both_ways_when_they_differ() {
        assert_eq!(CodecSpec::G722.samples_for(160), 320);
        assert_eq!(CodecSpec::G722.ticks_for(320), 160);
        assert_eq!(CodecSpec::G722.samples_in(&[0; 160]), Ok(320));
        let opus = CodecSpec::opus(96, 16_000, 1, opus::Settings::default());
        assert_eq!(opus.samples_for(960), 320);
        assert_eq!(opus.samples_for(u64::MAX), u64::MAX / 3);
    }

    fn any_spec() -> impl Strategy<Value = CodecSpec> {
        let kinds = [CodecKind::Pcmu, CodecKind::Pcma, CodecKind::L16];
        let rates = [8000u32, 16_000, 24_000, 32_000, 44_100, 48_000];
        (0usize..3, 0usize..6, 1u8..=2)
            .prop_map(move |(k, r, channels)| CodecSpec::plain(kinds[k], 96, rates[r], channels))
    }

    proptest! {
        #[test]
        fn any_payload_decodes_to_what_it_announces_or_leaves_the_output_alone(
            spec in any_spec(), payload in proptest::collection::vec(any::<u8>(), 0..2000)
        ) {
            let mut pcm = vec![7];
            let announced = spec.samples_in(&payload);
            let outcome = spec.decoder().decode(&payload, &mut pcm);
            prop_assert_eq!(outcome, announced.map(|_| ()));
            prop_assert_eq!(pcm[0], 7);
            prop_assert_eq!(pcm.len() - 1, announced.unwrap_or(0) * usize::from(spec.channels));
        }

        #[test]
        fn what_was_decoded_encodes_to_the_same_sound_again(
            spec in any_spec(), frames in 0usize..500, seed in any::<u64>()
        ) {
            let mut rng = crate::rng::Rng::new(seed);
            let pcm: Vec<i16> =
                (0..frames * usize::from(spec.channels)).map(|_| rng.next_u16() as i16).collect();
            let (mut wire, mut heard, mut again, mut twice) = (vec![], vec![], vec![], vec![]);
            spec.encoder().encode(&pcm, &mut wire);
            spec.decoder().decode(&wire, &mut heard).unwrap();
            spec.encoder().encode(&heard, &mut again);
            spec.decoder().decode(&again, &mut twice).unwrap();
            prop_assert_eq!(heard.len(), pcm.len());
            prop_assert_eq!(heard, twice, "a second coding loses nothing more");
        }
    }
}
