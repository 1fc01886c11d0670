//! Digits to the wire: one event packet per frame, in the time the key would take.

use std::collections::VecDeque;

use super::{duration_to_ticks, Digit, Duration, EventPayload, LONGEST_DIGIT, SEGMENT_TICKS};
use crate::seq::RtpTime;

/// Digits that may wait: a card number, an expiry date and a code fit several times over.
const QUEUE: usize = 64;
/// The shortest tone that every receiver must recognise (ITU-T Q.24 §2.3).
const SHORTEST_DIGIT: Duration = Duration::from_millis(40);
/// Silence between two digits. Q.24 receivers ask for 40 ms, some administrations for 70; with 20 ms frames the last of
/// three end packets leaves 40 ms into it, so another 40 ms of reordering cannot carry it into the next digit.
const GAP: Duration = Duration::from_millis(80);
/// The power of the tone, in −dBm0, at which a gateway should play it: a common level of telephones (Q.24 asks receivers
/// to accept 0 to −25 dBm and more).
const VOLUME: u8 = 10;
/// How often the last packet of an event, or of a segment, is sent in all (RFC 4733 §2.5.1.4).
const FINAL_PACKETS: u8 = 3;

/// The queue of digits is full; nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

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
    queue: VecDeque<(Digit, Duration)>,
    train: Option<Train>,
    /// Ticks until the next event may start, counted from the frame that is due next.
    pause: u64,
}

/// The event on its way.
#[derive(Clone, Copy, Debug)]
struct Train {
    digit: Digit,
    start: RtpTime,
    /// Ticks of the event in finished segments; the current segment starts that much after `start`.
    segment: u64,
    /// Ticks of tone so far, and in all.
    elapsed: u64,
    total: u64,
    /// Final packets of this segment (or, if it is the last one, of the event) still to send.
    finals: Option<u8>,
}

impl Sender {
    /// For a stream whose RTP clock ticks at `clock_rate` Hz; events share the clock of the audio (RFC 4733 §2.1).
    ///
    /// # Panics
    /// If `clock_rate` is 0.
    pub fn new(clock_rate: u32) -> Sender {
        assert!(clock_rate > 0, "the RTP clock rate must be at least 1 Hz, got 0");
        Sender { clock_rate, queue: VecDeque::new(), train: None, pause: 0 }
    }

    /// The stream goes over to another clock; an event on its way goes on with the length it has, at the new clock.
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        assert!(clock_rate > 0, "the RTP clock rate must be at least 1 Hz, got 0");
        if clock_rate == self.clock_rate {
            return;
        }
        let (from, to) = (u64::from(self.clock_rate), u64::from(clock_rate));
        let scale = |ticks: &mut u64| *ticks = *ticks * to / from;
        scale(&mut self.pause);
        if let Some(train) = &mut self.train {
            scale(&mut train.segment);
            scale(&mut train.elapsed);
            scale(&mut train.total);
        }
        self.clock_rate = clock_rate;
    }

    /// Queues a digit. Its tone lasts `duration`, held to 40 ms … 60 s and rounded up to whole frames.
    pub fn push(&mut self, digit: Digit, duration: Duration) -> Result<(), QueueFull> {
        if self.queue.len() >= QUEUE {
            return Err(QueueFull);
        }
        self.queue.push_back((digit, duration.clamp(SHORTEST_DIGIT, LONGEST_DIGIT)));
        Ok(())
    }

    /// Whether an event is on its way, its repeated end packets included.
    pub fn is_active(&self) -> bool {
        self.train.is_some()
    }

    /// The digits that wait, without the one on its way.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The event packet of the frame that starts at `now` and lasts `frame` ticks, if one is due.
    ///
    /// There is never more than one per frame: updates and repeated ends keep the pace of the audio (RFC 4733 §2.5.1.2,
    /// §2.5.1.4), so that a burst of loss does not take them all.
    pub fn next(&mut self, now: RtpTime, frame: u32) -> Option<EventPacket> {
        let frame = frame.max(1);
        if self.train.is_none() && self.pause == 0 {
            self.start(now, frame);
        }
        let packet = self.train.as_mut().map(|train| train.step(frame));
        if let Some(train) = self.train.filter(Train::is_over) {
            self.train = None;
            // The tone ended at `total`; of the gap, what the repeats of the end took has passed already.
            let next_frame = train.elapsed;
            let gap_ends = train.total + duration_to_ticks(GAP, self.clock_rate);
            self.pause = gap_ends.saturating_sub(next_frame);
        } else {
            self.pause = self.pause.saturating_sub(u64::from(frame));
        }
        packet
    }

    fn start(&mut self, now: RtpTime, frame: u32) {
        let Some((digit, duration)) = self.queue.pop_front() else { return };
        let frames = duration_to_ticks(duration, self.clock_rate).div_ceil(u64::from(frame)).max(1);
        self.train = Some(Train {
            digit,
            start: now,
            segment: 0,
            elapsed: 0,
            total: frames * u64::from(frame),
            finals: None,
        });
    }
}

