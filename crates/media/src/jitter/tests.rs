use super::*;
use crate::seq::{RtpTime, SeqNo};

const FRAME: Duration = Duration::from_millis(20);
const TICKS: u32 = 160;

/// A buffer of 60 ms at 8 kHz, driven in frames of 20 ms: frame `n` is due at `n` · 20 ms.
struct Bench {
    buffer: JitterBuffer,
    frame: u64,
}

impl Bench {
    fn new() -> Bench {
        Bench { buffer: JitterBuffer::new(Duration::from_millis(60), 8000), frame: 0 }
    }

    fn due(&self) -> Time {
        Time::ms(20 * self.frame)
    }

    /// Packet `n` of a source that began at the origin and paused `pause` ms so far, arriving at `at`.
    fn put_after(&mut self, n: u64, pause: u64, at: Time) -> Insert {
        let due = self.due().max(at);
        let timestamp = ExtTime::first(RtpTime(0)).plus(n * 160 + pause * 8);
        let payload = vec![n as u8];
        self.buffer.insert(
            Packet {
                seq: ExtSeq::first(SeqNo(1000)).plus(n),
                timestamp,
                ticks: TICKS,
                codec: 0,
                noise: false,
                arrival: at,
                payload,
            },
            due,
        )
    }

    fn put(&mut self, n: u64, at: Time) -> Insert {
        self.put_after(n, 0, at)
    }

    /// What the next frame plays: a packet's number, or a word.
    fn play(&mut self) -> Result<u8, &'static str> {
        let now = self.due();
        self.frame += 1;
        match self.buffer.pop(now, TICKS, FRAME) {
            Pop::Packet { packet, skip: 0, .. } => Ok(packet.payload[0]),
            Pop::Packet { .. } => Err("part"),
            Pop::Idle => Err("idle"),
            Pop::Lost(_) => Err("lost"),
            Pop::Pause(_) => Err("pause"),
            Pop::Empty(_) => Err("empty"),
        }
    }

    fn play_until(&mut self, time: Time) -> Vec<Result<u8, &'static str>> {
        let mut played = Vec::new();
        while self.due() < time {
            played.push(self.play());
        }
        played
    }
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
fn reordered_packets_play_in_order_and_twice_sent_ones_once() {
    let mut bench = Bench::new();
    for (n, outcome) in [
        (0, Insert::Stored),
        (2, Insert::Stored),
        (1, Insert::Stored),
        (2, Insert::Duplicate),
        (3, Insert::Stored),
    ] {
        assert_eq!(bench.put(n, Time::ms(n)), outcome);
    }
    assert_eq!(bench.play_until(Time::ms(140))[3..], [Ok(0), Ok(1), Ok(2), Ok(3)]);
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
    bench.put_after(3, 200, Time::ms(260));
    let after = bench.play_until(Time::ms(340));
    assert_eq!(after[after.len() - 1], Ok(3), "{after:?}");
    assert!(after[..after.len() - 1].iter().all(|p| *p == Err("empty") || *p == Err("pause")));
}

#[test]
fn digits_between_audio_are_not_lost_audio() {
    let mut bench = Bench::new();
    bench.put(0, Time::ms(0));
    for n in 1..4 {
        bench.buffer.note_silent(ExtSeq::first(SeqNo(1000)).plus(n));
    }
    bench.put(4, Time::ms(20));
    assert_eq!(
        bench.play_until(Time::ms(160))[3..],
        [Ok(0), Err("pause"), Err("pause"), Err("pause"), Ok(4)]
    );
}

#[test]
fn a_stall_of_the_network_loses_nothing_and_its_delay_is_given_back() {
    let mut bench = Bench::new();
    let mut heard = Vec::new();
    let mut given_back = Duration::ZERO;
    for n in 0..400u64 {
        // From 1 s on nothing arrives for 200 ms, then all of it at once.
        let at = if (50..60).contains(&n) { Time::ms(1200) } else { Time::ms(20 * n) };
        heard.extend(bench.play_until(at));
        assert_eq!(bench.put(n, at), Insert::Stored);
        if bench.buffer.excess(FRAME).is_some() {
            // The frame that playout leaves out.
            let now = bench.due();
            bench.buffer.pop(now, TICKS, FRAME);
            bench.buffer.gave_back(FRAME);
            given_back += FRAME;
        }
    }
    let lost = heard.iter().filter(|p| **p == Err("lost")).count();
    assert_eq!(lost, 0);
    assert!(given_back >= Duration::from_millis(200), "{given_back:?}");
    let depth = bench.buffer.depth();
    assert!(depth <= Duration::from_millis(80), "delay did not return: {depth:?}");
}

