//! What the two ends know of how well they hear each other: extended reports, bursts of loss, ratings.

mod common;

use common::{good, voice, Call};
use roomkit_media::bursts::Bursts;
use roomkit_media::emodel::{mos, rating, Conditions, Impairment};
use roomkit_media::rtcp::xr::{VoipMetrics, XrBlock, NO_LEVEL, UNAVAILABLE};
use roomkit_media::rtcp::{parse_compound, RtcpPacket};
use roomkit_media::rtp::{RtpHeader, RtpPacket};
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{Port, SessionConfig};
use roomkit_media::stats::Stats;
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::{LinkConfig, Loss};
use std::net::SocketAddr;

const MINUTE: Time = Time::secs(60);

fn often(config: &mut SessionConfig) {
    config.rtcp_interval = Duration::from_millis(500);
}

/// A minute in which A speaks over a link with this loss, and B now and then.
fn minute(loss: Loss, seed: u64) -> Call {
    let mut call = Call::new(LinkConfig { loss, ..good() }, seed, often);
    call.a.play(1, voice(59 * 8000, 8000), 8000);
    call.b.play(1, voice(8000, 8000), 8000);
    call.run(MINUTE);
    call
}

/// The VoIP metrics that an end sent.
fn metrics(sent: &[(Time, Vec<u8>)]) -> Vec<VoipMetrics> {
    let mut found = Vec::new();
    for (_, bytes) in sent {
        for packet in parse_compound(bytes).unwrap() {
            let RtcpPacket::Extended { blocks, .. } = packet else { continue };
            found.extend(blocks.filter_map(|block| match block {
                XrBlock::Voip(metrics) => Some(metrics),
                _ => None,
            }));
        }
    }
    found
}

#[test]
fn rfc3611_4_7_2_the_pattern_of_loss_is_that_of_the_packets_that_did_not_arrive() {
    for seed in 0..10 {
        let call = minute(Loss::bursts(0.06, 4.0), seed);
        // What B was sent and did not get, told by A's own record and by what reached B's counters.
        let stats = call.b.session.stats();
        assert!(stats.packets_lost > 20, "seed {seed}: {}", stats.packets_lost);
        let (expected, lost) = (stats.packets_expected, stats.packets_lost);
        let metrics = *metrics(&call.b.rtcp()).last().unwrap();
        let rate = (lost as f64 / expected as f64 * 256.0).floor();
        assert!((f64::from(metrics.loss_rate) - rate).abs() <= 2.0, "seed {seed}: {metrics:?}");
        assert_eq!((metrics.discard_rate, metrics.gmin), (0, 16));
        assert!(stats.burst_ratio > 2.0, "seed {seed}: {}", stats.burst_ratio);
        assert!(stats.burst_density > 0.2 && stats.gap_density < 0.02, "seed {seed}");
        let total = call.b.frames.len() as f32 * 20.0;
        assert!(stats.burst_duration.as_millis() as f32 <= total);

        // The far end hears of it.
        let told = call.a.session.stats();
        let density = told.remote_burst_density.unwrap();
        assert!((density - stats.burst_density).abs() < 0.15, "seed {seed}: {density}");
        assert!(told.remote_signal_dbm0.is_some());
    }
}

#[test]
fn rfc3611_4_7_2_a_dropped_stretch_of_a_known_stream_is_the_burst_that_was_cut_out() {
    let mut call = Call::new(good(), 3, often);
    call.a.play(1, voice(20 * 8000, 8000), 8000);
    let mut reference = Bursts::default();
    let cut = |n: usize| (200..206).contains(&n) || n == 212 || n == 500;
    // A's packets reach B by hand, less those that are cut out.
    let (mut n, mut fed) = (0, 0);
    while call.now < Time::secs(15) {
        let due = call.a.session.deadline().min(call.b.session.deadline());
        call.now = due;
        call.a.session.handle_deadline(due);
        call.drain();
        while let Some((at, datagram)) = call.a.sent.get(fed).cloned() {
            fed += 1;
            if datagram.port == Port::Rtp && RtpPacket::parse(&datagram.bytes).is_ok() {
                if cut(n) {
                    reference.lost(1);
                } else {
                    reference.arrived();
                    call.b.session.receive(at, datagram.from, Port::Rtp, &datagram.bytes);
                }
                n += 1;
            }
        }
        call.b.session.handle_deadline(due);
        while call.b.session.poll().is_some() {}
    }
    let (stats, pattern) = (call.b.session.stats(), reference.pattern());
    assert_eq!(stats.packets_lost, 8);
    assert_eq!(stats.burst_density, pattern.burst_density as f32);
    assert_eq!(stats.burst_duration, Duration::from_millis(20 * 13));
    assert_eq!(pattern.burst_packets, 13.0);
    assert!((stats.gap_density - pattern.gap_density as f32).abs() < 1e-4);
}

