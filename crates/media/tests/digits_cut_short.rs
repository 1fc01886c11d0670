//! A key that is pressed when nothing may be sent any longer: its event has an end all the same (RFC 4733 §2.5.1.4).

mod common;

use common::{good, voice, Call, B};
use roomkit_media::codec::CodecSpec;
use roomkit_media::dtmf::{Digit, EventPayload, InbandDetector, Method, Signal};
use roomkit_media::rtp::{is_rtcp, RtpPacket};
use roomkit_media::session::{Direction, Event, EventType, Fill, SessionConfig};
use roomkit_media::time::{Duration, Time};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn keys(keys: &str, held: u64, method: Method) -> Vec<Signal> {
    let key = |key| Signal::Digit {
        digit: Digit::parse(key).unwrap(),
        duration: MS(held),
        gap: MS(80),
        method,
    };
    keys.chars().map(key).collect()
}

fn turn(call: &mut Call, direction: Direction, change: impl Fn(&mut SessionConfig)) {
    let mut config = SessionConfig::pcmu(Some(B.parse().unwrap()));
    config.direction = direction;
    change(&mut config);
    call.a.session.update(call.now, &config).unwrap();
}

/// The event packets that a sent: when, under which type, and what they say.
fn events(call: &Call, types: &[u8]) -> Vec<(Time, u8, EventPayload)> {
    let rtp = call.a.rtp().into_iter().filter(|(_, _, pt, ..)| types.contains(pt));
    rtp.map(|(at, _, pt, .., payload)| (at, pt, EventPayload::parse(&payload).unwrap())).collect()
}

/// What b was told of digits, and for how long they were held.
fn heard(call: &Call) -> Vec<(char, Duration)> {
    let digit = |(_, event): &(Time, Event)| match event {
        Event::Digit { digit, duration, .. } => Some((digit.as_char(), *duration)),
        _ => None,
    };
    call.b.events.iter().filter_map(digit).collect()
}

fn dialled(call: &Call) -> Vec<(u64, bool)> {
    let batch = |(_, event): &(Time, Event)| match event {
        Event::Dialled { batch, cancelled } => Some((*batch, *cancelled)),
        _ => None,
    };
    call.a.events.iter().filter_map(batch).collect()
}

#[test]
fn rfc4733_2_5_1_4_on_hold_the_event_on_its_way_is_ended_and_the_end_sent_three_times() {
    for direction in [Direction::RecvOnly, Direction::Inactive] {
        // After one packet to before the last; the twentieth is the one that ends it anyway.
        for held in 1..20 {
            let mut call = Call::new(good(), held, |_| {});
            call.a.session.dial(1, &keys("57", 400, Method::Event)).unwrap();
            call.a.session.dial(2, &keys("9", 100, Method::Event)).unwrap();
            call.a.play(1, voice(8000 * 10, 8000), 8000);
            call.run(Time::ms(20 * held - 10));
            turn(&mut call, direction, |_| {});
            let audio = call.a.rtp().len() - held as usize;
            call.run(Time::secs(2));
            let train = events(&call, &[101]);
            // 40 ms is the shortest key there is.
            let lasted = held.max(2);
            let durations: Vec<_> = train.iter().map(|(.., event)| event.duration).collect();
            let grown = (1..=lasted).chain([lasted; 2]).map(|n| n as u16 * 160);
            // Its last packet had left already: the E bit is in one more, after the time it was held for.
            let repeats = usize::from(held >= 2);
            let expected: Vec<u16> = grown.chain(vec![lasted as u16 * 160; repeats]).collect();
            assert_eq!(durations, expected, "{direction:?} after {held} packets");
            let ends: Vec<Time> = train.iter().filter(|e| e.2.end).map(|e| e.0).collect();
            assert_eq!(ends.len(), 3);
            assert!(
                ends.windows(2).all(|pair| pair[1] - pair[0] == MS(20)),
                "at the pace of updates"
            );
            assert_eq!(call.a.rtp().len(), audio + train.len(), "and nothing else leaves");
            assert_eq!(heard(&call), [('5', MS(20 * lasted))]);
            assert_eq!(dialled(&call), [], "what waits goes on waiting");
            turn(&mut call, Direction::SendRecv, |_| {});
            call.run(Time::secs(4));
            assert_eq!(heard(&call)[1..], [('7', MS(400)), ('9', MS(100))]);
            assert_eq!(dialled(&call), [(1, true), (2, false)], "the first was cut short");
        }
    }
}

#[test]
fn a_key_that_had_ended_before_the_hold_was_not_cut_short() {
    for repeats in 1..=3 {
        let mut call = Call::new(good(), 1, |_| {});
        call.a.session.dial(1, &keys("5", 100, Method::Event)).unwrap();
        call.run(Time::ms(20 * (4 + repeats) + 10));
        turn(&mut call, Direction::Inactive, |_| {});
        call.run(Time::secs(1));
        assert_eq!(events(&call, &[101]).iter().filter(|e| e.2.end).count(), 3);
        assert_eq!((heard(&call), dialled(&call)), (vec![('5', MS(100))], vec![(1, false)]));
    }
}

