//! Extended reports (RFC 3611): what a voice receiver experienced, and the round trip of who only receives.

use super::RtcpError;
use crate::seq::{NtpTime, Ssrc};

/// Block types (RFC 3611 §4).
const REFERENCE_TIME: u8 = 4;
const DLRR: u8 = 5;
const VOIP_METRICS: u8 = 7;

/// Octets of a VoIP metrics block behind its header (§4.7).
const VOIP_LEN: usize = 32;
/// Octets of one sub-block of a DLRR block (§4.5).
const DLRR_LEN: usize = 12;

/// A block of an extended report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XrBlock<'a> {
    /// When this was sent, for receivers who send no SR (§4.4).
    ReferenceTime(NtpTime),
    /// What became of reference times (§4.5).
    Dlrr(Delays<'a>),
    /// How a stream of voice arrived (§4.7).
    Voip(VoipMetrics),
    /// One that is not understood here.
    Unknown {
        /// Its type.
        block_type: u8,
        /// What follows its header.
        body: &'a [u8],
    },
}

/// The answer to a reference time (§4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay {
    /// Whose reference time it was.
    pub ssrc: Ssrc,
    /// LRR: the middle 32 bits of the reference time.
    pub lrr: u32,
    /// DLRR: how long ago it came, in 1/65536 s.
    pub dlrr: u32,
}

/// The sub-blocks of a DLRR block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays<'a>(&'a [u8]);

impl Iterator for Delays<'_> {
    type Item = Delay;
    fn next(&mut self) -> Option<Delay> {
        let (block, rest) = self.0.split_first_chunk::<DLRR_LEN>()?;
        self.0 = rest;
        Some(Delay { ssrc: Ssrc(word(block, 0)), lrr: word(block, 4), dlrr: word(block, 8) })
    }
}

/// A value that is unknown, in fields that have such a value (§4.7.4, §4.7.5).
pub const UNAVAILABLE: u8 = 127;
/// The same for levels, which are signed.
pub const NO_LEVEL: i8 = 127;

/// How a stream of voice arrived (§4.7). Rates and densities in 1/256, spans in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoipMetrics {
    /// The stream.
    pub ssrc: Ssrc,
    /// Packets that never came.
    pub loss_rate: u8,
    /// Packets that came too late or found no room.
    pub discard_rate: u8,
    /// Lost or discarded within bursts.
    pub burst_density: u8,
    /// Lost or discarded within gaps.
    pub gap_density: u8,
    /// The mean length of bursts.
    pub burst_ms: u16,
    /// The mean length of gaps.
    pub gap_ms: u16,
    /// There and back between the RTP interfaces; 0 if unknown.
    pub round_trip_ms: u16,
    /// Within the end that reports, both ways; 0 if unknown.
    pub end_system_ms: u16,
    /// Of speech, in dBm0; [`NO_LEVEL`] if unknown.
    pub signal_dbm0: i8,
    /// Of pauses, in dBm0; [`NO_LEVEL`] if unknown.
    pub noise_dbm0: i8,
    /// Residual echo return loss in dB; [`UNAVAILABLE`] if unknown.
    pub rerl_db: u8,
    /// Arrivals in a row that end a burst.
    pub gmin: u8,
    /// The rating R, 0 to 100; [`UNAVAILABLE`] if unknown.
    pub r_factor: u8,
    /// The rating of a further network; [`UNAVAILABLE`] if there is none.
    pub external_r_factor: u8,
    /// Listening quality in tenths, 10 to 50; [`UNAVAILABLE`] if unknown.
    pub mos_lq: u8,
    /// Conversational quality in tenths; [`UNAVAILABLE`] if unknown.
    pub mos_cq: u8,
    /// Concealment and jitter buffer as §4.7.6 lays out their bits.
    pub rx_config: u8,
    /// The delay the jitter buffer holds packets for now.
    pub jb_nominal_ms: u16,
    /// For how long it would hold the earliest packet that it takes.
    pub jb_maximum_ms: u16,
    /// The most that this can come to; of a buffer of fixed delay, the same.
    pub jb_absolute_ms: u16,
}

/// Enhanced concealment (the first two bits, 10) and a jitter buffer of fixed delay (the next two, 10; §4.7.6).
pub const ENHANCED_AND_FIXED: u8 = 0b1010_0000;

/// The blocks of a packet, all checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XrBlocks<'a>(&'a [u8]);