#[test]
fn rfc3611_4_7_1_duplicates_take_nothing_from_the_loss_that_is_reported() {
    let link = LinkConfig { loss: Loss::Random(0.1), duplicate: 1.0, ..good() };
    let mut call = Call::new(link, 21, often);
    call.a.play(1, voice(59 * 8000, 8000), 8000);
    call.run(Time::secs(50));
    let counts = call.a_to_b.counts();
    let rate = counts.lost as f64 / counts.sent as f64;
    let metrics = *metrics(&call.b.rtcp()).last().unwrap();
    // The reports of A are among what the link counted, and the last half second is not in the report.
    assert!((f64::from(metrics.loss_rate) / 256.0 - rate).abs() < 0.01, "{rate}: {metrics:?}");
    assert!(call.b.session.stats().packets_lost < 0, "they make the other count negative");
    assert_eq!(metrics.discard_rate, 0, "a duplicate is no discarded packet");
}

#[test]
fn rfc3611_4_7_1_what_came_late_before_a_restart_is_not_charged_to_what_came_after_it() {
    let mut call = Call::new(good(), 22, often);
    call.b.play(1, voice(8000, 8000), 8000);
    let far = call.a.addr;
    let mut header = RtpHeader {
        marker: false,
        payload_type: 0,
        seq: SeqNo(100),
        timestamp: RtpTime(0),
        ssrc: Ssrc(77),
    };
    let mut speak = |call: &mut Call, packets: u16, late: bool| {
        for n in 0..packets {
            // Once it has proved itself, every other one comes 200 ms after its turn.
            let back = if late && n > 40 && n % 2 == 1 { 10 } else { 0 };
            let seq = header.seq.plus(n.wrapping_sub(back));
            let timestamp = header
                .timestamp
                .plus(160 * u32::from(n))
                .plus(0u32.wrapping_sub(160 * u32::from(back)));
            let mut bytes = Vec::new();
            RtpHeader { seq, timestamp, ..header }.write(&mut bytes);
            bytes.resize(bytes.len() + 160, 0xff);
            call.b.session.receive(call.now, far, Port::Rtp, &bytes);
            let next = call.now + Duration::from_millis(20);
            call.run(next);
        }
        header.seq = header.seq.plus(20_000);
        header.timestamp = header.timestamp.plus(1_000_000);
    };
    speak(&mut call, 200, true);
    let before = *metrics(&call.b.rtcp()).last().unwrap();
    assert!(before.discard_rate > 64, "{before:?}");
    speak(&mut call, 200, false);
    let after = *metrics(&call.b.rtcp()).last().unwrap();
    assert_eq!((after.discard_rate, after.loss_rate), (0, 0), "{after:?}");
}

/// The call at `end` in A's speech, each packet of which reaches B so late as `late` says of it, or never.
fn after(end: Time, late: impl Fn(usize) -> Option<Duration>) -> (Call, VoipMetrics) {
    let mut call = Call::new(good(), 3, often);
    call.a.play(1, voice(20 * 8000, 8000), 8000);
    let (mut n, mut fed) = (0, 0);
    let mut way: Vec<(Time, SocketAddr, Vec<u8>)> = Vec::new();
    while call.now < end {
        let due = call.a.session.deadline().min(call.b.session.deadline());
        call.now = due;
        call.a.session.handle_deadline(due);
        call.drain();
        while let Some((at, datagram)) = call.a.sent.get(fed).cloned() {
            fed += 1;
            if datagram.port == Port::Rtp {
                way.extend(late(n).map(|late| (at + late, datagram.from, datagram.bytes)));
                n += 1;
            }
        }
        way.sort_by_key(|(arrival, ..)| *arrival);
        while way.first().is_some_and(|(arrival, ..)| *arrival <= due) {
            let (arrival, from, bytes) = way.remove(0);
            call.b.session.receive(arrival, from, Port::Rtp, &bytes);
        }
        call.b.session.handle_deadline(due);
        call.drain();
    }
    let metrics = *metrics(&call.b.rtcp()).last().unwrap();
    (call, metrics)
}