#[test]
fn a_sender_whose_timestamps_stand_still_in_silence_is_heard_after_it() {
    let mut bench = Bench::new();
    for n in 0..3 {
        bench.put(n, Time::ms(20 * n));
    }
    bench.play_until(Time::ms(2000));
    for n in 3..6 {
        assert_eq!(bench.put(n, Time::ms(2000 + 20 * (n - 3))), Insert::Stored);
    }
    let heard = bench.play_until(Time::ms(2200));
    assert_eq!(heard.iter().filter_map(|p| p.ok()).collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn a_new_timeline_plays_after_what_waits_and_with_its_own_delay() {
    let mut bench = Bench::new();
    for n in 0..4 {
        bench.put(n, Time::ms(20 * n));
    }
    bench.buffer.new_timeline();
    let far = Packet {
        seq: ExtSeq::first(SeqNo(7)),
        timestamp: ExtTime::first(RtpTime(99)),
        ticks: TICKS,
        codec: 0,
        noise: false,
        arrival: Time::ms(80),
        payload: vec![77],
    };
    bench.buffer.insert(far, Time::ms(80));
    let heard = bench.play_until(Time::ms(180));
    assert_eq!(heard[3..], [Ok(0), Ok(1), Ok(2), Ok(3), Ok(77), Err("empty")]);
}

#[test]
fn a_full_buffer_jumps_to_the_newest_audio() {
    let mut bench = Bench::new();
    for n in 0..MAX_PACKETS as u64 {
        assert_eq!(bench.put(n, Time::ms(1)), Insert::Stored);
    }
    let Insert::Overflow(dropped) = bench.put(MAX_PACKETS as u64, Time::ms(1)) else {
        panic!("one past the bound");
    };
    assert_eq!(dropped, MAX_PACKETS + 1 - 3);
    assert_eq!(bench.play_until(Time::ms(81)).last(), Some(&Ok((MAX_PACKETS - 1) as u8)));
}

/// The second packet, with its timestamp `early` ticks before the end of the first.
fn overlapping(early: u64, arrival: Time) -> Packet {
    let timestamp = ExtTime::first(RtpTime(TICKS)).back(early);
    let seq = ExtSeq::first(SeqNo(1001));
    let (ticks, codec, noise, payload) = (TICKS, 0, false, vec![1]);
    Packet { seq, timestamp, ticks, codec, noise, arrival, payload }
}

#[test]
fn a_packet_whose_beginning_was_filled_is_played_in_part() {
    let mut bench = Bench::new();
    bench.put(0, Time::ms(0));
    bench.play_until(Time::ms(80));
    assert_eq!(bench.buffer.pop(Time::ms(80), 80, FRAME), Pop::Empty(80));
    bench.buffer.insert(overlapping(0, Time::ms(85)), Time::ms(100));
    let late = bench.buffer.pop(Time::ms(100), TICKS, FRAME);
    assert!(matches!(late, Pop::Packet { skip: 80, .. }), "{late:?}");
}

#[test]
fn a_packet_that_its_sender_lets_overlap_the_one_before_is_played_whole() {
    for early in [1, 52, u64::from(TICKS) - 1] {
        let mut bench = Bench::new();
        bench.put(0, Time::ms(0));
        bench.buffer.insert(overlapping(early, Time::ms(20)), Time::ms(60));
        for payload in [0, 1] {
            let Pop::Packet { packet, skip, .. } =
                bench.buffer.pop(Time::ms(60 + 20 * payload), TICKS, FRAME)
            else {
                panic!("packet {payload} is there");
            };
            assert_eq!((u64::from(packet.payload[0]), skip), (payload, 0));
        }
        // What follows on its own clock is in time.
        let second = overlapping(early, Time::ms(40));
        let third = Packet { seq: second.seq.plus(1), payload: vec![2], ..second };
        let timestamp = third.end();
        bench.buffer.insert(Packet { timestamp, ..third }, Time::ms(100));
        let third = bench.buffer.pop(Time::ms(100), TICKS, FRAME);
        assert!(matches!(third, Pop::Packet { skip: 0, missing: 0, .. }), "{third:?}");
    }
}