impl<'a> XrBlocks<'a> {
    /// Checks every block of a packet's body.
    pub(super) fn check(body: &'a [u8]) -> Result<XrBlocks<'a>, RtcpError> {
        let mut rest = body;
        while !rest.is_empty() {
            rest = split(rest).ok_or(RtcpError::Extended)?.1;
        }
        Ok(XrBlocks(body))
    }
}

impl<'a> Iterator for XrBlocks<'a> {
    type Item = XrBlock<'a>;
    fn next(&mut self) -> Option<XrBlock<'a>> {
        let (block, rest) = split(self.0)?;
        self.0 = rest;
        Some(block)
    }
}

/// The first block and the rest.
fn split(bytes: &[u8]) -> Option<(XrBlock<'_>, &[u8])> {
    let ([block_type, _, l0, l1], rest) = bytes.split_first_chunk()?;
    let len = usize::from(u16::from_be_bytes([*l0, *l1])) * 4;
    let (body, rest) = rest.split_at_checked(len)?;
    let block = match *block_type {
        REFERENCE_TIME => {
            let body: &[u8; 8] = body.try_into().ok()?;
            XrBlock::ReferenceTime(NtpTime(u64::from_be_bytes(*body)))
        }
        DLRR if body.len() % DLRR_LEN == 0 => XrBlock::Dlrr(Delays(body)),
        DLRR => return None,
        VOIP_METRICS => XrBlock::Voip(read_voip(body.try_into().ok()?)),
        block_type => XrBlock::Unknown { block_type, body },
    };
    Some((block, rest))
}

pub(crate) fn read_voip(b: &[u8; VOIP_LEN]) -> VoipMetrics {
    let half = |at: usize| u16::from_be_bytes([b[at], b[at + 1]]);
    VoipMetrics {
        ssrc: Ssrc(word(b, 0)),
        loss_rate: b[4],
        discard_rate: b[5],
        burst_density: b[6],
        gap_density: b[7],
        burst_ms: half(8),
        gap_ms: half(10),
        round_trip_ms: half(12),
        end_system_ms: half(14),
        signal_dbm0: b[16] as i8,
        noise_dbm0: b[17] as i8,
        rerl_db: b[18],
        gmin: b[19],
        r_factor: b[20],
        external_r_factor: b[21],
        mos_lq: b[22],
        mos_cq: b[23],
        rx_config: b[24],
        jb_nominal_ms: half(26),
        jb_maximum_ms: half(28),
        jb_absolute_ms: half(30),
    }
}

/// Appends a block.
pub(super) fn write_block(out: &mut Vec<u8>, block: &XrBlock<'_>) {
    let header = |out: &mut Vec<u8>, block_type: u8, octets: usize| {
        out.extend_from_slice(&[block_type, 0]);
        out.extend_from_slice(&((octets / 4) as u16).to_be_bytes());
    };
    match block {
        XrBlock::ReferenceTime(ntp) => {
            header(out, REFERENCE_TIME, 8);
            out.extend_from_slice(&ntp.0.to_be_bytes());
        }
        XrBlock::Dlrr(Delays(body)) => {
            header(out, DLRR, body.len());
            out.extend_from_slice(body);
        }
        XrBlock::Voip(metrics) => {
            header(out, VOIP_METRICS, VOIP_LEN);
            write_voip(out, metrics);
        }
        XrBlock::Unknown { block_type, body } => {
            header(out, *block_type, body.len());
            out.extend_from_slice(body);
        }
    }
}

