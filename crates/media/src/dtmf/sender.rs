//! Digits to the wire: one event packet per frame, or a frame of tones, in the time the key would take.

use std::collections::VecDeque;

use super::{duration_to_ticks, Digit, Duration, EventPayload, Tone, LONGEST_DIGIT, SEGMENT_TICKS};
use crate::seq::RtpTime;

/// Digits and pauses that may wait: several card numbers.
const QUEUE: usize = 128;
/// The shortest tone that every receiver must recognise (ITU-T Q.24 §2.3).
const SHORTEST_DIGIT: Duration = Duration::from_millis(40);
/// Silence between two digits. Q.24 receivers ask for 40 ms, some administrations for 70; with 20 ms frames the last of
/// three end packets leaves 40 ms into it, so another 40 ms of reordering cannot carry it into the next digit.
pub(super) const GAP: Duration = Duration::from_millis(80);
/// The shortest gap that every receiver must recognise (Q.24 §2.3).
const SHORTEST_GAP: Duration = Duration::from_millis(40);
/// The power of the tone, in −dBm0, at which a gateway should play it: a common level of telephones (Q.24 asks receivers
/// to accept 0 to −25 dBm and more).
const VOLUME: u8 = 10;
/// How often the last packet of an event, or of a segment, is sent in all (RFC 4733 §2.5.1.4).
const FINAL_PACKETS: u8 = 3;

/// How a digit is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// As event packets (RFC 4733).
    #[default]
    Event,
    /// As its tones, in place of the audio (ITU-T Q.23).
    Tone,
}

/// One step of what is dialled. Durations out of bounds are held to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A key.
    Digit {
        /// Which.
        digit: Digit,
        /// How long it is pressed: 40 ms to 60 s, rounded up to whole frames.
        duration: Duration,
        /// How long it is quiet before the next, at least: 40 ms to 60 s.
        gap: Duration,
        /// How it is sent.
        method: Method,
    },
    /// Nothing, for up to 60 s.
    Pause(Duration),
}

/// The queue of digits is full; nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// All that was queued at once has left, or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialled {
    /// The number it was queued under.
    pub batch: u64,
    /// Whether some of it was not sent, or not for as long as it was to be.
    pub cancelled: bool,
}

/// An event packet that is due in this frame. It takes the next sequence number of the audio stream and the stream's SSRC
/// (RFC 4733 §2.1), but its own timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// Set on the first packet of an event only (§2.2.2).
    pub marker: bool,
    /// The start of the event, or of this segment of it.
    pub timestamp: RtpTime,
    /// The [`EventPayload`] on the wire.
    pub payload: [u8; 4],
}

/// Plays queued digits, one after another. Call [`next`](Self::next) exactly once per frame.
///
/// ```
/// use roomkit_media::dtmf::{Digit, Sender};
/// use roomkit_media::seq::RtpTime;
/// # use core::time::Duration;
/// let mut sender = Sender::new(8000);
/// sender.push(Digit::parse('5').unwrap(), Duration::from_millis(60)).unwrap();
/// let frame = 160; // 20 ms
/// let train: Vec<_> = (0..10).filter_map(|n| sender.next(RtpTime(n * frame), frame)).collect();
/// assert_eq!(train.len(), 3 + 2, "three frames of tone, and the end twice more");
/// assert!(train[0].marker && train.iter().all(|packet| packet.timestamp == RtpTime(0)));
/// ```
#[derive(Clone, Debug)]
pub struct Sender {
    clock_rate: u32,
    queue: VecDeque<Waiting>,
    now: Option<Sending>,
    /// Ticks until the next signal may start, counted from the frame that is due next.
    pause: u64,
    /// The frame that is due is not the audio's: there are tones, or the quiet between two.
    quiet: bool,
    dialled: VecDeque<Dialled>,
    started: u64,
    /// The batch whose queued pause passes; `None` in the gap behind a digit.
    pausing: Option<u64>,
    /// The clock of the events that the far end takes, in Hz; `None` while it takes none.
    events: Option<u32>,
    /// The batch of which a digit was cut short; 0 for none.
    cut: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    batch: u64,
    /// The last of its batch.
    last: bool,
    signal: Signal,
}

/// The digit on its way.
#[derive(Clone, Debug)]
struct Sending {
    batch: u64,
    last: bool,
    /// Ticks of quiet behind it.
    gap: u64,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Event(Train),
    Tone(Sounding),
}

/// A digit as tones. It is made at the sample rate of the frame it is asked for in.
#[derive(Clone, Debug)]
struct Sounding {
    digit: Digit,
    tone: Option<(u32, Tone)>,
    /// Ticks of tone so far, and in all.
    elapsed: u64,
    total: u64,
    stopped: bool,
}

