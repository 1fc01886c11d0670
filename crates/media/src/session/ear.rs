//! Digits as a session hears them: signalled, in the audio, or told by the program; each press once.

use std::collections::VecDeque;
use std::sync::Arc;

use super::mask::{hush, Mask};
use super::{Event, Output};
use crate::dtmf::{Digit, InbandDetector, Merger, Origin, Press, ReceivedDigit, Receiver};
use crate::filters::Filters;
use crate::playout::{samples, Frame};
use crate::resample::Bank;
use crate::stats::Stats;
use crate::time::{Duration, Time};

/// A tone that began this long before the audio ends is in windows that have not been looked at: one is 13 ms long, they are
/// 5 ms apart, and the detector's resampler holds 1 ms back.
const UNSEEN: Duration = Duration::from_millis(20);

/// What listens for digits, and keeps them from being heard where that is asked for.
#[derive(Debug)]
pub(super) struct Ear {
    pub(super) receiver: Receiver,
    /// The program wants to hear nothing: digits go on.
    pub(super) muted: bool,
    sample_rate: u32,
    channels: u8,
    /// Tones are looked for.
    inband: bool,
    detector: Option<InbandDetector>,
    /// What it needs to hear the frames, if that was made beforehand.
    bank: Option<Arc<Bank>>,
    /// Audio that the detector was given.
    fed: Duration,
    /// The arrival of what it was given first, had all of it come without a gap.
    began: Time,
    merger: Merger,
    mask: Option<Mask>,
    /// From the arrival of audio to its deadline.
    delay: Duration,
}

impl Ear {
    pub(super) fn new(clock_rate: u32, sample_rate: u32, channels: u8, inband: bool) -> Ear {
        Ear {
            receiver: Receiver::new(clock_rate),
            muted: false,
            sample_rate,
            channels,
            inband,
            detector: None,
            bank: None,
            fed: Duration::ZERO,
            began: Time::ZERO,
            merger: Merger::default(),
            mask: None,
            delay: Duration::ZERO,
        }
    }

    /// Uses the filter that was made for it, if it is among these.
    pub(super) fn set_filters(&mut self, filters: &Filters) {
        self.bank = filters.find(self.sample_rate, InbandDetector::RATE).cloned();
    }

    pub(super) fn set_inband(&mut self, inband: bool) {
        self.inband = inband;
    }

    /// Digits are to be kept from those who take the frames, or no longer.
    pub(super) fn set_masked(&mut self, masked: bool) {
        match (&mut self.mask, masked) {
            (Some(mask), _) => mask.set_ending(!masked),
            (None, true) => self.mask = Some(Mask::default()),
            (None, false) => {}
        }
    }

    /// Listens to the frame that is due at `due`, `delay` after its audio came, and delivers what may be delivered.
    pub(super) fn frame(
        &mut self,
        due: Time,
        delay: Duration,
        mut frame: Frame,
        output: &mut VecDeque<Output>,
    ) {
        self.delay = delay;
        let samples = (frame.pcm.len() / usize::from(self.channels)) as u64;
        let length = Duration::from_nanos(samples * 1_000_000_000 / u64::from(self.sample_rate));
        self.listen(due, &frame.pcm, length);
        if self.muted {
            hush(&mut frame);
        }
        match &mut self.mask {
            None => output.push_back(Output::Frame(frame)),
            Some(mask) => {
                mask.hold(due, due + length, frame);
                self.deliver(due, due + length, output);
            }
        }
    }

    /// No frame is due at `due`, because nothing has come, or nothing comes any more: what is held back need not wait for one, and
    /// neither must the end of a mask.
    pub(super) fn no_frame(&mut self, due: Time, delay: Duration, output: &mut VecDeque<Output>) {
        self.delay = delay;
        if self.mask.is_some() {
            self.look_at_the_rest();
            self.finish(due);
            self.deliver(due, due, output);
        }
    }

    /// Delivers at the deadline `due` what may be delivered by `now`, and all of it where that ends the mask.
    fn deliver(&mut self, due: Time, now: Time, output: &mut VecDeque<Output>) {
        let Some(mask) = &mut self.mask else { return };
        let sounds = self.detector.as_ref().is_some_and(|detector| detector.sounding().is_some());
        // A digit that is still to be told was pressed while masked, and says so.
        let untold = self.receiver.current().is_some() || self.merger.holds();
        let over = mask.is_played(due, self.delay) && mask.is_clear(due) && !sounds && !untold;
        while let Some(mut frame) = mask.release(now, over) {
            // What was held back before it was muted is not heard either.
            if self.muted {
                hush(&mut frame);
            }
            output.push_back(Output::Frame(frame));
        }
        if over {
            self.mask = None;
        }
    }