#[test]
fn rfc3611_4_7_1_what_comes_too_late_is_discarded_and_to_who_listens_it_is_lost() {
    let on_time = Duration::from_millis(1);
    let end = Time::secs(19);
    // Before the next two are played, and long after.
    for (late_ms, in_a_row) in [(90, 1), (200, 5), (700, 5)] {
        let gone = |n: usize| n > 50 && (n % 10 == 0 || (400..400 + in_a_row).contains(&n));
        let late = Duration::from_millis(late_ms);
        let (came_late, told) = after(end, |n| Some(if gone(n) { late } else { on_time }));
        let (never_came, of_lost) = after(end, |n| (!gone(n)).then_some(on_time));
        let (heard, without) = (came_late.b.session.stats(), never_came.b.session.stats());
        let frames = |call: &Call| call.b.frames.iter().map(|f| f.kind).collect::<Vec<_>>();
        assert!(frames(&came_late) == frames(&never_came), "{late_ms}");
        assert!(heard.discarded > 80 && without.packets_lost > 80, "{heard:?}");
        // To the network nothing was lost of it, but for what is still on its way.
        assert!(heard.packets_lost <= 5, "{late_ms}: {}", heard.packets_lost);
        assert_eq!((told.loss_rate, of_lost.discard_rate), (0, 0));
        assert!(told.discard_rate.abs_diff(of_lost.loss_rate) <= 2, "{told:?} {of_lost:?}");
        let pattern = |s: &Stats| (s.burst_density, s.gap_density, s.burst_duration, s.burst_ratio);
        assert_eq!(pattern(&heard), pattern(&without), "{late_ms}");
        assert_eq!(heard.mos_listening, without.mos_listening);
        assert!(heard.mos.unwrap() < 3.7, "{:?}", heard.mos);
        assert_eq!(told.burst_density, of_lost.burst_density);
    }
}

#[test]
fn rfc3611_4_7_1_what_finds_no_room_is_discarded_and_to_who_listens_it_is_lost() {
    // Of five seconds nothing comes, and then all of it at once: more than anybody wants to hear.
    let late = |n: usize| {
        let waits = if (250..500).contains(&n) { 20 * (500 - n as u64) } else { 1 };
        Some(Duration::from_millis(waits))
    };
    let (call, told) = after(Time::secs(19), late);
    let stats = call.b.session.stats();
    assert!((150..=250).contains(&stats.discarded), "{stats:?}");
    assert_eq!((stats.packets_lost, told.loss_rate), (0, 0));
    let share = stats.discarded as f64 / stats.packets_expected as f64 * 256.0;
    assert!((f64::from(told.discard_rate) - share).abs() <= 4.0, "{told:?} {share}");
    let burst = Duration::from_millis(20) * stats.discarded as u32;
    assert!(stats.burst_duration.abs_diff(burst) <= Duration::from_millis(200), "{stats:?}");
    assert!(stats.mos_listening.unwrap() < 3.5, "{stats:?}");
}

#[test]
fn the_delay_that_is_told_is_the_present_one() {
    // From 10 s on nothing comes for 300 ms, then all of it at once.
    let late = |n: usize| {
        let waits = if (500..515).contains(&n) { 20 * (515 - n as u64) } else { 1 };
        Some(Duration::from_millis(waits))
    };
    let usual = 50..=80;
    let (call, told) = after(Time::secs(9), late);
    assert!(usual.contains(&call.b.session.stats().buffer_delay.as_millis()), "{told:?}");
    let (call, told) = after(Time::ms(10_900), late);
    let stalled = call.b.session.stats();
    assert!(stalled.buffer_delay > Duration::from_millis(200), "{:?}", stalled.buffer_delay);
    assert!(told.end_system_ms > 200 && told.jb_nominal_ms > 180, "{told:?}");
    let conditions = Conditions {
        impairment: Impairment::G711_CONCEALED,
        loss: 0.0,
        burst_ratio: 1.0,
        delay: Duration::from_millis(20) + stalled.buffer_delay,
    };
    let expected = rating(&conditions);
    assert!((f64::from(stalled.r_factor.unwrap()) - expected).abs() < 1.0, "{stalled:?}");
    let (call, told) = after(Time::secs(19), late);
    assert!(usual.contains(&call.b.session.stats().buffer_delay.as_millis()), "{told:?}");
    assert!((70..=100).contains(&told.end_system_ms), "{told:?}");
}

