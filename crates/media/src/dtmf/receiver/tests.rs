use super::*;
use crate::seq::{RtpTime, SeqNo};

fn at(timestamp: u64) -> ExtTime {
    ExtTime::first(RtpTime(0)).plus(timestamp)
}

fn header(seq: u64, timestamp: u64) -> EventHeader {
    EventHeader { seq: ExtSeq::first(SeqNo(0)).plus(seq), timestamp: at(timestamp), marker: false }
}

/// A receiver at 8 kHz with shorthand for what arrives and what comes out; packets are numbered as they come.
struct Bench(Receiver, ExtSeq);

impl Bench {
    fn new() -> Bench {
        Bench(Receiver::new(8000), ExtSeq::first(SeqNo(65_533)))
    }
    fn update(&mut self, ms: u64, timestamp: u64, event: u8, duration: u16) -> Outcome {
        self.packet(ms, timestamp, event, duration, false)
    }
    fn end(&mut self, ms: u64, timestamp: u64, event: u8, duration: u16) -> Outcome {
        self.packet(ms, timestamp, event, duration, true)
    }
    fn packet(&mut self, ms: u64, timestamp: u64, event: u8, duration: u16, end: bool) -> Outcome {
        self.1 = self.1.plus(1);
        self.numbered(ms, (self.1, timestamp, false), event, duration, end)
    }
    /// A packet that `newer` others have overtaken.
    fn overtaken(
        &mut self,
        newer: u64,
        (ms, timestamp): (u64, u64),
        (event, duration, end): (u8, u16, bool),
    ) -> Outcome {
        self.numbered(ms, (self.1.back(newer - 1), timestamp, false), event, duration, end)
    }
    fn numbered(
        &mut self,
        ms: u64,
        (seq, timestamp, marker): (ExtSeq, u64, bool),
        event: u8,
        duration: u16,
        end: bool,
    ) -> Outcome {
        let header = EventHeader { seq, timestamp: at(timestamp), marker };
        self.0.receive(Time::ms(ms), header, &EventPayload { event, end, volume: 10, duration })
    }
    /// What has been reported by `ms`: key, milliseconds, how it ended.
    fn digits(&mut self, ms: u64) -> Vec<(char, u128, Ended)> {
        core::iter::from_fn(|| self.0.poll(Time::ms(ms)))
            .map(|d| (d.digit.as_char(), d.duration.as_millis(), d.ended))
            .collect()
    }
}

#[test]
fn rfc4733_2_5_1_4_the_final_packet_three_times_is_one_digit() {
    let mut b = Bench::new();
    assert_eq!(b.update(0, 5000, 1, 160), Outcome::Began);
    assert_eq!(b.update(20, 5000, 1, 320), Outcome::Continued);
    assert_eq!(b.digits(39), [], "not before it has ended");
    assert_eq!(b.end(40, 5000, 1, 480), Outcome::Ended);
    assert_eq!(b.end(60, 5000, 1, 480), Outcome::Late);
    assert_eq!(b.end(80, 5000, 1, 480), Outcome::Late);
    assert_eq!(b.digits(2000), [('1', 60, Ended::Marked)]);
    assert_eq!((b.0.counts().late, b.0.deadline()), (2, None));
}

#[test]
fn rfc4733_2_2_2_a_lost_start_is_still_one_digit() {
    let mut b = Bench::new();
    assert_eq!(b.update(100, 5000, 7, 960), Outcome::Began, "no marker needed");
    b.end(120, 5000, 7, 1120);
    assert_eq!(b.digits(120), [('7', 140, Ended::Marked)]);
    // Everything but one of the ends is lost.
    b.1 = b.1.plus(9);
    assert_eq!(b.end(400, 9000, 7, 1120), Outcome::Ended);
    assert_eq!(b.digits(400), [('7', 140, Ended::Marked)]);
}

#[test]
fn rfc4733_2_5_2_2_all_ends_lost_it_ends_by_silence() {
    let mut b = Bench::new();
    b.update(0, 5000, 3, 160);
    b.update(50, 5000, 3, 560);
    assert_eq!(b.0.deadline(), Some(Time::ms(250)));
    assert_eq!(b.digits(249), []);
    assert_eq!(b.digits(250), [('3', 70, Ended::Silent)]);
    assert_eq!(b.0.deadline(), None);
    // §2.5.2.2: a late packet never restarts it, not even one that tells more.
    assert_eq!(b.update(260, 5000, 3, 720), Outcome::Late);
    assert_eq!(b.end(30_000, 5000, 3, 800), Outcome::Late);
    assert_eq!(b.digits(60_000), []);
}