impl Delay {
    /// As it stands on the wire.
    pub fn to_bytes(self) -> [u8; DLRR_LEN] {
        let mut bytes = [0; DLRR_LEN];
        for (place, value) in bytes.chunks_exact_mut(4).zip([self.ssrc.0, self.lrr, self.dlrr]) {
            place.copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }
}

impl<'a> Delays<'a> {
    /// A block of one answer, `bytes` being [`Delay::to_bytes`] of it.
    pub fn one(bytes: &'a [u8; DLRR_LEN]) -> Delays<'a> {
        Delays(bytes)
    }
}

fn write_voip(out: &mut Vec<u8>, m: &VoipMetrics) {
    out.extend_from_slice(&m.ssrc.0.to_be_bytes());
    out.extend_from_slice(&[m.loss_rate, m.discard_rate, m.burst_density, m.gap_density]);
    for half in [m.burst_ms, m.gap_ms, m.round_trip_ms, m.end_system_ms] {
        out.extend_from_slice(&half.to_be_bytes());
    }
    out.extend_from_slice(&[m.signal_dbm0 as u8, m.noise_dbm0 as u8, m.rerl_db, m.gmin]);
    out.extend_from_slice(&[m.r_factor, m.external_r_factor, m.mos_lq, m.mos_cq, m.rx_config, 0]);
    for half in [m.jb_nominal_ms, m.jb_maximum_ms, m.jb_absolute_ms] {
        out.extend_from_slice(&half.to_be_bytes());
    }
}

/// The 32 bits at a fixed place of a fixed part.
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(blocks: &[XrBlock<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        blocks.iter().for_each(|block| write_block(&mut out, block));
        out
    }

    #[rustfmt::skip]
    const VOIP: [u8; 36] = [
        7, 0, 0, 8, 0, 0, 0, 9,
        26, 3, 128, 1, 0, 200, 0x13, 0x88, // rates, densities, burst 200 ms, gap 5000 ms
        0, 120, 0, 80, (-18i8) as u8, (-62i8) as u8, 127, 16, // delays, levels, RERL, Gmin
        78, 127, 39, 38, 0xa0, 0, 0, 60, // ratings, configuration, nominal delay
        0, 80, 1, 0xf4, // maximum, absolute maximum
    ];

    #[test]
    fn rfc3611_4_7_every_field_of_a_voip_metrics_block() {
        let mut blocks = XrBlocks::check(&VOIP).unwrap();
        let Some(XrBlock::Voip(m)) = blocks.next() else { panic!("expected VoIP metrics") };
        assert_eq!(blocks.next(), None);
        assert_eq!((m.ssrc, m.loss_rate, m.discard_rate), (Ssrc(9), 26, 3));
        assert_eq!((m.burst_density, m.gap_density, m.burst_ms, m.gap_ms), (128, 1, 200, 5000));
        assert_eq!((m.round_trip_ms, m.end_system_ms), (120, 80));
        assert_eq!((m.signal_dbm0, m.noise_dbm0, m.rerl_db, m.gmin), (-18, -62, 127, 16));
        assert_eq!((m.r_factor, m.external_r_factor, m.mos_lq, m.mos_cq), (78, 127, 39, 38));
        assert_eq!(m.rx_config, ENHANCED_AND_FIXED);
        assert_eq!((m.jb_nominal_ms, m.jb_maximum_ms, m.jb_absolute_ms), (60, 80, 500));
        assert_eq!(written(&[XrBlock::Voip(m)]), VOIP);
    }

    #[test]
    fn rfc3611_4_blocks_of_a_wrong_length_are_refused_and_unknown_ones_are_passed_over() {
        let bad = |bytes: &[u8]| XrBlocks::check(bytes).unwrap_err();
        assert_eq!(bad(&VOIP[..35]), RtcpError::Extended);
        let mut short = VOIP[..32].to_vec();
        short[3] = 7;
        assert_eq!(bad(&short), RtcpError::Extended, "a metrics block of 7 words");
        assert_eq!(bad(&[4, 0, 0, 1, 0, 0, 0, 0]), RtcpError::Extended, "half a reference time");
        assert_eq!(bad(&[5, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]), RtcpError::Extended);
        assert_eq!(bad(&[1, 0, 0]), RtcpError::Extended);
        let unknown = [99, 5, 0, 1, 1, 2, 3, 4];
        let bytes = [&unknown[..], &VOIP].concat();
        let kinds: Vec<bool> =
            XrBlocks::check(&bytes).unwrap().map(|b| matches!(b, XrBlock::Voip(_))).collect();
        assert_eq!(kinds, [false, true]);
    }

    #[test]
    fn rfc3611_4_4_and_4_5_reference_time_and_its_answer() {
        let delay = Delay { ssrc: Ssrc(7), lrr: 0x1234_5678, dlrr: 65_536 };
        let bytes = delay.to_bytes();
        let said = [
            XrBlock::ReferenceTime(NtpTime(0x0102_0304_0506_0708)),
            XrBlock::Dlrr(Delays::one(&bytes)),
        ];
        let wire = written(&said);
        assert_eq!(wire[..4], [4, 0, 0, 2]);
        assert_eq!(wire[12..16], [5, 0, 0, 3]);
        let read: Vec<XrBlock<'_>> = XrBlocks::check(&wire).unwrap().collect();
        assert_eq!(read, said);
        let XrBlock::Dlrr(mut delays) = read[1] else { panic!("expected DLRR") };
        assert_eq!((delays.next(), delays.next()), (Some(delay), None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_what_is_read_writes_the_same(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            if let Ok(blocks) = XrBlocks::check(&bytes) {
                let blocks: Vec<XrBlock<'_>> = blocks.collect();
                let again = written(&blocks);
                prop_assert_eq!(again.len(), bytes.len());
                let read: Vec<XrBlock<'_>> = XrBlocks::check(&again).unwrap().collect();
                prop_assert_eq!(read, blocks);
            }
        }
    }
}
