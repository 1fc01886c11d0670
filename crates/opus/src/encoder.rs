//! The encoder of one stream.

use crate::{format, Error};
use core::ffi::c_int;
use core::fmt;
use core::ptr::NonNull;

/// How wide a band is coded at most (RFC 6716 §2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bandwidth {
    /// 4 kHz of sound.
    Narrow,
    /// 6 kHz.
    Medium,
    /// 8 kHz.
    Wide,
    /// 12 kHz.
    SuperWide,
    /// 20 kHz.
    Full,
}

impl Bandwidth {
    /// The widest band that somebody who plays `sample_rate` can make use of (RFC 7587 §6.1, `maxplaybackrate`).
    pub fn for_rate(sample_rate: u32) -> Bandwidth {
        match sample_rate {
            0..=8000 => Bandwidth::Narrow,
            8001..=12_000 => Bandwidth::Medium,
            12_001..=16_000 => Bandwidth::Wide,
            16_001..=24_000 => Bandwidth::SuperWide,
            _ => Bandwidth::Full,
        }
    }

    fn code(self) -> c_int {
        match self {
            Bandwidth::Narrow => opusic_sys::OPUS_BANDWIDTH_NARROWBAND,
            Bandwidth::Medium => opusic_sys::OPUS_BANDWIDTH_MEDIUMBAND,
            Bandwidth::Wide => opusic_sys::OPUS_BANDWIDTH_WIDEBAND,
            Bandwidth::SuperWide => opusic_sys::OPUS_BANDWIDTH_SUPERWIDEBAND,
            Bandwidth::Full => opusic_sys::OPUS_BANDWIDTH_FULLBAND,
        }
    }
}

/// How speech is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Bits per second, 6000 to 510 000.
    pub bitrate: u32,
    /// 0 to 10: more is slower and a little better.
    pub complexity: u8,
    /// Each packet carries a coarse copy of the one before it, once losses are expected.
    pub inband_fec: bool,
    /// Percent of packets that get lost, 0 to 100: what the copies are measured out for.
    pub expected_loss: u8,
    /// Silence is not coded: [`Encoder::encode`] gives packets of one or two octets that need not be sent.
    pub dtx: bool,
    /// All packets have one size.
    pub cbr: bool,
    /// The widest band.
    pub bandwidth: Bandwidth,
    /// Mode, band and channels stay as they are from packet to packet, so that several can be joined in one.
    pub steady: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            bitrate: 40_000,
            complexity: 5,
            inband_fec: true,
            expected_loss: 10,
            dtx: false,
            cbr: false,
            bandwidth: Bandwidth::Full,
            steady: false,
        }
    }
}

/// `OPUS_SET_FORCE_MODE` and its values, which libopus keeps to itself: `opus_private.h` of 1.6.
const FORCE_MODE: c_int = 11_002;
const SILK_ONLY: c_int = 1000;
const HYBRID: c_int = 1001;

/// Encodes the speech of one stream.
pub struct Encoder {
    state: NonNull<opusic_sys::OpusEncoder>,
    sample_rate: u32,
    channels: u8,
}

// SAFETY: an encoder's state is memory of its own without ties to a thread, and `&mut self` keeps its calls apart.
unsafe impl Send for Encoder {}

impl Encoder {
    /// An encoder of `sample_rate` (8000, 12 000, 16 000, 24 000 or 48 000 Hz) and `channels` (1 or 2).
    pub fn new(sample_rate: u32, channels: u8, settings: &Settings) -> Result<Encoder, Error> {
        let (rate, count) = format(sample_rate, channels)?;
        let mut error: c_int = 0;
        // SAFETY: the arguments are those libopus documents; `error` outlives the call.
        let state = unsafe {
            opusic_sys::opus_encoder_create(
                rate,
                count,
                opusic_sys::OPUS_APPLICATION_VOIP,
                &mut error,
            )
        };
        let state = NonNull::new(state).ok_or(Error::of(error))?;
        let mut encoder = Encoder { state, sample_rate, channels };
        encoder.configure(settings)?;
        Ok(encoder)
    }