#[test]
fn rfc4733_2_5_2_2_a_newer_event_ends_the_one_before_at_once() {
    let mut b = Bench::new();
    b.update(0, 5000, 1, 160);
    b.update(20, 5000, 1, 320);
    assert_eq!(b.update(180, 6440, 1, 160), Outcome::Began, "the same key, pressed again");
    assert_eq!(b.digits(180), [('1', 40, Ended::Overtaken)]);
    assert_eq!(b.end(190, 5000, 1, 800), Outcome::Late, "an end that was overtaken");
    b.end(200, 6440, 1, 320);
    assert_eq!(b.digits(200), [('1', 40, Ended::Marked)]);
}

#[test]
fn a_digit_whose_only_packet_was_overtaken_by_the_next_digit_comes_first() {
    let mut b = Bench::new();
    b.update(0, 6440, 2, 160);
    assert_eq!(b.overtaken(3, (10, 5000), (1, 800, true)), Outcome::Ended);
    assert_eq!(b.overtaken(2, (12, 5000), (1, 800, true)), Outcome::Late);
    b.end(60, 6440, 2, 800);
    // Once the later digit is reported, an unseen older one can only make a wrong number: it is late.
    assert_eq!(b.overtaken(4, (70, 6000), (9, 160, true)), Outcome::Late);
    assert_eq!(b.digits(70), [('1', 100, Ended::Marked), ('2', 100, Ended::Marked)]);
}

#[test]
fn rfc4733_2_3_5_duration_0_is_ignored() {
    let mut b = Bench::new();
    assert_eq!(b.update(0, 5000, 1, 0), Outcome::ZeroDuration);
    assert_eq!(b.end(10, 5000, 1, 0), Outcome::ZeroDuration);
    assert_eq!((b.0.deadline(), b.0.counts().zero_duration), (None, 2));
    b.update(20, 5000, 1, 160);
    assert_eq!(b.end(30, 5000, 1, 0), Outcome::ZeroDuration, "and ends nothing");
    b.end(40, 5000, 1, 320);
    assert_eq!(b.digits(5000), [('1', 40, Ended::Marked)]);
}

#[test]
fn tones_that_are_no_keys_are_counted_and_disturb_no_digit() {
    let mut b = Bench::new();
    b.update(0, 5000, 15, 160);
    for event in [16, 17, 32, 36, 255] {
        assert_eq!(b.end(10, 5400, event, 160), Outcome::NotADigit);
    }
    b.end(20, 5000, 15, 320);
    assert_eq!(b.digits(20), [('D', 40, Ended::Marked)]);
    assert_eq!(b.0.counts().not_a_digit, 5);
}

#[test]
fn reordered_and_doubled_updates_neither_shrink_nor_end_a_digit() {
    let mut b = Bench::new();
    b.update(0, 5000, 4, 480);
    assert_eq!(b.update(1, 5000, 4, 160), Outcome::Stale);
    assert_eq!(b.update(2, 5000, 4, 480), Outcome::Stale);
    assert_eq!(b.update(3, 5000, 4, 640), Outcome::Continued);
    assert_eq!(b.digits(202), [], "stale packets show that it is alive, too");
    assert_eq!(b.digits(203), [('4', 80, Ended::Silent)]);
    assert_eq!(b.0.counts().stale, 2);
}

#[test]
fn rfc4733_2_5_2_3_segments_are_joined_to_one_digit_with_the_summed_duration() {
    let mut b = Bench::new();
    b.update(0, 5000, 1, 160);
    for n in 1..=81 {
        b.update(n * 100, 5000, 1, (n * 800) as u16);
    }
    b.update(8191, 5000, 1, 0xffff);
    assert_eq!(b.update(8220, 5000 + 0xffff, 1, 225), Outcome::Continued);
    assert_eq!(b.update(8230, 5000, 1, 0xffff), Outcome::Stale, "of the segment before");
    assert_eq!(b.end(8400, 5000 + 0xffff, 1, 1665), Outcome::Ended);
    // 65 535 + 1665 ticks
    assert_eq!(b.digits(8400), [('1', 8400, Ended::Marked)]);
    assert_eq!(b.update(8410, 5000, 1, 0xffff), Outcome::Late);
    assert_eq!(b.end(8420, 5000 + 0xffff, 1, 1665), Outcome::Late);
}

