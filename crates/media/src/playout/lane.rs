//! One codec of the receive map: from its payloads to audio in the session's format.

use std::sync::Arc;

use crate::codec::{CodecSpec, Decoder, Undecodable};
use crate::comfort_noise::NoiseGenerator;
use crate::filters::Filters;
use crate::mix;
use crate::resample::{Bank, Resampler};
use crate::sender_clock::{span_of, ticks};
use crate::time::Duration;

/// A decoder, and what turns its output into the session's rate and channels.
pub(super) struct Lane {
    pub(super) spec: CodecSpec,
    /// Made when it is first needed: a call agrees on more codecs than it uses, and some take tens of kilobytes.
    decoder: Option<Box<dyn Decoder>>,
    /// The session's.
    sample_rate: u32,
    channels: u8,
    /// The filter from the codec's rate to the session's, made when it is first needed if it was not given.
    bank: Option<Arc<Bank>>,
    resampler: Option<Resampler>,
    /// At the codec's rate: in the codec's channels, then in the session's.
    decoded: Vec<i16>,
    mixed: Vec<i16>,
    /// What is left of a sample when spans become samples: in nanoseconds times the rate.
    carry: u64,
}

impl Lane {
    pub(super) fn new(spec: CodecSpec, sample_rate: u32, channels: u8) -> Lane {
        Lane {
            spec,
            decoder: None,
            sample_rate,
            channels,
            bank: None,
            resampler: None,
            decoded: Vec::new(),
            mixed: Vec::new(),
            carry: 0,
        }
    }

    /// Uses the filter that was made for it, if it is among these.
    pub(super) fn set_filters(&mut self, filters: &Filters) {
        if let Some(bank) = filters.find(self.spec.sample_rate, self.sample_rate) {
            self.bank = Some(Arc::clone(bank));
        }
    }

    /// Takes over from the lane that played until now. Returns whether nothing of the change is to be heard: both codecs
    /// code sample by sample, and in the same format.
    pub(super) fn take_over(&mut self, before: &mut Lane) -> bool {
        let same_format = (self.spec.sample_rate, self.spec.channels)
            == (before.spec.sample_rate, before.spec.channels);
        if same_format {
            // The filter goes on with what it holds.
            self.resampler = before.resampler.take();
            self.bank = self.bank.take().or_else(|| before.bank.clone());
        } else {
            self.resampler = None;
        }
        self.carry = 0;
        if self.spec.is_same_but_for_type(&before.spec) {
            self.decoder = before.decoder.take();
            return true;
        }
        if self.spec.keeps_state() {
            // An encoder that starts again starts from nothing.
            self.decoder = None;
        }
        same_format && !self.spec.keeps_state() && !before.spec.keeps_state()
    }

    /// Appends the payload's audio.
    pub(super) fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), Undecodable> {
        self.decoded.clear();
        let decoder = self.decoder.get_or_insert_with(|| self.spec.decoder());
        decoder.decode(payload, &mut self.decoded)?;
        self.convert(out);
        Ok(())
    }

    /// Appends what the codec makes up for a piece of audio that did not come; false if it cannot.
    pub(super) fn conceal(&mut self, piece: Duration, out: &mut Vec<i16>) -> bool {
        self.decoded.clear();
        let samples = self.coded_samples(piece);
        // Where nothing was decoded yet there is nothing to go on with.
        let decoder = self.decoder.as_mut();
        if !decoder.is_some_and(|decoder| decoder.conceal(samples, &mut self.decoded)) {
            return false;
        }
        self.convert(out);
        true
    }

    /// How much right before a payload it carries a copy of.
    pub(super) fn copied_before(&self, payload: &[u8]) -> Duration {
        let samples = self.decoder.as_ref().map_or(0, |decoder| decoder.copied_before(payload));
        span_of(samples as u64, self.spec.sample_rate)
    }

    /// Appends the last `piece` before a payload from the copy that it carries.
    pub(super) fn recover(&mut self, payload: &[u8], piece: Duration, out: &mut Vec<i16>) {
        self.decoded.clear();
        let samples = self.coded_samples(piece);
        if let Some(decoder) = &mut self.decoder {
            decoder.recover(payload, samples, &mut self.decoded);
        }
        self.convert(out);
    }

    /// Appends a piece of noise. It is made at the codec's rate, for which its spectrum was described.
    pub(super) fn add_noise(
        &mut self,
        noise: &mut NoiseGenerator,
        piece: Duration,
        out: &mut Vec<i16>,
    ) {
        self.decoded.clear();
        let samples = self.coded_samples(piece) * usize::from(self.spec.channels);
        self.decoded.resize(samples, 0);
        noise.add_to(&mut self.decoded, self.spec.channels);
        self.convert(out);
    }

    /// Samples per channel in the session's rate; what is left of one is kept for the next time.
    pub(super) fn samples(&mut self, piece: Duration) -> usize {
        let parts = piece.as_nanos() * u128::from(self.sample_rate) + u128::from(self.carry);
        self.carry = (parts % 1_000_000_000) as u64;
        (parts / 1_000_000_000) as usize
    }

    fn coded_samples(&self, piece: Duration) -> usize {
        // A hole is never shorter than a sample, or the timeline could stand still.
        (ticks(piece, self.spec.sample_rate) as usize).max(1)
    }

    /// From `decoded` to the session's format.
    fn convert(&mut self, out: &mut Vec<i16>) {
        let pcm = &self.decoded;
        if self.spec.sample_rate == self.sample_rate {
            mix::to_channels(pcm, self.spec.channels, self.channels, out);
            return;
        }
        self.mixed.clear();
        mix::to_channels(pcm, self.spec.channels, self.channels, &mut self.mixed);
        let resampler = self.resampler.get_or_insert_with(|| {
            let (from, to) = (self.spec.sample_rate, self.sample_rate);
            let bank = self.bank.get_or_insert_with(|| {
                Arc::new(Bank::new(from, to).expect("the configuration's rates were checked"))
            });
            Resampler::with_bank(Arc::clone(bank), self.channels).expect("channels were checked")
        });
        resampler.process(&self.mixed, out);
    }
}