/// The event on its way.
#[derive(Clone, Copy, Debug)]
struct Train {
    digit: Digit,
    /// The timestamp of the current segment.
    start: RtpTime,
    /// Ticks of the event in finished segments.
    segment: u64,
    /// Ticks of tone so far, and in all.
    elapsed: u64,
    total: u64,
    /// The clock of all these ticks, and the one that payloads count at, in Hz.
    stream_clock: u32,
    clock: u32,
    /// Final packets of this segment (or, if it is the last one, of the event) still to send.
    finals: Option<u8>,
    /// The clock has changed, and what the segment has lasted is more than one can state at the new one: the next packet opens
    /// another.
    split: bool,
}

impl Sender {
    /// For a stream whose RTP clock ticks at `clock_rate` Hz; events share the clock of the audio (RFC 4733 §2.1)
    /// unless [`set_events`](Self::set_events) says otherwise.
    ///
    /// # Panics
    /// If `clock_rate` is 0.
    pub fn new(clock_rate: u32) -> Sender {
        assert!(clock_rate > 0, "the RTP clock rate must be at least 1 Hz, got 0");
        Sender {
            clock_rate,
            queue: VecDeque::new(),
            now: None,
            pause: 0,
            quiet: false,
            dialled: VecDeque::new(),
            started: 0,
            pausing: None,
            events: Some(clock_rate),
            cut: 0,
        }
    }

