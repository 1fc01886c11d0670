use super::*;
use crate::seq::{RtpTime, SeqNo};

const MS: fn(u64) -> Duration = Duration::from_millis;
const FRAME: Duration = Duration::from_millis(20);
const RATE: u32 = 8000;
/// Room for what is before the first timestamp.
const ORIGIN: u64 = 1 << 35;

/// A buffer of 60 ms at 8 kHz, driven in frames of 20 ms: frame `n` is due at `n` · 20 ms.
struct Bench {
    buffer: JitterBuffer,
    frame: u64,
    skipped: u64,
}

impl Bench {
    fn new() -> Bench {
        Bench { buffer: JitterBuffer::new(MS(60)), frame: 0, skipped: 0 }
    }

    fn due(&self) -> Time {
        Time::ms(20 * self.frame)
    }

    /// Packet `n` of a source that counts from `n`, arriving at `at`, its timestamp `off` ticks from where it belongs.
    fn put_off(&mut self, n: u64, off: i64, at: Time) -> Insert {
        let timestamp = (n * 160 + ORIGIN).saturating_add_signed(off);
        self.buffer.insert(packet(1000 + n, timestamp, at, n as u8))
    }

    fn put(&mut self, n: u64, at: Time) -> Insert {
        self.put_off(n, 0, at)
    }

    /// What the next frame plays: a packet's number, or a word.
    fn play(&mut self) -> Result<u8, &'static str> {
        let now = self.due();
        self.frame += 1;
        self.pop(now)
    }

    fn pop(&mut self, now: Time) -> Result<u8, &'static str> {
        match self.buffer.pop(now, FRAME, FRAME) {
            Pop::Packet { packet, .. } => Ok(packet.payload[0]),
            Pop::Idle => Err("idle"),
            Pop::Lost(_) => Err("lost"),
            Pop::Pause(_) => Err("pause"),
            Pop::Empty(_) => Err("empty"),
            Pop::Skipped(count) => {
                self.skipped += count as u64;
                self.pop(now)
            }
        }
    }

    fn play_until(&mut self, time: Time) -> Vec<Result<u8, &'static str>> {
        let mut played = Vec::new();
        while self.due() < time {
            played.push(self.play());
        }
        played
    }

    /// Packets `from` to `to`, one in each frame, `off` ticks from where they belong and `late` ms late; what was played.
    fn run(&mut self, from: u64, to: u64, off: i64, late: u64) -> Vec<Result<u8, &'static str>> {
        let mut played = Vec::new();
        for n in from..to {
            let at = Time::ms(20 * n + late);
            played.extend(self.play_until(at));
            self.put_off(n, off, at);
        }
        played
    }
}

fn seq(n: u64) -> ExtSeq {
    ExtSeq::first(SeqNo(0)).plus(n)
}

fn packet(number: u64, timestamp: u64, arrival: Time, mark: u8) -> Packet {
    let (seq, payload) = (seq(number), vec![mark]);
    let timestamp = ExtTime::first(RtpTime(0)).plus(timestamp);
    Packet {
        seq,
        timestamp,
        clock_rate: RATE,
        span: FRAME,
        codec: 0,
        noise: false,
        arrival,
        payload,
    }
}