#[test]
fn taken_off_hold_before_its_end_has_left_the_digit_still_ends_once() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.session.dial(1, &keys("5", 400, Method::Event)).unwrap();
    call.run(Time::ms(190));
    turn(&mut call, Direction::Inactive, |_| {});
    call.run(Time::ms(210));
    turn(&mut call, Direction::SendRecv, |_| {});
    call.run(Time::secs(2));
    assert_eq!(events(&call, &[101]).iter().filter(|e| e.2.end).count(), 3);
    assert_eq!((heard(&call), dialled(&call)), (vec![('5', MS(200))], vec![(1, true)]));
}

#[test]
fn on_hold_a_tone_fades_and_is_not_pressed_again_afterwards() {
    let mut call = Call::between(good(), 1, |c| c.fill = Fill::Silence, |c| c.dtmf_inband = true);
    call.run(Time::ms(500));
    call.a.session.dial(1, &keys("57", 400, Method::Tone)).unwrap();
    call.run(Time::ms(690));
    turn(&mut call, Direction::Inactive, |c| c.fill = Fill::Silence);
    let sent = call.a.rtp().len();
    call.run(Time::secs(2));
    assert_eq!(call.a.rtp().len(), sent + 1, "the frame in which it fades");
    let mut last = vec![];
    CodecSpec::PCMU.decoder().decode(&call.a.rtp()[sent].5, &mut last).unwrap();
    assert!(last[..4].iter().any(|s| s.abs() > 500) && last[40..].iter().all(|s| s.abs() < 9));
    turn(&mut call, Direction::SendRecv, |c| c.fill = Fill::Silence);
    call.run(Time::secs(4));
    assert_eq!(call.b.digits(), "57");
    assert_eq!(dialled(&call), [(1, true)]);
    let mut detector = InbandDetector::new(8000, 1).unwrap();
    detector.process(&call.b.heard());
    let lengths: Vec<u64> =
        core::iter::from_fn(|| detector.poll()).map(|d| d.duration.as_millis() as u64).collect();
    assert!(matches!(lengths[..], [185..=215, 385..=415]), "{lengths:?}");
}

#[test]
fn a_far_end_that_takes_no_events_any_longer_is_told_the_end_of_the_last_one() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.session.dial(1, &keys("57", 400, Method::Event)).unwrap();
    call.run(Time::ms(190));
    turn(&mut call, Direction::SendRecv, |c| c.send_events = vec![]);
    call.run(Time::secs(2));
    let train = events(&call, &[101]);
    assert_eq!(train.iter().filter(|e| e.2.end).count(), 3, "of the first; the second is a tone");
    assert_eq!(heard(&call), [('5', MS(200))]);
    assert_eq!(dialled(&call), [(1, true)]);
}

#[test]
fn rfc4733_2_5_1_4_a_session_that_closes_ends_the_event_before_it_says_goodbye() {
    // After the first packet, in the middle, in the repeats of the end; a key of one and one of several segments.
    for (held, clock_rate) in [(100, 8000), (400, 8000), (4000, 48_000)] {
        for at in (10..held + 20).step_by(if held > 1000 { 140 } else { 20 }) {
            let mut call = Call::new(good(), 1, |c| {
                c.send_codec = CodecSpec { payload_type: 0, ..CodecSpec::PCMU };
                let events = vec![EventType { payload_type: 101, clock_rate }];
                (c.send_events, c.receive_events) = (events.clone(), events);
                if clock_rate == 48_000 {
                    c.send_codec = CodecSpec::l16(97, 48_000, 1);
                    c.receive_codecs = vec![c.send_codec];
                }
            });
            call.a.session.dial(1, &keys("57", held, Method::Event)).unwrap();
            call.run(Time::ms(at));
            let before = call.a.sent.len();
            call.a.session.close(call.now, "done");
            call.drain();
            let last = &call.a.sent[before..];
            assert_eq!(
                last.len(),
                2,
                "one packet of the event, and the goodbye: {at} of {held} ms"
            );
            let packet = RtpPacket::parse(&last[0].1.bytes).unwrap();
            let event = EventPayload::parse(packet.payload).unwrap();
            assert!(event.end && packet.payload_type == 101 && !packet.marker);
            assert!(is_rtcp(&last[1].1.bytes));
            call.run(Time::ms(at) + MS(100));
            // At most a frame of it lies between its last packet and the end.
            let pressed = MS((at.div_ceil(20) * 20).clamp(40, held));
            assert_eq!(heard(&call), [('5', pressed)], "{at} of {held} ms at {clock_rate} Hz");
            assert_eq!(dialled(&call), [(1, true)]);
        }
    }
}

#[test]
fn a_session_that_closes_between_two_digits_ends_none() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.session.dial(1, &keys("57", 100, Method::Event)).unwrap();
    call.run(Time::ms(150));
    let before = call.a.sent.len();
    call.a.session.close(call.now, "done");
    call.drain();
    assert_eq!(call.a.sent.len(), before + 1, "the goodbye");
}