#[test]
fn rfc4733_2_5_2_3_segments_join_even_if_the_full_report_or_the_order_was_lost() {
    let mut b = Bench::new();
    b.update(0, 5000, 1, 65_000);
    assert_eq!(b.update(60, 5000 + 0xffff, 1, 200), Outcome::Continued);
    assert_eq!(b.end(80, 5000 + 0xffff, 1, 400), Outcome::Ended);
    assert_eq!(b.digits(80), [('1', (0xffff + 400) / 8, Ended::Marked)]);

    let mut b = Bench::new();
    b.update(0, 5000 + 0xffff, 1, 200);
    assert_eq!(b.update(5, 5000, 1, 0xffff), Outcome::Stale, "the first segment, overtaken");
    b.end(20, 5000 + 0xffff, 1, 400);
    assert_eq!(b.digits(20), [('1', (0xffff + 400) / 8, Ended::Marked)]);
}

#[test]
fn segments_filled_to_a_whole_frame_only_are_joined_and_short_ones_are_digits() {
    let mut b = Bench::new();
    b.update(0, 5000, 1, 65_440);
    assert_eq!(b.update(20, 5000 + 65_440, 1, 160), Outcome::Continued);
    b.end(40, 5000 + 65_440, 1, 320);
    assert_eq!(b.digits(40), [('1', (65_440 + 320) / 8, Ended::Marked)]);

    let mut b = Bench::new();
    b.update(0, 5000, 1, 800);
    assert_eq!(b.end(180, 5800, 1, 160), Outcome::Ended, "the same key again");
    assert_eq!(b.digits(180), [('1', 100, Ended::Overtaken), ('1', 20, Ended::Marked)]);
}

#[test]
fn a_long_event_given_up_in_a_burst_of_loss_does_not_return_with_its_next_segment() {
    let mut b = Bench::new();
    b.update(0, 5000, 1, 60_000);
    assert_eq!(b.digits(300), [('1', 7500, Ended::Silent)]);
    for segment in 1..=3 {
        assert_eq!(b.update(400 * segment, 5000 + 0xffff * segment, 1, 160), Outcome::Late);
    }
    assert_eq!(b.end(2000, 5000 + 3 * 0xffff, 1, 400), Outcome::Late);
    // Another key, or the same one at any other time, is a new digit.
    assert_eq!(b.end(2100, 5000 + 3 * 0xffff + 800, 1, 400), Outcome::Ended);
    assert_eq!(b.digits(2100), [('1', 50, Ended::Marked)]);
}

#[test]
fn a_stuck_key_is_reported_after_a_minute_and_then_ignored() {
    let mut b = Bench::new();
    let (mut reported, mut last) = (Vec::new(), Outcome::Began);
    for n in 1..=10_000_u64 {
        let ticks = n * 160;
        let segment = (ticks - 1) / 0xffff * 0xffff;
        last = b.update(n * 20, 5000 + segment, 5, (ticks - segment) as u16);
        reported.extend(b.digits(n * 20));
    }
    assert_eq!(reported, [('5', 60_000, Ended::Overlong)]);
    assert_eq!(last, Outcome::Late);
}

#[test]
fn the_event_clock_is_the_stream_clock() {
    for rate in [8_000_u32, 16_000, 48_000] {
        let mut receiver = Receiver::new(rate);
        let duration = (rate / 1000 * 160) as u16;
        let payload = EventPayload { event: 0, end: true, volume: 10, duration };
        receiver.receive(Time::ZERO, header(0, 1), &payload);
        let digit = receiver.poll(Time::ZERO).unwrap();
        assert_eq!(digit.duration, Duration::from_millis(160), "{rate} Hz");
    }
}

#[test]
fn the_same_timestamp_for_every_digit_still_tells_the_keys_apart() {
    // Not RFC 4733, but such senders exist.
    let mut b = Bench::new();
    for (n, event) in [1, 2, 3, 4].into_iter().enumerate() {
        for repeat in 0..3 {
            b.end(n as u64 * 100 + repeat, 0, event, 1280);
        }
    }
    let keys: String = b.digits(1000).iter().map(|(key, ..)| key).collect();
    assert_eq!(keys, "1234");
}