/// The numbers played, and what else there was between the first and the last of them.
fn heard(played: &[Result<u8, &'static str>]) -> (Vec<u8>, Vec<&'static str>) {
    let first = played.iter().position(|p| p.is_ok()).unwrap_or(0);
    let last = played.iter().rposition(|p| p.is_ok()).unwrap_or(0);
    let between = played[first..=last].iter().filter_map(|p| p.err()).collect();
    (played.iter().filter_map(|p| p.ok()).collect(), between)
}

#[test]
fn the_first_packet_waits_for_the_target_delay_and_the_rest_follow_in_order() {
    let mut bench = Bench::new();
    for n in 0..4 {
        bench.put(n, Time::ms(20 * n));
    }
    assert_eq!(
        bench.play_until(Time::ms(160)),
        [Err("idle"), Err("idle"), Err("idle"), Ok(0), Ok(1), Ok(2), Ok(3), Err("empty")]
    );
}

#[test]
fn what_comes_all_at_once_begins_at_once() {
    let mut bench = Bench::new();
    bench.play_until(Time::ms(200));
    for n in 0..4 {
        bench.put(n, Time::ms(200));
    }
    assert_eq!(bench.play_until(Time::ms(280)), [Ok(0), Ok(1), Ok(2), Ok(3)]);
}

#[test]
fn reordered_packets_play_in_order_and_twice_sent_ones_once() {
    let mut bench = Bench::new();
    for (n, at, outcome) in [
        (0, 0, Insert::Stored),
        (2, 20, Insert::Stored),
        (1, 21, Insert::Stored),
        (2, 22, Insert::Duplicate),
        (3, 60, Insert::Stored),
    ] {
        assert_eq!(bench.put(n, Time::ms(at)), outcome);
    }
    assert_eq!(heard(&bench.play_until(Time::ms(140))).0, [0, 1, 2, 3]);
    assert_eq!(bench.put(3, Time::ms(141)), Insert::Duplicate, "played already");
}

#[test]
fn one_lost_packet_costs_its_own_frame_and_no_delay() {
    let mut bench = Bench::new();
    for n in [0, 1, 3, 4] {
        bench.put(n, Time::ms(20 * n));
    }
    assert_eq!(bench.play_until(Time::ms(160))[3..], [Ok(0), Ok(1), Err("lost"), Ok(3), Ok(4)]);
    assert_eq!(bench.put(2, Time::ms(161)), Insert::Late);
}

#[test]
fn a_pause_is_a_pause_and_the_speech_before_it_is_not_held_back() {
    let mut bench = Bench::new();
    for n in 0..3 {
        bench.put(n, Time::ms(20 * n));
    }
    let before = bench.play_until(Time::ms(240));
    assert_eq!(before[3..6], [Ok(0), Ok(1), Ok(2)]);
    // 200 ms of silence later, with no number missing.
    bench.put_off(3, 200 * 8, Time::ms(260));
    let after = bench.play_until(Time::ms(340));
    assert_eq!(after[after.len() - 1], Ok(3), "{after:?}");
    assert!(after[..after.len() - 1].iter().all(|p| *p == Err("empty") || *p == Err("pause")));
}

#[test]
fn digits_between_audio_are_not_lost_audio() {
    let mut bench = Bench::new();
    bench.put(0, Time::ms(0));
    for n in 1..4 {
        bench.buffer.note_silent(seq(1000 + n));
    }
    bench.play_until(Time::ms(80));
    bench.put(4, Time::ms(80));
    assert_eq!(bench.play_until(Time::ms(160)), [Err("pause"), Err("pause"), Err("pause"), Ok(4)]);
}

#[test]
fn no_step_of_the_senders_clock_opens_a_hole_or_loses_a_packet() {
    // In ms, and with so many packets lost right at it.
    for step in
        [-1_000_000i64, -5000, -500, -300, -100, -80, -7, -1, 1, 7, 40, 700, 5000, 1_000_000]
    {
        for lost in [0u64, 1, 2] {
            let mut bench = Bench::new();
            let mut played = bench.run(0, 50, 0, 0);
            played.extend(bench.run(50 + lost, 150, step * 8, 0));
            let (heard, between) = heard(&played);
            let whole = (0..50).chain(50 + lost as u8..=heard[heard.len() - 1]);
            assert!(
                heard.len() > 140 && heard.iter().copied().eq(whole),
                "{step} ms, {lost} lost: {played:?}"
            );
            assert!(between.len() as u64 <= lost + 1, "{step} ms, {lost} lost: {between:?}");
        }
    }
}

#[test]
fn a_longer_way_costs_its_delay_once_whatever_is_lost_at_it() {
    for late in [15, 40, 60, 65, 70, 80, 150, 400, 900] {
        for lost in [0u64, 1, 3] {
            let mut bench = Bench::new();
            let mut played = bench.run(0, 50, 0, 0);
            played.extend(bench.run(50 + lost, 200, 0, late));
            let (heard, between) = heard(&played);
            let last = *heard.last().unwrap();
            let whole = (0..50).chain(50 + lost as u8..=last);
            assert!(heard.into_iter().eq(whole), "{late} ms, {lost} lost: {played:?}");
            assert!(between.len() as u64 * 20 <= late + 20 * lost + 80, "{late} ms: {between:?}");
        }
    }
}

#[test]
fn numbers_that_go_back_are_found_to_be_new_ones() {
    for back in [1u64, 2, 3, 10, 50, 99] {
        // Whether the timestamps go on or go back as well.
        for with_time in [false, true] {
            let mut bench = Bench::new();
            let mut played = bench.run(0, 100, 0, 0);
            for n in 100..150u64 {
                let at = Time::ms(20 * n);
                played.extend(bench.play_until(at));
                let timestamp = ORIGIN + (n - if with_time { back } else { 0 }) * 160;
                bench.buffer.insert(packet(1000 + n - back, timestamp, at, n as u8));
            }
            let (heard, _) = heard(&played);
            let first = *heard.iter().find(|&&n| n >= 100).expect("heard again");
            assert!(first <= 106, "{back} {with_time}: {first}");
            let rest = heard.iter().copied().filter(|&n| n >= first);
            assert!(rest.eq(first..=heard[heard.len() - 1]), "{back} {with_time}: {heard:?}");
        }
    }
}

#[test]
fn copies_and_stragglers_are_no_new_numbers() {
    let mut bench = Bench::new();
    bench.run(0, 100, 0, 0);
    // A second copy of the last packets, all at once; and each packet twice from here on.
    for n in 80..100 {
        assert_eq!(bench.put(n, Time::ms(1990)), Insert::Duplicate);
    }
    let mut played = vec![];
    for n in 100..150 {
        let at = Time::ms(20 * n);
        played.extend(bench.play_until(at));
        assert_eq!(bench.put(n, at), Insert::Stored);
        assert_eq!(bench.put(n - 3, at), Insert::Duplicate);
    }
    assert!(heard(&played).1.is_empty(), "{played:?}");
}

#[test]
fn a_stall_of_the_network_loses_nothing_that_fits_and_its_delay_can_be_given_back() {
    for stall in [200u64, 400, 1200, 5000] {
        let mut bench = Bench::new();
        let (mut heard, mut left_out) = (vec![], 0);
        for n in 0..500u64 {
            // From 1 s on nothing arrives for so long, then all of it at once.
            let until = 50 + stall / 20;
            let at = if n < until {
                Time::ms(20 * n).max(Time::ms(1000 + stall))
            } else {
                Time::ms(20 * n)
            };
            let at = if n < 50 { Time::ms(20 * n) } else { at };
            heard.extend(bench.play_until(at));
            match bench.buffer.insert(packet(1000 + n, ORIGIN + n * 160, at, 0)) {
                Insert::Stored => {}
                Insert::Overflow(dropped) => bench.skipped += dropped as u64,
                other => panic!("{other:?}"),
            }
            if let Plan::Shorten(_) = bench.buffer.plan(FRAME, FRAME) {
                let now = bench.due();
                bench.pop(now).ok();
                bench.buffer.shortened(FRAME);
                left_out += 20;
            }
        }
        assert!(!heard.contains(&Err("lost")), "{stall}");
        let beyond = stall.saturating_sub(600) / 20;
        assert!(bench.skipped.abs_diff(beyond) <= 5, "{stall}: {} of {beyond}", bench.skipped);
        assert!(left_out >= stall.min(500) - 80, "{stall}: {left_out}");
        assert!(bench.buffer.depth() <= MS(80), "{stall}: {:?}", bench.buffer.depth());
    }
}

#[test]
fn a_sender_whose_timestamps_stand_still_in_silence_is_heard_after_it() {
    for lost in [0, 1] {
        let mut bench = Bench::new();
        bench.run(0, 3, 0, 0);
        bench.play_until(Time::ms(2000));
        for n in 3 + lost..8 {
            assert_eq!(bench.put(n, Time::ms(2000 + 20 * (n - 3))), Insert::Stored);
        }
        let played = bench.play_until(Time::ms(2200));
        assert!(heard(&played).0.into_iter().eq(3 + lost as u8..8), "{played:?}");
        assert_eq!(played.iter().take_while(|p| p.is_err()).count() as u64, 3 + lost, "its delay");
    }
}

#[test]
fn timestamps_that_count_at_another_rate_or_not_at_all_make_no_holes() {
    for step in [0u64, 27, 80, 320, 960] {
        let mut bench = Bench::new();
        let mut played = vec![];
        for n in 0..100u64 {
            // 0 to 18 ms late, so that it is not the arrival alone that closes the holes.
            let at = Time::ms(20 * n + n * 7 % 19);
            played.extend(bench.play_until(at));
            bench.buffer.insert(packet(1000 + n, ORIGIN + n * step, at, n as u8));
        }
        let (heard, between) = heard(&played);
        let whole = 0..heard.len() as u8;
        assert!(whole.len() >= 95 && heard.into_iter().eq(whole), "{step}: {played:?}");
        assert!(between.len() <= 4, "{step}: {between:?}");
    }
}

#[test]
fn a_new_timeline_plays_after_what_waits_and_with_its_own_delay() {
    let mut bench = Bench::new();
    for n in 0..4 {
        bench.put(n, Time::ms(20 * n));
    }
    bench.buffer.new_timeline();
    bench.buffer.insert(packet(7, 99, Time::ms(80), 77));
    let heard = bench.play_until(Time::ms(180));
    assert_eq!(heard[3..], [Ok(0), Ok(1), Ok(2), Ok(3), Ok(77), Err("empty")]);
}

#[test]
fn packets_time_and_octets_are_bounded_each_at_its_edge_and_one_past_it() {
    let put = |buffer: &mut JitterBuffer, n: u64, span: Duration, octets: usize| {
        let base = packet(n + 1, n * 80, Time::ms(1), 0);
        buffer.insert(Packet { span, payload: vec![0; octets], ..base })
    };
    for (span, octets, fit) in
        [(MS(1), 1, MAX_PACKETS as u64), (MS(100), 1, 20), (MS(1), 64 * 1024, 8)]
    {
        let mut buffer = JitterBuffer::new(MS(60));
        for n in 0..fit {
            assert_eq!(put(&mut buffer, n, span, octets), Insert::Stored);
        }
        assert_eq!(put(&mut buffer, fit, span, octets), Insert::Overflow(1));
    }
    let mut buffer = JitterBuffer::new(MS(60));
    assert_eq!(put(&mut buffer, 0, MAX_SPAN + MS(1), 1), Insert::Overflow(1));
    assert_eq!(put(&mut buffer, 0, MS(1), MAX_OCTETS + 1), Insert::Overflow(1));
    assert!(buffer.depth().is_zero());
}

#[test]
fn a_packet_whose_beginning_was_filled_is_played_whole() {
    let mut bench = Bench::new();
    bench.put(0, Time::ms(0));
    bench.play_until(Time::ms(80));
    assert_eq!(bench.buffer.pop(Time::ms(80), MS(10), FRAME), Pop::Empty(MS(10)));
    bench.put(1, Time::ms(85));
    let late = bench.buffer.pop(Time::ms(90), FRAME, FRAME);
    assert!(matches!(late, Pop::Packet { delayed: true, missing: 0, .. }), "{late:?}");
}

#[test]
fn a_packet_that_its_sender_lets_overlap_the_one_before_is_played_whole_and_in_time() {
    for early in [1, 52, 159] {
        let mut bench = Bench::new();
        bench.put(0, Time::ms(0));
        bench.put_off(1, -early, Time::ms(20));
        bench.put_off(2, -early, Time::ms(40));
        for n in 0..3 {
            let now = Time::ms(60 + 20 * n);
            let pop = bench.buffer.pop(now, FRAME, FRAME);
            let Pop::Packet { packet, delayed: false, .. } = pop else {
                panic!("packet {n} is there: {pop:?}");
            };
            assert_eq!(u64::from(packet.payload[0]), n);
        }
    }
}