    /// The stream goes over to another clock; a digit on its way goes on with the length it has, at the new clock.
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        assert!(clock_rate > 0, "the RTP clock rate must be at least 1 Hz, got 0");
        if clock_rate == self.clock_rate {
            return;
        }
        let (from, to) = (u64::from(self.clock_rate), u64::from(clock_rate));
        let scale = |ticks: &mut u64| *ticks = *ticks * to / from;
        scale(&mut self.pause);
        if let Some(sending) = &mut self.now {
            scale(&mut sending.gap);
            match &mut sending.form {
                Form::Event(train) => {
                    if train.clock == train.stream_clock {
                        train.clock = clock_rate;
                    }
                    train.stream_clock = clock_rate;
                    scale(&mut train.segment);
                    scale(&mut train.elapsed);
                    scale(&mut train.total);
                    train.reclocked();
                }
                Form::Tone(sounding) => {
                    scale(&mut sounding.elapsed);
                    scale(&mut sounding.total);
                }
            }
        }
        if self.events == Some(self.clock_rate) {
            self.events = Some(clock_rate); // they share the audio's, until something else is said
        }
        self.clock_rate = clock_rate;
    }

    /// The clock, in Hz, that the far end counts the length of events at, which is not always that of the audio. `None`: it
    /// takes no events, and all digits are sent as tones.
    pub fn set_events(&mut self, clock_rate: Option<u32>) {
        self.events = clock_rate.filter(|rate| *rate > 0);
        if let Some(Sending { form: Form::Event(train), .. }) = &mut self.now {
            let clock = self.events.unwrap_or(train.clock);
            if clock != core::mem::replace(&mut train.clock, clock) {
                train.reclocked();
            }
        }
    }

    /// Queues a digit as an event, with the usual gap behind it, as a batch 0 that nobody waits for.
    pub fn push(&mut self, digit: Digit, duration: Duration) -> Result<(), QueueFull> {
        self.dial(0, &[Signal::Digit { digit, duration, gap: GAP, method: Method::Event }])
    }

    /// Queues all of the signals or none. `batch` tells them from others in [`Dialled`]; a later one has a greater number,
    /// and 0 is not told of.
    pub fn dial(&mut self, batch: u64, signals: &[Signal]) -> Result<(), QueueFull> {
        if self.queue.len() + signals.len() > QUEUE {
            return Err(QueueFull);
        }
        for (n, &signal) in signals.iter().enumerate() {
            self.queue.push_back(Waiting { batch, last: n + 1 == signals.len(), signal });
        }
        if signals.is_empty() {
            self.tell(batch, false);
        }
        Ok(())
    }

    /// Drops what waits of the batches up to `upto`. An event on its way ends with its next packets, 40 ms long at least, and
    /// a tone fades, so that no key is left pressed.
    pub fn cancel(&mut self, upto: u64) {
        let mut cancelled = 0;
        let clock_rate = self.clock_rate;
        if let Some(sending) = self.now.as_mut().filter(|sending| sending.batch <= upto) {
            sending.form.stop(duration_to_ticks(SHORTEST_DIGIT, clock_rate));
            cancelled = sending.batch;
            // It has been told: 0 is nobody's.
            (sending.batch, sending.last) = (0, false);
        }
        if self.pausing.take_if(|batch| *batch <= upto).is_some() {
            self.pause = 0;
        }
        self.tell(cancelled, true);
        while let Some(waiting) = self.queue.front().filter(|waiting| waiting.batch <= upto) {
            let batch = waiting.batch;
            self.queue.pop_front();
            if batch != cancelled {
                cancelled = batch;
                self.tell(batch, true);
            }
        }
    }

    /// Lets go of the key that is pressed, as [`cancel`](Self::cancel) does, for nothing may be sent any longer; what waits
    /// goes on waiting. Its batch is told as cancelled once the rest of it has left: not all of it was sent as it was asked for.
    pub fn let_go(&mut self) {
        let least = duration_to_ticks(SHORTEST_DIGIT, self.clock_rate);
        if let Some(sending) = &mut self.now {
            if sending.form.stop(least) && sending.batch != 0 {
                self.cut = sending.batch;
            }
        }
    }

    /// Ends an event on its way with the one packet that there is still time for: nothing is sent after it.
    pub fn hang_up(&mut self) -> Option<EventPacket> {
        let Form::Event(mut train) = self.now.take()?.form else { return None };
        train.stop(duration_to_ticks(SHORTEST_DIGIT, self.clock_rate));
        Some(train.last_word())
    }

    /// The next batch that has left or was cancelled.
    pub fn poll(&mut self) -> Option<Dialled> {
        self.dialled.pop_front()
    }

    /// Whether a digit is on its way, repeated end packets of its event included.
    pub fn is_active(&self) -> bool {
        self.now.is_some()
    }

    /// The digits and pauses that wait, without the digit on its way.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The digits that have begun to be sent.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// The event packet of the frame that starts at `now` and lasts `frame` ticks, if one is due.
    ///
    /// There is never more than one per frame: updates and repeated ends keep the pace of the audio (RFC 4733 §2.5.1.2,
    /// §2.5.1.4), so that a burst of loss does not take them all.
    pub fn next(&mut self, now: RtpTime, frame: u32) -> Option<EventPacket> {
        let frame = frame.max(1);
        if self.now.is_none() && self.pause == 0 {
            (self.quiet, self.pausing) = (false, None);
            self.start(now, frame);
        }
        let Some(sending) = &mut self.now else {
            self.pause = self.pause.saturating_sub(u64::from(frame));
            return None;
        };
        let (packet, total, elapsed, over) = match &mut sending.form {
            Form::Event(train) => {
                let packet = train.step(now, frame);
                (Some(packet), train.total, train.elapsed, train.is_over())
            }
            Form::Tone(sounding) => {
                self.quiet = true;
                sounding.elapsed += u64::from(frame);
                (None, sounding.total, sounding.elapsed, sounding.elapsed >= sounding.total)
            }
        };
        if over {
            // It ended at `total`; of the gap, what the repeats of the end took, or the rest of the frame, has passed already.
            self.pause = (total + sending.gap).saturating_sub(elapsed);
            let (batch, last) = (sending.batch, sending.last);
            // Tones are still to be made for this frame.
            if packet.is_some() {
                self.now = None;
            }
            if last {
                self.tell(batch, false);
            }
        }
        packet
    }

    /// Writes the tones of the frame for which [`next`](Self::next) was called over `pcm`, or silence between two keys; false
    /// if the frame is the audio's. Call it once per frame, after `next`.
    pub fn fill(&mut self, pcm: &mut [i16], sample_rate: u32, channels: u8) -> bool {
        if !self.quiet {
            return false;
        }
        pcm.fill(0);
        let clock_rate = u64::from(self.clock_rate);
        let Some(Sending { form: Form::Tone(sounding), .. }) = &mut self.now else { return true };
        let span = |ticks: u64| Duration::from_nanos(ticks * 1_000_000_000 / clock_rate);
        if sounding.tone.as_ref().is_none_or(|(rate, _)| *rate != sample_rate) {
            let frame = pcm.len() as u64 / u64::from(channels.max(1)) * 1_000_000_000
                / u64::from(sample_rate.max(1));
            let left = span(sounding.total) + Duration::from_nanos(frame);
            let left = left.saturating_sub(span(sounding.elapsed));
            sounding.tone = Some((sample_rate, Tone::new(sounding.digit, left, sample_rate)));
        }
        if let Some((_, tone)) = &mut sounding.tone {
            if sounding.stopped {
                tone.stop();
            }
            tone.fill(pcm, channels);
        }
        if sounding.elapsed >= sounding.total {
            self.now = None;
        }
        true
    }

    fn start(&mut self, now: RtpTime, frame: u32) {
        let Some(Waiting { batch, last, signal }) = self.queue.pop_front() else { return };
        let ticks = |span: Duration| duration_to_ticks(span, self.clock_rate);
        match signal {
            Signal::Pause(span) => {
                self.pause = ticks(span.min(LONGEST_DIGIT));
                self.pausing = Some(batch);
                if last {
                    self.tell(batch, false);
                }
            }
            Signal::Digit { digit, duration, gap, method } => {
                let duration = ticks(duration.clamp(SHORTEST_DIGIT, LONGEST_DIGIT));
                let frames = duration.div_ceil(u64::from(frame)).max(1);
                let total = frames * u64::from(frame);
                let form = match method {
                    Method::Event if self.events.is_some() => Form::Event(Train {
                        digit,
                        start: now,
                        segment: 0,
                        elapsed: 0,
                        total,
                        stream_clock: self.clock_rate,
                        clock: self.events.unwrap_or(self.clock_rate),
                        finals: None,
                        split: false,
                    }),
                    Method::Event | Method::Tone => {
                        let (elapsed, tone, stopped) = (0, None, false);
                        Form::Tone(Sounding { digit, tone, elapsed, total, stopped })
                    }
                };
                let gap = ticks(gap.clamp(SHORTEST_GAP, LONGEST_DIGIT));
                self.started += 1;
                self.now = Some(Sending { batch, last, gap, form });
            }
        }
    }

    fn tell(&mut self, batch: u64, cancelled: bool) {
        // There are never more than the queue can hold, and the owner polls at every frame.
        if batch != 0 && self.dialled.len() < QUEUE {
            let cancelled = cancelled || batch == self.cut;
            self.dialled.push_back(Dialled { batch, cancelled });
        }
    }
}

