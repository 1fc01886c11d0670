//! The decoder of one stream.

use crate::{format, length, Error, LONGEST_MS};
use core::ffi::c_int;
use core::fmt;
use core::ptr::NonNull;

/// Decodes the packets of one stream, and makes up what is missing between them.
pub struct Decoder {
    state: NonNull<opusic_sys::OpusDecoder>,
    sample_rate: u32,
    channels: u8,
}

// SAFETY: a decoder's state is memory of its own without ties to a thread, and `&mut self` keeps its calls apart.
unsafe impl Send for Decoder {}

impl Decoder {
    /// A decoder that gives `sample_rate` (8000, 12 000, 16 000, 24 000 or 48 000 Hz) and `channels` (1 or 2), whatever
    /// the packets were made from.
    pub fn new(sample_rate: u32, channels: u8) -> Result<Decoder, Error> {
        let (rate, count) = format(sample_rate, channels)?;
        let mut error: c_int = 0;
        // SAFETY: the arguments are those libopus documents; `error` outlives the call.
        let state = unsafe { opusic_sys::opus_decoder_create(rate, count, &mut error) };
        let state = NonNull::new(state).ok_or(Error::of(error))?;
        Ok(Decoder { state, sample_rate, channels })
    }

    /// Decodes a packet into the beginning of `pcm`, interleaved; returns its samples per channel. `pcm` has room for
    /// 120 ms, or for what the packet is known to hold.
    pub fn decode(&mut self, packet: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        // To libopus a packet of no length is a lost one.
        let length = length(packet).ok_or(Error::InvalidPacket)?;
        self.call(packet.as_ptr(), length, pcm, false)
    }

    /// Makes up all of `pcm`, interleaved, for audio that was lost or never sent: a multiple of 2.5 ms.
    pub fn conceal(&mut self, pcm: &mut [i16]) -> Result<(), Error> {
        self.whole(pcm)?;
        self.call(core::ptr::null(), 0, pcm, false).map(drop)
    }

    /// Fills all of `pcm`, interleaved, for audio that was lost right before `packet`, which is to be decoded after it:
    /// the end from the packet's copy of it, if it has one, the rest made up. A multiple of 2.5 ms.
    pub fn recover(&mut self, packet: &[u8], pcm: &mut [i16]) -> Result<(), Error> {
        self.whole(pcm)?;
        let length = length(packet).ok_or(Error::InvalidPacket)?;
        self.call(packet.as_ptr(), length, pcm, true).map(drop)
    }

    /// Forgets the stream so far.
    pub fn reset(&mut self) {
        // SAFETY: the state is a live decoder's; this request takes no argument.
        unsafe {
            opusic_sys::opus_decoder_ctl(self.state.as_ptr(), opusic_sys::OPUS_RESET_STATE);
        }
    }

    /// libopus makes up whole steps of 2.5 ms, up to the longest packet, and no part of one.
    fn whole(&self, pcm: &[i16]) -> Result<(), Error> {
        let step = self.sample_rate as usize / 400 * usize::from(self.channels);
        let longest = self.sample_rate as usize / 1000 * LONGEST_MS as usize;
        let fits = pcm.len() % step == 0 && pcm.len() <= longest * usize::from(self.channels);
        if fits && !pcm.is_empty() {
            Ok(())
        } else {
            Err(Error::BadArgument)
        }
    }

    fn call(
        &mut self,
        packet: *const u8,
        length: i32,
        pcm: &mut [i16],
        recover: bool,
    ) -> Result<usize, Error> {
        let frames = c_int::try_from(pcm.len() / usize::from(self.channels))
            .map_err(|_| Error::BadArgument)?;
        // SAFETY: the state is a live decoder's; `packet` is null or has `length` octets; `pcm` has room for `frames`
        // samples of every channel, and libopus writes no more than that.
        let samples = unsafe {
            opusic_sys::opus_decode(
                self.state.as_ptr(),
                packet,
                length,
                pcm.as_mut_ptr(),
                frames,
                c_int::from(recover),
            )
        };
        usize::try_from(samples).map_err(|_| Error::of(samples))
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the state came of `opus_decoder_create`, and nobody else has it.
        unsafe { opusic_sys::opus_decoder_destroy(self.state.as_ptr()) }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("sample_rate", &self.sample_rate)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoder, Settings};

    fn packet() -> Vec<u8> {
        let mut encoder = Encoder::new(48_000, 1, &Settings::default()).unwrap();
        let mut packet = vec![0; 1275];
        let pcm: Vec<i16> = (0..960).map(|n| (n * 37 % 2000) as i16).collect();
        let size = encoder.encode(&pcm, &mut packet).unwrap();
        packet.truncate(size);
        packet
    }

    #[test]
    fn one_packet_is_decoded_at_every_rate_and_in_either_number_of_channels() {
        for rate in [8000, 12_000, 16_000, 24_000, 48_000] {
            for channels in [1, 2] {
                let mut decoder = Decoder::new(rate, channels).unwrap();
                let mut pcm = vec![0; rate as usize / 50 * usize::from(channels)];
                assert_eq!(decoder.decode(&packet(), &mut pcm), Ok(rate as usize / 50));
            }
        }
    }

    #[test]
    fn what_cannot_be_is_an_error_and_never_more() {
        assert_eq!(Decoder::new(44_100, 1).unwrap_err(), Error::BadArgument);
        assert_eq!(Decoder::new(48_000, 3).unwrap_err(), Error::BadArgument);
        let mut decoder = Decoder::new(48_000, 1).unwrap();
        let mut pcm = [0; 5760];
        assert_eq!(decoder.decode(&[], &mut pcm), Err(Error::InvalidPacket));
        assert_eq!(decoder.decode(&packet(), &mut pcm[..959]), Err(Error::BufferTooSmall));
        // Code 3 with no frames (RFC 6716 §3.2.5, R5).
        assert_eq!(decoder.decode(&[0xff, 0], &mut pcm), Err(Error::InvalidPacket));
        assert_eq!(decoder.conceal(&mut pcm[..100]), Err(Error::BadArgument));
        assert_eq!(decoder.conceal(&mut []), Err(Error::BadArgument));
        assert_eq!(decoder.conceal(&mut [0; 6000]), Err(Error::BadArgument));
        assert_eq!(decoder.recover(&[], &mut pcm[..960]), Err(Error::InvalidPacket));
        assert_eq!(decoder.conceal(&mut pcm[..120]), Ok(()));
    }

    #[test]
    fn after_a_reset_the_same_packet_sounds_the_same_again() {
        let mut decoder = Decoder::new(16_000, 1).unwrap();
        let (mut first, mut again) = ([0; 320], [0; 320]);
        decoder.decode(&packet(), &mut first).unwrap();
        decoder.reset();
        decoder.decode(&packet(), &mut again).unwrap();
        assert_eq!(first, again);
    }
}