#[test]
fn a_sender_that_starts_its_timestamps_anew_is_heard() {
    let mut b = Bench::new();
    b.end(0, 4_000_000, 1, 800);
    for (n, older) in [1, 800, 479_999, 480_001, 3_900_000].into_iter().enumerate() {
        let event = 2 + n as u8;
        let ms = 200 * (n as u64 + 1);
        assert_eq!(b.end(ms, 4_000_000 - older, event, 800), Outcome::Ended, "by its number");
        assert_eq!(b.overtaken(2, (ms, 4_000_000 - older), (9, 800, true)), Outcome::Late);
    }
    assert_eq!(b.digits(2000).len(), 6);
}

#[test]
fn digits_that_nobody_polls_are_bounded_and_counted() {
    let mut b = Bench::new();
    for n in 0..1000 {
        b.end(n, n * 100, (n % 16) as u8, 80);
    }
    assert_eq!(b.digits(1000).len(), PENDING);
    assert_eq!(b.0.counts().unpolled, 1000 - PENDING as u64);
}

#[test]
fn no_sequence_of_packets_panics_or_delays_a_report_beyond_its_bound() {
    let mut rng = crate::rng::Rng::new(4733);
    for _ in 0..200 {
        let mut b = Bench::new();
        let (mut ms, mut base) = (0, 1_u64 << 40);
        for _ in 0..500 {
            ms += rng.next_u64() % 60;
            base = match rng.next_u64() % 16 {
                0 => rng.next_u64(),
                1 => base.wrapping_add(0xffff),
                2 => base.wrapping_sub(0xffff),
                3 => base.wrapping_add(rng.next_u64() % 2000),
                _ => base,
            };
            let event = (rng.next_u64() % 18) as u8;
            b.packet(ms, base, event, rng.next_u16(), rng.chance(0.1));
            assert!(b.digits(ms).iter().all(|(_, held, _)| *held <= 60_000));
            assert!(b.0.deadline().is_none_or(|at| at <= Time::ms(ms + 200)));
        }
        b.digits(ms + 200);
        assert_eq!(b.0.deadline(), None, "200 ms after the last packet all is told");
    }
}

#[test]
fn a_key_that_is_held_over_a_change_of_the_clock_is_one_digit() {
    // RFC 4733 §2.1: the events follow the audio's clock. With the timestamp of the old timeline, or one of the new.
    for (from, to) in [(8000, 48_000), (48_000, 8000), (8000, 16_000)] {
        for new_timestamp in [1000, 700_000] {
            let mut receiver = Receiver::new(from);
            let mut digits = Vec::new();
            for frame in 1..=10u64 {
                let (clock, timestamp) =
                    if frame <= 5 { (from, 1000) } else { (to, new_timestamp) };
                receiver.set_clock_rates(clock, clock);
                let duration = (u64::from(clock) / 50 * frame) as u16;
                let payload = EventPayload { event: 7, end: frame == 10, volume: 10, duration };
                receiver.receive(Time::ms(20 * frame), header(frame, timestamp), &payload);
                if frame == 7 {
                    // A packet of before the change comes late.
                    receiver.set_clock_rates(from, from);
                    let duration = (u64::from(from) / 50 * 4) as u16;
                    receiver.receive(
                        Time::ms(141),
                        header(4, 1000),
                        &EventPayload { duration, end: false, ..payload },
                    );
                }
                digits.extend(receiver.poll(Time::ms(20 * frame)));
            }
            digits.extend(receiver.poll(Time::secs(10)));
            let told: Vec<_> = digits.iter().map(|d| (d.digit.as_char(), d.duration)).collect();
            assert_eq!(
                told,
                [('7', Duration::from_millis(200))],
                "{from} to {to}, {new_timestamp}"
            );
        }
    }
}

#[test]
fn the_same_key_again_after_a_change_of_the_clock_is_another_digit() {
    let mut receiver = Receiver::new(8000);
    let packet = |duration, end| EventPayload { event: 1, end, volume: 10, duration };
    // All ends of the first are lost.
    for frame in 1..=5 {
        let update = packet(160 * frame as u16, false);
        receiver.receive(Time::ms(20 * frame), header(frame, 1000), &update);
    }
    receiver.set_clock_rates(48_000, 48_000);
    for frame in 1..=5 {
        receiver.receive(
            Time::ms(180 + 20 * frame),
            header(8 + frame, 90_000),
            &packet(960 * frame as u16, frame == 5),
        );
    }
    let digits: Vec<_> = core::iter::from_fn(|| receiver.poll(Time::ms(300))).collect();
    assert_eq!(digits.len(), 2, "{digits:?}");
}