#[test]
fn rfc3611_4_7_3_and_4_7_5_delays_are_there_and_back_within_the_end_and_in_the_rating() {
    let link = LinkConfig { delay: Duration::from_millis(200), ..good() };
    let mut call = Call::new(link, 13, often);
    call.a.play(1, voice(29 * 8000, 8000), 8000);
    call.b.play(1, voice(29 * 8000, 8000), 8000);
    call.run(Time::secs(30));
    let metrics = *metrics(&call.b.rtcp()).last().unwrap();
    assert!(metrics.round_trip_ms.abs_diff(400) <= 1, "{metrics:?}");
    let buffer = call.b.session.stats().buffer_delay;
    assert!((50..=70).contains(&buffer.as_millis()), "{buffer:?}");
    let end = buffer + Duration::from_millis(20);
    assert_eq!(u128::from(metrics.end_system_ms), end.as_millis(), "and a frame of ours");
    // One way, a packet of theirs, and the jitter buffer.
    let mouth_to_ear = Duration::from_millis(200 + 20) + buffer;
    let conditions = Conditions {
        impairment: Impairment::G711_CONCEALED,
        loss: 0.0,
        burst_ratio: 1.0,
        delay: mouth_to_ear,
    };
    let expected = rating(&conditions);
    let stats = call.b.session.stats();
    assert!((f64::from(stats.r_factor.unwrap()) - expected).abs() < 0.1, "{expected} {stats:?}");
    assert_eq!(f64::from(metrics.r_factor), expected.round());
    assert_eq!(f64::from(metrics.mos_cq), (mos(expected) * 10.0).round());
    assert_eq!(metrics.mos_lq, 44);
}

#[test]
fn a_far_end_that_does_not_say_how_it_hears_is_taken_to_hold_packets_back_for_60_ms() {
    let link = LinkConfig { delay: Duration::from_millis(150), ..good() };
    let mut call = Call::between(link, 12, often, |config| {
        often(config);
        config.extended_reports = false;
    });
    call.a.play(1, voice(29 * 8000, 8000), 8000);
    call.b.play(1, voice(29 * 8000, 8000), 8000);
    call.run(Time::secs(25));
    let conditions = Conditions {
        impairment: Impairment::G711_CONCEALED,
        loss: 0.0,
        burst_ratio: 1.0,
        delay: Duration::from_millis(150 + 20 + 60),
    };
    let told = f64::from(call.a.session.stats().remote_r_factor.unwrap());
    assert!((told - rating(&conditions)).abs() < 0.1, "{told} {}", rating(&conditions));
}

#[test]
fn rfc3611_4_7_6_and_4_7_7_a_buffer_of_fixed_delay_says_so_and_has_one_maximum() {
    let call = minute(Loss::None, 1);
    for metrics in metrics(&call.b.rtcp()) {
        assert_eq!(metrics.rx_config, 0b1010_0000, "enhanced concealment, not adaptive");
        let buffer = call.b.session.stats().buffer_delay;
        assert_eq!(u128::from(metrics.jb_nominal_ms), buffer.as_millis());
        // 200 packets of 20 ms.
        assert_eq!((metrics.jb_maximum_ms, metrics.jb_absolute_ms), (560, 560));
    }
}

#[test]
fn rfc3611_4_7_4_levels_are_measured_and_unknown_only_while_they_are() {
    let call = minute(Loss::None, 1);
    let all = metrics(&call.b.rtcp());
    let (first, last) = (all[0], *all.last().unwrap());
    assert_eq!((first.signal_dbm0, first.noise_dbm0), (NO_LEVEL, NO_LEVEL));
    assert!((-20..=-5).contains(&last.signal_dbm0), "{last:?}");
    assert_eq!(last.rerl_db, UNAVAILABLE);
    let stats = call.b.session.stats();
    assert!((stats.signal_dbm0.unwrap() - f32::from(last.signal_dbm0)).abs() < 1.0);
}

#[test]
fn rfc3611_4_4_who_only_listens_learns_the_round_trip_too() {
    let mut call = Call::new(good(), 4, often);
    call.a.play(1, voice(20 * 8000, 8000), 8000);
    call.run(Time::secs(10));
    let reports = call.b.rtcp();
    assert!(reports.iter().all(|(_, bytes)| bytes[1] == 201), "B never sends an SR");
    let trip = call.b.session.stats().round_trip.unwrap();
    assert!(trip.abs_diff(Duration::from_millis(80)) < Duration::from_millis(1), "{trip:?}");
}

