//! One codec of the receive map: from its payloads to audio in the session's format.

use std::sync::Arc;

use crate::codec::{CodecSpec, Decoder, Undecodable};
use crate::comfort_noise::NoiseGenerator;
use crate::filters::Filters;
use crate::mix;
use crate::resample::{Bank, Resampler};

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
    /// What is left of a sample when ticks become samples: in parts of one RTP clock second.
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

    /// Appends the payload's audio but for its first `skip` ticks.
    pub(super) fn decode(
        &mut self,
        payload: &[u8],
        skip: u32,
        out: &mut Vec<i16>,
    ) -> Result<(), Undecodable> {
        self.decoded.clear();
        let decoder = self.decoder.get_or_insert_with(|| self.spec.decoder());
        decoder.decode(payload, &mut self.decoded)?;
        self.convert(skip, out);
        Ok(())
    }

    /// Appends what the codec makes up for `ticks` of audio that did not come; false if it cannot.
    pub(super) fn conceal(&mut self, ticks: u32, out: &mut Vec<i16>) -> bool {
        self.decoded.clear();
        let samples = self.coded_samples(ticks);
        // Where nothing was decoded yet there is nothing to go on with.
        let decoder = self.decoder.as_mut();
        if !decoder.is_some_and(|decoder| decoder.conceal(samples, &mut self.decoded)) {
            return false;
        }
        self.convert(0, out);
        true
    }

    /// Ticks right before a payload of which it carries a copy.
    pub(super) fn copied_before(&self, payload: &[u8]) -> u32 {
        let samples = self.decoder.as_ref().map_or(0, |decoder| decoder.copied_before(payload));
        u32::try_from(self.spec.ticks_for(samples as u64)).unwrap_or(0)
    }

    /// Appends the last `ticks` before a payload from the copy that it carries.
    pub(super) fn recover(&mut self, payload: &[u8], ticks: u32, out: &mut Vec<i16>) {
        self.decoded.clear();
        let samples = self.coded_samples(ticks);
        if let Some(decoder) = &mut self.decoder {
            decoder.recover(payload, samples, &mut self.decoded);
        }
        self.convert(0, out);
    }

    /// Appends `ticks` of noise. It is made at the codec's rate, for which its spectrum was described.
    pub(super) fn add_noise(&mut self, noise: &mut NoiseGenerator, ticks: u32, out: &mut Vec<i16>) {
        self.decoded.clear();
        let samples = self.coded_samples(ticks) * usize::from(self.spec.channels);
        self.decoded.resize(samples, 0);
        noise.add_to(&mut self.decoded, self.spec.channels);
        self.convert(0, out);
    }

    /// Samples per channel in the session's rate; what is left of one is kept for the next time.
    pub(super) fn samples(&mut self, ticks: u32) -> usize {
        let parts = u64::from(ticks) * u64::from(self.sample_rate) + self.carry;
        let clock = u64::from(self.spec.clock_rate.max(1));
        self.carry = parts % clock;
        (parts / clock) as usize
    }

    /// Ticks that `samples` per channel in the session's rate need, rounded up.
    pub(super) fn ticks_for(&self, samples: usize) -> u32 {
        let parts = samples as u64 * u64::from(self.spec.clock_rate);
        u32::try_from(parts.div_ceil(u64::from(self.sample_rate))).unwrap_or(u32::MAX)
    }

    fn coded_samples(&self, ticks: u32) -> usize {
        // A hole is never shorter than a sample, or the timeline could stand still.
        (self.spec.samples_for(u64::from(ticks)) as usize).max(1)
    }

    /// From `decoded` without its first `skip` ticks to the session's format.
    fn convert(&mut self, skip: u32, out: &mut Vec<i16>) {
        let skip = self.spec.samples_for(u64::from(skip)) as usize;
        let skip = (skip * usize::from(self.spec.channels)).min(self.decoded.len());
        let pcm = &self.decoded[skip..];
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