impl Train {
    fn step(&mut self, frame: u32) -> EventPacket {
        let marker = self.elapsed == 0;
        self.elapsed += u64::from(frame);
        if self.finals == Some(0) {
            // §2.5.1.3: the next segment starts where the last one was full, and has grown while its end was repeated.
            self.segment += u64::from(SEGMENT_TICKS);
            self.finals = None;
        }
        let so_far = self.elapsed.min(self.total) - self.segment;
        if so_far >= u64::from(SEGMENT_TICKS) || self.elapsed >= self.total {
            self.finals = Some(self.finals.unwrap_or(FINAL_PACKETS) - 1);
        }
        let payload = EventPayload {
            event: self.digit.event(),
            // §2.5.1.3: a segment that is not the last ends without the E bit.
            end: self.in_last_segment() && self.elapsed >= self.total,
            volume: VOLUME,
            duration: so_far.min(u64::from(SEGMENT_TICKS)) as u16,
        };
        // A train is at most 60 s of ticks: 11.5 million at 192 kHz.
        EventPacket {
            marker,
            timestamp: self.start.plus(self.segment as u32),
            payload: payload.to_bytes(),
        }
    }

    fn in_last_segment(&self) -> bool {
        self.total - self.segment <= u64::from(SEGMENT_TICKS)
    }

    fn is_over(&self) -> bool {
        self.finals == Some(0) && self.in_last_segment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: u32 = 160;

    fn digit(key: char) -> Digit {
        Digit::parse(key).unwrap()
    }

    /// Runs `frames` frames from timestamp `from`; the packets with the number of the frame each left in.
    fn run(
        sender: &mut Sender,
        from: RtpTime,
        frame: u32,
        frames: u32,
    ) -> Vec<(u32, EventPacket, EventPayload)> {
        (0..frames)
            .filter_map(|n| {
                let packet = sender.next(from.plus(n * frame), frame)?;
                Some((n, packet, EventPayload::parse(&packet.payload).unwrap()))
            })
            .collect()
    }

    #[test]
    fn rfc4733_2_5_1_2_one_packet_a_frame_with_a_fixed_timestamp_and_a_growing_duration() {
        let mut sender = Sender::new(8000);
        sender.push(digit('5'), Duration::from_millis(100)).unwrap();
        let train = run(&mut sender, RtpTime(u32::MAX - 200), FRAME, 20);
        assert_eq!(train.iter().map(|(n, ..)| *n).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
        assert!(train.iter().all(|(_, packet, _)| packet.timestamp == RtpTime(u32::MAX - 200)));
        let durations: Vec<_> = train.iter().map(|(.., payload)| payload.duration).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800]);
        assert!(train.iter().all(|(.., payload)| payload.event == 5 && payload.volume == 10));
    }

    #[test]
    fn rfc4733_2_2_2_the_marker_is_on_the_first_packet_of_each_event_only() {
        let mut sender = Sender::new(8000);
        sender.push(digit('1'), Duration::from_millis(60)).unwrap();
        sender.push(digit('1'), Duration::from_millis(60)).unwrap();
        let train = run(&mut sender, RtpTime(7), FRAME, 40);
        let marked: Vec<_> = train.iter().map(|(_, packet, _)| packet.marker).collect();
        assert_eq!(marked, [true, false, false, false, false, true, false, false, false, false]);
    }

    #[test]
    fn rfc4733_2_5_1_4_the_final_packet_leaves_three_times_in_three_frames() {
        for ptime in [10, 20, 30, 40, 60] {
            let frame = 8 * ptime;
            let mut sender = Sender::new(8000);
            sender.push(digit('#'), Duration::from_millis(160)).unwrap();
            let train = run(&mut sender, RtpTime(0), frame, 60);
            let ends: Vec<_> = train.iter().filter(|(.., payload)| payload.end).collect();
            let [(a, _, x), (b, _, y), (c, _, z)] = ends[..] else {
                panic!("{} ends at {ptime} ms", ends.len())
            };
            assert_eq!((b - a, c - b), (1, 1), "{ptime} ms frames");
            assert!(x == y && y == z && u32::from(x.duration) == 1280_u32.next_multiple_of(frame));
        }
    }

    #[test]
    fn the_gap_between_two_digits_is_at_least_50_ms_and_holds_all_repeats() {
        for (ptime, gap_ms) in [(10, 80), (20, 80), (30, 90), (40, 80), (60, 120)] {
            let frame = 8 * ptime;
            let mut sender = Sender::new(8000);
            sender.push(digit('1'), Duration::from_millis(120)).unwrap();
            sender.push(digit('1'), Duration::from_millis(120)).unwrap();
            let train = run(&mut sender, RtpTime(0), frame, 60);
            let second = train.iter().rfind(|(_, packet, _)| packet.marker).unwrap();
            assert_eq!(second.1.timestamp, RtpTime(8 * (120 + gap_ms)), "{ptime} ms frames");
            assert_eq!(second.1.timestamp, RtpTime(second.0 * frame), "starts in its frame");
        }
    }

