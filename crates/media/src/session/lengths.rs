//! How long what comes may be: work and copies per datagram are bounded by it.

use crate::codec::{CodecKind, CodecSpec};
use crate::time::Duration;

/// The longest RTCP that is taken, with what SRTP adds. A compound is made for one packet of the path (RFC 3550 §6.2), and
/// the longest that is of use here, with 31 blocks, a name of 255 octets and metrics, has 1200.
pub(super) const LONGEST_RTCP: usize = 2048;

/// RTP that is no longer is taken whatever the codec is: 200 ms of G.711 with all that may be around it.
const USUAL: usize = 2048;

/// Around the payload: header, contributing sources and an extension (RFC 3550 §5.1), tag and MKI (RFC 3711 §3.1).
const AROUND: usize = 448;

/// The longest audio of one packet (RFC 3551 §4.2).
const LONGEST_AUDIO: Duration = Duration::from_millis(200);

/// The longest packet of Opus that encoders make: 120 ms in frames of 20 ms and 1275 octets (RFC 6716 §3.4).
const LONGEST_OPUS: usize = 7680;

/// The longest RTP that a far end may send which has these codecs.
pub(super) fn longest_rtp(codecs: &[CodecSpec]) -> usize {
    let longest = codecs.iter().map(longest_payload).max().unwrap_or(0);
    (longest + AROUND).clamp(USUAL, usize::from(u16::MAX))
}

fn longest_payload(spec: &CodecSpec) -> usize {
    let samples = |rate: u32| LONGEST_AUDIO.as_millis() as usize * rate as usize / 1000;
    match spec.kind {
        CodecKind::Pcmu | CodecKind::Pcma | CodecKind::G722 => samples(8000),
        CodecKind::L16 => samples(spec.sample_rate) * 2 * usize::from(spec.channels),
        CodecKind::Opus(_) => LONGEST_OPUS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3551_4_2_200_ms_of_every_codec_fit_and_a_datagram_of_64_kib_fits_where_it_is_audio_only()
    {
        let fits = |codecs: &[CodecSpec]| longest_rtp(codecs);
        assert_eq!(fits(&[CodecSpec::PCMU, CodecSpec::G722]), 2048);
        assert_eq!(fits(&[CodecSpec::PCMU, CodecSpec::l16(96, 8000, 1)]), 3200 + AROUND);
        assert_eq!(fits(&[CodecSpec::l16(10, 44_100, 2)]), 35_280 + AROUND);
        assert_eq!(fits(&[CodecSpec::l16(96, 192_000, 2)]), 65_535);
    }
}