#[test]
fn g107_a_perfect_call_scores_4_41_and_loss_and_delay_take_from_it_both_ways() {
    let score = |loss: Loss, delay_ms: u64| {
        let link = LinkConfig { loss, delay: Duration::from_millis(delay_ms), ..good() };
        let mut call = Call::new(link, 9, often);
        call.a.play(1, voice(39 * 8000, 8000), 8000);
        call.b.play(1, voice(39 * 8000, 8000), 8000);
        call.run(Time::secs(40));
        (call.a.session.stats(), call.b.session.stats())
    };
    let mos = |stats: &Stats| (stats.mos.unwrap(), stats.remote_mos.unwrap());
    let clean = score(Loss::None, 5);
    assert!((mos(&clean.1).0 - 4.41).abs() < 0.005, "{:?}", mos(&clean.1));
    let mut before = mos(&clean.0);
    for loss in [0.01, 0.03, 0.08, 0.2] {
        let (a, b) = score(Loss::Random(loss), 5);
        let (here, there) = mos(&a);
        assert!(here < before.0 && there < before.1, "{loss}: {here} {there} after {before:?}");
        // What A is told of B's hearing is what B says of it, up to a tenth and the age of the report.
        assert!((there - b.mos.unwrap()).abs() < 0.25, "{loss}: {there} {:?}", b.mos);
        before = (here, there);
    }
    let (far, _) = score(Loss::None, 300);
    let (here, listening) = (far.mos.unwrap(), far.mos_listening.unwrap());
    assert!(here < 3.7 && listening > 4.4, "{here} {listening}");
}

#[test]
fn a_far_end_without_extended_reports_is_rated_by_its_reports_of_loss() {
    let link = LinkConfig { loss: Loss::Random(0.05), ..good() };
    let mut call = Call::between(link, 12, often, |config| {
        often(config);
        config.extended_reports = false;
    });
    call.a.play(1, voice(29 * 8000, 8000), 8000);
    call.run(Time::secs(30));
    assert!(metrics(&call.b.rtcp()).is_empty());
    let (a, b) = (call.a.session.stats(), call.b.session.stats());
    assert_eq!(a.remote_burst_density, None);
    assert!((a.remote_mos.unwrap() - b.mos.unwrap()).abs() < 0.3, "{a:?} {b:?}");
}

#[test]
fn a_score_is_not_told_of_a_call_that_has_hardly_begun() {
    let mut call = Call::new(good(), 5, often);
    call.a.play(1, voice(8000 * 2, 8000), 8000);
    call.run(Time::ms(900));
    let stats = call.b.session.stats();
    assert_eq!((stats.mos, stats.r_factor, stats.remote_mos), (None, None, None));
}

#[test]
fn what_the_far_end_before_it_said_is_not_told_of_the_one_that_took_its_place() {
    let mut call = Call::new(LinkConfig { loss: Loss::Random(0.05), ..good() }, 31, often);
    call.a.play(1, voice(59 * 8000, 8000), 8000);
    call.b.play(1, voice(10 * 8000, 8000), 8000);
    call.run(Time::secs(12));
    let before = call.a.session.stats();
    assert!(before.remote_mos.is_some() && before.remote_packets_sent.is_some(), "{before:?}");
    // B is gone without a word. Somebody else, at the same address, speaks and reports nothing.
    let gone = call.now;
    while call.now < gone + Duration::from_secs(3) {
        let n = ((call.now - gone).as_millis() / 20) as u16;
        let mut bytes = Vec::new();
        let timestamp = RtpTime(u32::from(n) * 160);
        let (seq, ssrc) = (SeqNo(n), Ssrc(4321));
        RtpHeader { marker: n == 0, payload_type: 0, seq, timestamp, ssrc }.write(&mut bytes);
        bytes.resize(bytes.len() + 160, 0xff);
        call.a.session.receive(call.now, call.b.addr, Port::Rtp, &bytes);
        call.a.session.handle_deadline(call.now);
        call.drain();
        call.now += Duration::from_millis(20);
    }
    assert_eq!(call.a.session.source(), Some((call.b.addr, Ssrc(4321))));
    let stats = call.a.session.stats();
    let told = (stats.remote_mos, stats.remote_burst_density, stats.remote_packets_sent);
    assert_eq!(told, (None, None, None));
    assert_eq!((stats.remote_lost, stats.round_trip), (None, None));
    // Nor is the one that is gone told how long ago its reference time came (RFC 3611 §4.5).
    let (_, last) = call.a.rtcp().pop().unwrap();
    for packet in parse_compound(&last).unwrap() {
        let RtcpPacket::Extended { mut blocks, .. } = packet else { continue };
        assert!(!blocks.any(|block| matches!(block, XrBlock::Dlrr(_))), "{last:?}");
    }
}