    #[test]
    fn rfc4733_2_5_1_3_an_event_beyond_0xffff_ticks_is_sent_in_segments() {
        let mut sender = Sender::new(8000);
        sender.push(digit('9'), Duration::from_secs(10)).unwrap();
        let train = run(&mut sender, RtpTime(1000), FRAME, 600);
        assert_eq!(train.len(), 500 + 2, "every frame of ten seconds, and the end twice more");
        let (first, second): (Vec<_>, Vec<_>) =
            train.iter().partition(|(_, packet, _)| packet.timestamp == RtpTime(1000));
        assert!(second.iter().all(|(_, packet, _)| packet.timestamp == RtpTime(1000 + 0xffff)));
        assert!(second.iter().all(|(_, packet, _)| !packet.marker));

        // §2.5.1.3: the full segment is reported, without E; §2.5.1.4: three times.
        let full: Vec<_> = first.iter().filter(|(.., p)| p.duration == 0xffff).collect();
        assert_eq!(full.len(), 3);
        assert!(first.iter().all(|(.., payload)| !payload.end));

        // The second one grows on from the time that has passed meanwhile, and ends the event.
        let (n, _, payload) = second[0];
        assert_eq!(u32::from(payload.duration), (n + 1) * FRAME - 0xffff);
        let last = second.last().unwrap().2;
        assert!(last.end);
        assert_eq!(0xffff + u32::from(last.duration), 80_000);
        assert_eq!(second.iter().filter(|(.., payload)| payload.end).count(), 3);
    }

    #[test]
    fn an_event_of_exactly_one_full_segment_ends_in_it_and_one_tick_more_needs_another() {
        // A frame of one tick is no real ptime, but lets the edge be met exactly.
        let run_ticks = |ticks: u64| {
            let mut sender = Sender::new(1000);
            // At 1 kHz a tick is a millisecond, so 60 s are 60 000 ticks: set the total by hand to pass 0xFFFF.
            sender.push(digit('0'), Duration::from_secs(1)).unwrap();
            sender.start(RtpTime(0), 1);
            sender.train.as_mut().unwrap().total = ticks;
            run(&mut sender, RtpTime(0), 1, 0x1_0010)
        };
        let exact = run_ticks(0xffff);
        assert_eq!(exact.iter().filter(|(.., p)| p.end && p.duration == 0xffff).count(), 3);
        assert_eq!(exact.len(), 0xffff + 2);

        let over = run_ticks(0x1_0000);
        assert_eq!(over.iter().filter(|(.., p)| !p.end && p.duration == 0xffff).count(), 3);
        let ends: Vec<_> = over.iter().filter(|(.., p)| p.end).collect();
        assert_eq!(ends.len(), 3);
        assert!(ends
            .iter()
            .all(|(_, packet, p)| packet.timestamp == RtpTime(0xffff) && p.duration == 1));
    }

    #[test]
    fn the_event_clock_is_the_stream_clock() {
        for rate in [8_000, 16_000, 48_000] {
            let mut sender = Sender::new(rate);
            sender.push(digit('A'), Duration::from_millis(160)).unwrap();
            let train = run(&mut sender, RtpTime(0), rate / 50, 30);
            assert_eq!(u32::from(train.last().unwrap().2.duration), rate / 1000 * 160);
            assert_eq!(train.len(), 8 + 2);
        }
    }

    #[test]
    fn durations_are_held_between_40_ms_and_a_minute() {
        for (asked, frames) in [
            (Duration::ZERO, 2),
            (Duration::from_millis(40), 2),
            (Duration::from_millis(41), 3),
            (Duration::MAX, 3000),
        ] {
            let mut sender = Sender::new(8000);
            sender.push(digit('1'), asked).unwrap();
            // Each of the seven full segments of the longest digit is within its frames; only the end adds two.
            assert_eq!(run(&mut sender, RtpTime(0), FRAME, 4000).len(), frames + 2, "{asked:?}");
        }
    }

    #[test]
    fn the_queue_is_full_at_64_and_takes_one_more_when_one_has_started() {
        let mut sender = Sender::new(8000);
        for _ in 0..64 {
            sender.push(digit('1'), SHORTEST_DIGIT).unwrap();
        }
        assert_eq!(sender.push(digit('1'), SHORTEST_DIGIT), Err(QueueFull));
        assert!(!sender.is_active());
        sender.next(RtpTime(0), FRAME);
        assert!(sender.is_active());
        assert_eq!((sender.queued(), sender.push(digit('1'), SHORTEST_DIGIT)), (63, Ok(())));
    }

    #[test]
    fn it_is_active_from_the_first_packet_to_the_last_repeat() {
        let mut sender = Sender::new(8000);
        sender.push(digit('1'), Duration::from_millis(60)).unwrap();
        let active: Vec<_> = (0..7)
            .map(|n| {
                sender.next(RtpTime(n * FRAME), FRAME);
                sender.is_active()
            })
            .collect();
        // After the fifth packet nothing more of it will come.
        assert_eq!(active, [true, true, true, true, false, false, false]);
    }
}