    /// Goes over to other settings from the next packet on.
    pub fn configure(&mut self, settings: &Settings) -> Result<(), Error> {
        let bitrate = c_int::try_from(settings.bitrate).map_err(|_| Error::BadArgument)?;
        let flag = c_int::from;
        self.set(opusic_sys::OPUS_SET_SIGNAL_REQUEST, opusic_sys::OPUS_SIGNAL_VOICE)?;
        self.set(opusic_sys::OPUS_SET_BITRATE_REQUEST, bitrate)?;
        self.set(opusic_sys::OPUS_SET_COMPLEXITY_REQUEST, c_int::from(settings.complexity))?;
        self.set(opusic_sys::OPUS_SET_INBAND_FEC_REQUEST, flag(settings.inband_fec))?;
        let loss = c_int::from(settings.expected_loss);
        self.set(opusic_sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST, loss)?;
        self.set(opusic_sys::OPUS_SET_DTX_REQUEST, flag(settings.dtx))?;
        self.set(opusic_sys::OPUS_SET_VBR_REQUEST, flag(!settings.cbr))?;
        let band = settings.bandwidth.min(Bandwidth::for_rate(self.sample_rate));
        self.set(opusic_sys::OPUS_SET_MAX_BANDWIDTH_REQUEST, band.code())?;
        if settings.steady {
            let band = band.min(self.affordable(settings.bitrate));
            let mode = if band > Bandwidth::Wide { HYBRID } else { SILK_ONLY };
            self.set(FORCE_MODE, mode)?;
            self.set(opusic_sys::OPUS_SET_BANDWIDTH_REQUEST, band.code())?;
            let channels = c_int::from(self.channels);
            self.set(opusic_sys::OPUS_SET_FORCE_CHANNELS_REQUEST, channels)?;
        } else {
            self.set(FORCE_MODE, opusic_sys::OPUS_AUTO)?;
            self.set(opusic_sys::OPUS_SET_BANDWIDTH_REQUEST, opusic_sys::OPUS_AUTO)?;
            self.set(opusic_sys::OPUS_SET_FORCE_CHANNELS_REQUEST, opusic_sys::OPUS_AUTO)?;
        }
        Ok(())
    }

    /// Encodes a frame of 2.5, 5, 10, 20, 40 or 60 ms, interleaved, into the beginning of `packet`; returns its octets. Up
    /// to two octets need not be sent.
    pub fn encode(&mut self, pcm: &[i16], packet: &mut [u8]) -> Result<usize, Error> {
        if pcm.len() % usize::from(self.channels) != 0 {
            return Err(Error::BadArgument);
        }
        let frames = c_int::try_from(pcm.len() / usize::from(self.channels))
            .map_err(|_| Error::BadArgument)?;
        let room = i32::try_from(packet.len()).unwrap_or(i32::MAX);
        // SAFETY: the state is a live encoder's; `pcm` has `frames` samples of every channel; libopus writes at most
        // `room` octets, which `packet` has.
        let size = unsafe {
            opusic_sys::opus_encode(
                self.state.as_ptr(),
                pcm.as_ptr(),
                frames,
                packet.as_mut_ptr(),
                room,
            )
        };
        usize::try_from(size).map_err(|_| Error::of(size))
    }

    /// The samples per channel by which sound comes out of a decoder later than it went in here.
    pub fn delay(&mut self) -> usize {
        let mut samples: c_int = 0;
        // SAFETY: the state is a live encoder's; this request takes a pointer to an int, which outlives the call.
        unsafe {
            opusic_sys::opus_encoder_ctl(
                self.state.as_ptr(),
                opusic_sys::OPUS_GET_LOOKAHEAD_REQUEST,
                core::ptr::from_mut(&mut samples),
            );
        }
        usize::try_from(samples).unwrap_or(0)
    }

    /// The widest band that sounds well at a bitrate, as libopus decides on it by itself.
    fn affordable(&self, bitrate: u32) -> Bandwidth {
        match bitrate / u32::from(self.channels) {
            0..=10_999 => Bandwidth::Narrow,
            11_000..=23_999 => Bandwidth::Wide,
            24_000..=27_999 => Bandwidth::SuperWide,
            _ => Bandwidth::Full,
        }
    }