    /// A packet of a signalled digit came.
    pub(super) fn signalled(&mut self, arrival: Time) {
        if let Some(mask) = &mut self.mask {
            mask.signalled(arrival + self.delay);
        }
    }

    /// The program has it from signalling that a key was pressed for `duration` until now.
    pub(super) fn inject(&mut self, now: Time, digit: Digit, duration: Duration) {
        let press = Press {
            digit,
            duration,
            confidence: 1.0,
            origin: Origin::Injected,
            began: now.back(duration),
            ended: now,
            masked: self.covers_signal(now.back(duration)),
        };
        self.merger.report(now, press);
    }

    /// No more audio comes of where it came from: what is certain is told, and what was held back is delivered, masked where
    /// it has to be.
    pub(super) fn audio_ends(&mut self, now: Time, output: &mut VecDeque<Output>) {
        self.look_at_the_rest();
        if let Some(mask) = &mut self.mask {
            while let Some(mut frame) = mask.release(now, true) {
                if self.muted {
                    hush(&mut frame);
                }
                output.push_back(Output::Frame(frame));
            }
        }
        self.finish(now);
    }

    /// The audio that was given to the detector is all there is: what a key may have begun in the last of it is masked.
    fn look_at_the_rest(&mut self) {
        if let (Some(detector), Some(mask)) = (&mut self.detector, &mut self.mask) {
            // The last windows are half silence, in which a tone that has just begun is suspected all the same.
            let silence = samples(UNSEEN, self.sample_rate) * usize::from(self.channels);
            detector.process(&vec![0; silence]);
            if let Some((from, to)) = detector.take_suspicion() {
                let began = self.began + self.delay;
                mask.tones(began + from, began + to);
            }
        }
    }

    /// What was heard so far has nothing to do with what comes next: a tone that sounds is over.
    pub(super) fn finish(&mut self, now: Time) {
        if let Some(detector) = &mut self.detector {
            detector.finish();
        }
        self.collect(now);
        self.detector = None;
    }

    /// Tells the presses that are known by `now`.
    pub(super) fn tell(&mut self, now: Time, stats: &mut Stats, output: &mut VecDeque<Output>) {
        while let Some(received) = self.receiver.poll(now) {
            let masked = self.covers_signal(received.began);
            self.merger.report(now, press(received, masked));
        }
        while let Some(press) = self.merger.poll(now, self.receiver.current()) {
            stats.digits_received += 1;
            let goes_on = self.mask.as_ref().is_some_and(Mask::goes_on);
            output.push_back(Output::Event(Event::Digit {
                digit: press.digit,
                duration: press.duration,
                confidence: press.confidence,
                masked: press.masked || goes_on,
            }));
        }
        stats.digits_merged = self.merger.merged();
    }

    fn covers_signal(&self, came: Time) -> bool {
        self.mask.as_ref().is_some_and(|mask| mask.covers_signal(came))
    }

    fn listen(&mut self, due: Time, pcm: &[i16], length: Duration) {
        if !self.inband && self.mask.is_none() {
            self.detector = None;
            return;
        }
        if self.detector.is_none() {
            self.fed = Duration::ZERO;
            self.detector = match &self.bank {
                Some(bank) => InbandDetector::with_bank(Arc::clone(bank), self.channels).ok(),
                None => InbandDetector::new(self.sample_rate, self.channels).ok(),
            };
        }
        self.began = due.back(self.delay + self.fed);
        self.fed += length;
        let Some(detector) = &mut self.detector else { return };
        detector.process(pcm);
        if let (Some((from, to)), Some(mask)) = (detector.take_suspicion(), &mut self.mask) {
            let began = self.began + self.delay;
            mask.tones(began + from, began + to);
        }
        self.collect(due);
    }

    /// Reports the digits that were found in the audio.
    fn collect(&mut self, now: Time) {
        let (Some(detector), mask) = (&mut self.detector, &self.mask) else { return };
        while let Some(heard) = detector.poll() {
            let began = self.began + heard.start;
            let press = Press {
                digit: heard.digit,
                duration: heard.duration,
                confidence: heard.confidence,
                origin: Origin::Audio,
                began,
                ended: began + heard.duration,
                masked: mask.as_ref().is_some_and(|mask| mask.covers_tone(began + self.delay)),
            };
            self.merger.report(now, press);
        }
    }
}

fn press(received: ReceivedDigit, masked: bool) -> Press {
    Press {
        digit: received.digit,
        duration: received.duration,
        confidence: 1.0,
        origin: Origin::Event,
        began: received.began,
        ended: received.began + received.duration,
        masked,
    }
}
