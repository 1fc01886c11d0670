//! A key that is held for longer than one segment of an event lasts, at and across several clocks (RFC 4733 §2.5.1.3,
//! RFC 7160 §4.1).

mod common;

use common::{good, voice, Call, B};
use roomkit_media::codec::CodecSpec;
use roomkit_media::dtmf::Digit;
use roomkit_media::session::{Event, EventType, SessionConfig};
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::{LinkConfig, Loss, Reorder};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn codec(rate: u32) -> CodecSpec {
    match rate {
        8000 => CodecSpec::PCMU,
        16_000 => CodecSpec::l16(98, rate, 1),
        _ => CodecSpec::l16(97, rate, 1),
    }
}

/// All that both know; `sends` is the codec, and `events` the clocks of the event types there are.
fn set(c: &mut SessionConfig, sends: u32, events: &[u32]) {
    c.send_codec = codec(sends);
    c.receive_codecs = vec![codec(sends)];
    c.receive_codecs.extend([8000, 16_000, 48_000].into_iter().filter(|r| *r != sends).map(codec));
    let number = |rate| match rate {
        8000 => 101,
        16_000 => 102,
        _ => 103,
    };
    let types: Vec<EventType> = events
        .iter()
        .map(|&clock_rate| EventType { payload_type: number(clock_rate), clock_rate })
        .collect();
    (c.send_events, c.receive_events) = (types.clone(), types);
}

fn heard(call: &Call) -> Vec<(char, u64)> {
    let digit = |(_, event): &(Time, Event)| match event {
        Event::Digit { digit, duration, .. } => {
            Some((digit.as_char(), duration.as_millis() as u64))
        }
        _ => None,
    };
    call.b.events.iter().filter_map(digit).collect()
}

/// "5" for `held` and then "57", each for 100 ms.
fn press(call: &mut Call, held: u64) {
    for (key, held) in [('5', held), ('5', 100), ('7', 100)] {
        call.a.session.send_dtmf(Digit::parse(key).unwrap(), MS(held)).unwrap();
    }
}

#[test]
fn rfc4733_2_5_1_3_beside_a_codec_of_another_clock_a_long_key_is_one_digit() {
    for (audio, events, held) in
        [(48_000, 8000, 17_000), (8000, 48_000, 9000), (16_000, 8000, 9000)]
    {
        // Events alone, and beside speech.
        for speaks in [true, false] {
            let mut call = Call::new(good(), 1, |c| set(c, audio, &[events]));
            if speaks {
                call.a.play(1, voice(8000 * 19, 8000), 8000);
            }
            call.run(Time::ms(500));
            press(&mut call, held);
            call.run(Time::secs(19));
            let expected = [('5', held), ('5', 100), ('7', 100)];
            assert_eq!(heard(&call), expected, "{events} beside {audio} Hz, speaks: {speaks}");
        }
    }
}

#[test]
fn rfc7160_4_1_a_long_key_over_a_change_of_clock_is_one_digit() {
    let all: &[u32] = &[8000, 16_000, 48_000];
    for (from, to) in [(8000, 48_000), (48_000, 8000), (8000, 16_000), (16_000, 48_000)] {
        // With a type for each clock, and with one for all of them; in place of the audio and beside it.
        for (events, beside) in [(all, true), (all, false), (&[8000], true), (&[8000], false)] {
            // In the first segment, about its end, and in later ones.
            for at in [200, 1380, 4100, 8220] {
                let mut call = Call::new(good(), 1, |c| {
                    set(c, from, events);
                    c.dtmf_beside_audio = beside;
                });
                call.a.play(1, voice(8000 * 11, 8000), 8000);
                call.run(Time::ms(500));
                press(&mut call, 9000);
                call.run(Time::ms(500 + at));
                let mut config = SessionConfig::pcmu(Some(B.parse().unwrap()));
                set(&mut config, to, events);
                config.dtmf_beside_audio = beside;
                call.a.session.update(call.now, &config).unwrap();
                call.run(Time::secs(11));
                let told = heard(&call);
                let keys: String = told.iter().map(|(key, _)| *key).collect();
                let which =
                    format!("{from} to {to} Hz after {at} ms, {events:?}, beside: {beside}");
                assert_eq!(keys, "557", "{which}: {told:?}");
                assert!(told[0].1.abs_diff(9000) <= 60, "{which}: {told:?}");
                // No event begins in the future: by the timestamps of the audio beside it.
                let mut audio = 0u32;
                for (_, _, payload_type, _, timestamp, _) in call.a.rtp() {
                    if (101..=103).contains(&payload_type) {
                        let ahead = timestamp.wrapping_sub(audio) as i32;
                        assert!(ahead <= 0 || !beside, "{which}: {ahead} ticks ahead");
                    } else {
                        audio = timestamp;
                    }
                }
            }
        }
    }
}

#[test]
fn a_long_key_over_a_change_of_clock_is_one_digit_over_a_bad_link_too() {
    let link = LinkConfig {
        loss: Loss::Random(0.1),
        reorder: Some(Reorder { probability: 0.05, extra: MS(15) }),
        ..good()
    };
    for (from, to) in [(8000, 48_000), (48_000, 8000)] {
        for seed in 0..12 {
            let all = &[8000, 48_000];
            let mut call = Call::new(link, seed, |c| set(c, from, all));
            call.a.play(1, voice(8000 * 8, 8000), 8000);
            call.run(Time::ms(500));
            press(&mut call, 4000);
            call.run(Time::ms(2500 + seed * 7));
            let mut config = SessionConfig::pcmu(Some(B.parse().unwrap()));
            set(&mut config, to, all);
            call.a.session.update(call.now, &config).unwrap();
            call.run(Time::secs(8));
            let keys: String = heard(&call).iter().map(|(key, _)| *key).collect();
            assert_eq!(keys, "557", "{from} to {to} Hz, seed {seed}: {:?}", heard(&call));
        }
    }
}