    fn set(&mut self, request: c_int, value: c_int) -> Result<(), Error> {
        // SAFETY: the state is a live encoder's; every request made here takes one int.
        let code = unsafe { opusic_sys::opus_encoder_ctl(self.state.as_ptr(), request, value) };
        if code == opusic_sys::OPUS_OK {
            Ok(())
        } else {
            Err(Error::of(code))
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: the state came of `opus_encoder_create`, and nobody else has it.
        unsafe { opusic_sys::opus_encoder_destroy(self.state.as_ptr()) }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("sample_rate", &self.sample_rate)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hum(samples: usize) -> Vec<i16> {
        (0..samples).map(|n| (8000.0 * (n as f32 * 0.05).sin()) as i16).collect()
    }

    #[test]
    fn what_cannot_be_is_an_error_and_never_more() {
        let new = |rate, channels, settings| Encoder::new(rate, channels, &settings).map(drop);
        let fits = Settings::default();
        assert_eq!(new(11_025, 1, fits), Err(Error::BadArgument));
        assert_eq!(new(48_000, 0, fits), Err(Error::BadArgument));
        assert_eq!(new(48_000, 1, Settings { complexity: 11, ..fits }), Err(Error::BadArgument));
        assert_eq!(
            new(48_000, 1, Settings { expected_loss: 101, ..fits }),
            Err(Error::BadArgument)
        );
        let mut encoder = Encoder::new(48_000, 2, &fits).unwrap();
        let mut packet = [0; 1275];
        assert_eq!(encoder.encode(&hum(961), &mut packet), Err(Error::BadArgument));
        assert_eq!(encoder.encode(&hum(2 * 1440), &mut packet), Err(Error::BadArgument));
        assert!(encoder.encode(&hum(1920), &mut []).is_err());
    }

    #[test]
    fn the_widest_band_holds() {
        // RFC 6716 §3.1, table 2: configurations 0 to 11 code no more than wide band.
        let settings = Settings { bandwidth: Bandwidth::Wide, ..Settings::default() };
        let mut encoder = Encoder::new(48_000, 1, &settings).unwrap();
        let mut packet = [0; 1275];
        for _ in 0..20 {
            encoder.encode(&hum(960), &mut packet).unwrap();
            assert!(matches!(packet[0] >> 3, 0..=11 | 16..=23), "{}", packet[0] >> 3);
        }
    }

    #[test]
    fn a_steady_encoder_never_changes_its_first_octet() {
        for (bitrate, channels) in [(8000, 1), (20_000, 1), (40_000, 1), (48_000, 2)] {
            let settings = Settings { bitrate, steady: true, ..Settings::default() };
            let mut encoder = Encoder::new(48_000, channels, &settings).unwrap();
            let (mut packet, mut seen) = ([0; 1275], vec![]);
            for n in 0..200 {
                let mut pcm = hum(480 * usize::from(channels));
                pcm.iter_mut().for_each(|s| *s = (f32::from(*s) * ((n % 40) as f32 / 40.0)) as i16);
                encoder.encode(&pcm, &mut packet).unwrap();
                seen.push(packet[0] & 0xfc);
            }
            seen.dedup();
            assert_eq!(seen.len(), 1, "{bitrate} bit/s in {channels} channels: {seen:x?}");
        }
    }

    #[test]
    fn silence_costs_two_octets_at_most_with_dtx() {
        let settings = Settings { dtx: true, ..Settings::default() };
        let mut encoder = Encoder::new(16_000, 1, &settings).unwrap();
        let mut packet = [0; 1275];
        let sizes: Vec<usize> =
            (0..100).map(|_| encoder.encode(&[0; 320], &mut packet).unwrap()).collect();
        assert!(sizes.iter().filter(|&&size| size <= 2).count() > 60, "{sizes:?}");
    }

    #[test]
    fn the_delay_is_that_of_voice_over_ip() {
        let mut encoder = Encoder::new(48_000, 1, &Settings::default()).unwrap();
        assert_eq!(encoder.delay(), 312);
    }
}