impl Form {
    /// The key is let go: an event ends as soon as it has lasted for `least`, a tone fades at once. False if it was over.
    fn stop(&mut self, least: u64) -> bool {
        match self {
            Form::Event(train) => train.stop(least),
            Form::Tone(sounding) => {
                sounding.stopped = true;
                let cut = sounding.elapsed < sounding.total;
                sounding.total = sounding.total.min(sounding.elapsed);
                cut
            }
        }
    }
}

impl Train {
    /// The packet of the frame that starts at `now`.
    fn step(&mut self, now: RtpTime, frame: u32) -> EventPacket {
        let marker = self.elapsed == 0;
        if core::mem::take(&mut self.split) {
            (self.segment, self.start, self.finals) = (self.elapsed, now, None);
        }
        if self.finals == Some(0) {
            // §2.5.1.3: the next segment starts where the last one was full, and has grown while its end was repeated. By the
            // clock of now, if that has changed meanwhile, it may not be full.
            if self.elapsed.min(self.total) - self.segment >= self.longest_segment() {
                self.segment += self.longest_segment();
                // So much before now: the clock may have changed since the last one began.
                self.start = now.back((self.elapsed - self.segment) as u32);
            }
            self.finals = None;
        }
        self.elapsed += u64::from(frame);
        let so_far = self.elapsed.min(self.total) - self.segment;
        let full = so_far >= self.longest_segment() || self.elapsed >= self.total;
        self.finals = full.then(|| self.finals.unwrap_or(FINAL_PACKETS) - 1);
        let payload = EventPayload {
            event: self.digit.event(),
            // §2.5.1.3: a segment that is not the last ends without the E bit.
            end: self.in_last_segment() && self.elapsed >= self.total,
            volume: VOLUME,
            duration: self.stated(so_far),
        };
        EventPacket { marker, timestamp: self.start, payload: payload.to_bytes() }
    }

    /// Ticks of the stream that the longest duration of a payload lasts.
    fn longest_segment(&self) -> u64 {
        u64::from(SEGMENT_TICKS) * u64::from(self.stream_clock) / u64::from(self.clock)
    }

    /// Ticks of the stream as a payload states them: never 0, which is no event (§2.3.5).
    fn stated(&self, ticks: u64) -> u16 {
        let ticks = ticks * u64::from(self.clock) / u64::from(self.stream_clock);
        ticks.clamp(1, u64::from(SEGMENT_TICKS)) as u16
    }

    /// Its clock has changed.
    fn reclocked(&mut self) {
        let lasted = self.elapsed - self.segment;
        self.split = self.elapsed < self.total && lasted >= self.longest_segment();
    }

    /// Ends it as soon as it has lasted for `least`, if it has not begun to end; true if that makes it shorter.
    fn stop(&mut self, least: u64) -> bool {
        let before = self.total;
        if self.elapsed < self.total {
            self.total = self.total.min(self.elapsed.max(least));
        }
        self.total < before
    }

    /// The packet with the E bit, whatever of the train is left.
    fn last_word(&mut self) -> EventPacket {
        self.elapsed = self.elapsed.max(self.total);
        while !self.in_last_segment() {
            self.segment += self.longest_segment();
            self.start = self.start.plus(self.longest_segment() as u32);
        }
        (self.finals, self.split) = (None, false);
        self.step(self.start, 0)
    }

    fn in_last_segment(&self) -> bool {
        self.total - self.segment <= self.longest_segment()
    }

    fn is_over(&self) -> bool {
        self.finals == Some(0) && self.in_last_segment()
    }
}

#[cfg(test)]
mod tests;
