//! Sender, bad link, receiver: what was pressed is what arrives, on virtual time and from a seed.

use roomkit_netsim::{Jitter, Link, LinkConfig, Loss, Reorder};

use super::{
    Digit, Ended, EventHeader, EventPacket, EventPayload, ReceivedDigit, Receiver, Sender,
};
use crate::seq::{ExtSeq, RtpTime, SeqNo, TimeUnwrapper};
use crate::time::{Duration, Time};

const PTIME: Duration = Duration::from_millis(20);

/// Presses `keys` for `held` each, as fast as the sender allows, and returns what comes out at the other end.
fn press(
    keys: &str,
    held: Duration,
    rate: u32,
    config: LinkConfig,
    seed: u64,
) -> Vec<ReceivedDigit> {
    let mut sender = Sender::new(rate);
    for key in keys.chars() {
        sender.push(Digit::parse(key).unwrap(), held).unwrap();
    }
    let mut seq = ExtSeq::first(SeqNo(65_530));
    let mut link: Link<(ExtSeq, EventPacket)> = Link::new(config, seed);
    let (mut receiver, mut unwrapper) = (Receiver::new(rate), TimeUnwrapper::default());
    let mut digits = Vec::new();
    // Starts a second before the timestamp wraps, so that every run of digits crosses it.
    let (mut timestamp, frame) = (RtpTime(0).back(rate), rate / 50);
    let (mut tick, mut idle) = (Duration::ZERO, 0);
    while idle < 50 {
        if let Some(packet) = sender.next(timestamp, frame) {
            link.send(tick, (seq, packet));
            seq = seq.plus(1);
        }
        idle = if sender.is_active() || sender.queued() > 0 { 0 } else { idle + 1 };
        timestamp = timestamp.plus(frame);
        tick += PTIME;
        loop {
            let deadline = receiver.deadline().map(|at| Duration::from_nanos(at.as_ns()));
            let next = link.next_arrival().into_iter().chain(deadline).min();
            let Some(at) = next.filter(|&at| at < tick) else { break };
            let now = Time::ZERO + at;
            while let Some((_, (seq, packet))) = link.receive(at) {
                let payload = EventPayload::parse(&packet.payload).unwrap();
                let timestamp = unwrapper.unwrap(packet.timestamp);
                let header = EventHeader { seq, timestamp, marker: packet.marker };
                receiver.receive(now, header, &payload);
            }
            digits.extend(core::iter::from_fn(|| receiver.poll(now)));
        }
    }
    assert_eq!((link.next_arrival(), receiver.deadline()), (None, None), "all is told in a second");
    digits
}

fn keys(digits: &[ReceivedDigit]) -> String {
    digits.iter().map(|received| received.digit.as_char()).collect()
}

/// Everything at once. Reordering holds packets up for most of a gap between digits, jitter for more now and then.
fn bad_link(loss: Loss) -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(40),
        jitter: Jitter::Exponential(Duration::from_millis(10)),
        loss,
        reorder: Some(Reorder { probability: 0.15, extra: Duration::from_millis(120) }),
        duplicate: 0.1,
        ..LinkConfig::default()
    }
}

/// Asserts that `pressed` arrives exactly, in `runs` seeded runs; the share of digits whose end was seen.
fn assert_exact(pressed: &str, held: Duration, rate: u32, loss: f64, runs: u64) -> f64 {
    let mut marked = 0;
    for seed in 0..runs {
        let digits = press(pressed, held, rate, bad_link(Loss::Random(loss)), seed);
        assert_eq!(keys(&digits), pressed, "seed {seed}, loss {loss}");
        for digit in &digits {
            match digit.ended {
                Ended::Marked => {
                    assert_eq!(digit.duration, held, "seed {seed}: {digit:?}");
                    marked += 1;
                }
                _ => assert!(digit.duration <= held, "seed {seed}: {digit:?}"),
            }
        }
    }
    f64::from(marked) / (runs as f64 * pressed.len() as f64)
}

const HELD: Duration = Duration::from_millis(160);

#[test]
fn digits_1234_are_exact_in_1000_runs_at_20_percent_loss_with_reordering_and_duplicates() {
    let marked = assert_exact("1234", HELD, 8000, 0.2, 1000);
    // All three ends are lost in 0.8 % of the digits, and in some more the next digit overtakes the last of them.
    assert!(marked > 0.97, "{marked}");
}

#[test]
fn the_same_key_twice_with_the_shortest_gap_is_exact_in_1000_runs_at_20_percent_loss() {
    assert_exact("11", HELD, 8000, 0.2, 1000);
}

#[test]
fn all_16_digits_are_exact_in_1000_runs_at_20_percent_loss() {
    assert_exact("0123456789*#ABCD", HELD, 8000, 0.2, 1000);
}

#[test]
fn a_digit_of_ten_seconds_in_two_segments_is_exact_in_1000_runs_at_20_percent_loss() {
    let marked = assert_exact("5", Duration::from_secs(10), 8000, 0.2, 1000);
    assert!(marked > 0.985, "{marked}");
}

#[test]
fn long_digits_of_the_same_key_in_many_segments_are_exact_at_48_khz() {
    assert_exact("##", Duration::from_secs(6), 48_000, 0.2, 100);
}

#[test]
fn digits_are_exact_at_every_loss_up_to_20_percent_and_every_event_clock() {
    for rate in [8_000, 16_000, 48_000] {
        for percent in [0, 1, 5, 10, 15] {
            assert_exact("1123*#", HELD, rate, f64::from(percent) / 100.0, 100);
        }
    }
}

#[test]
fn without_loss_the_shortest_digits_and_their_durations_are_exact_however_reordered() {
    // Overtaken ends aside, which are late: the duration is then what the updates told.
    assert!(assert_exact("0011223344", Duration::from_millis(40), 8000, 0.0, 300) > 0.9);
}

#[test]
fn when_whole_digits_are_lost_in_bursts_nothing_is_invented_doubled_or_swapped() {
    let mut whole = 0;
    for seed in 0..1000 {
        let pressed = "1212334#";
        let digits = press(pressed, HELD, 8000, bad_link(Loss::bursts(0.4, 8.0)), seed);
        let mut rest = pressed.chars();
        for key in keys(&digits).chars() {
            assert!(rest.any(|pressed| pressed == key), "seed {seed}: {:?}", keys(&digits));
        }
        whole += u32::from(digits.len() == pressed.len());
    }
    assert!((1..1000).contains(&whole), "the link is bad, but not dead: {whole}");
}

#[test]
fn one_seed_gives_the_same_digits_to_the_last_field() {
    let once = || press("12#", HELD, 8000, bad_link(Loss::Random(0.2)), 77);
    assert_eq!(once(), once());
}
