//! An event takes the place of the audio until its last end packet (RFC 4733 §2.5.1.4): what is played waits, live audio passes.

mod common;

use std::collections::BTreeMap;

use common::{good, Call, B};
use proptest::prelude::*;
use roomkit_media::codec::CodecSpec;
use roomkit_media::dtmf::{Digit, EventPayload, Method, Signal};
use roomkit_media::session::{Chunk, Direction, Event, Fill, NoiseType, SessionConfig};
use roomkit_media::time::{Duration, Time};

const L16: u8 = 96;
const EVENT: u8 = 101;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Linear audio, in which each sample can be told from the others.
fn linear(config: &mut SessionConfig) {
    config.send_codec = CodecSpec::l16(L16, 8000, 1);
    config.receive_codecs = vec![config.send_codec];
    config.send_noise = vec![NoiseType::STATIC];
}

fn ramp(samples: usize) -> Vec<i16> {
    (0..samples).map(|n| (n % 30_000) as i16 + 1).collect()
}

fn keys(keys: &str, held: u64, gap: u64, method: Method) -> Vec<Signal> {
    let key = |key| Signal::Digit {
        digit: Digit::parse(key).unwrap(),
        duration: ms(held),
        gap: ms(gap),
        method,
    };
    keys.chars().map(key).collect()
}

fn chunk(playback: u64, pcm: Vec<i16>, last: bool, live: bool) -> Chunk {
    Chunk { playback, pcm, sample_rate: 8000, channels: 1, last, live, marks: vec![] }
}

fn samples(payload: &[u8]) -> Vec<i16> {
    payload.chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()
}

/// What a packet is, in the order in which they left.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sent {
    Event { first: bool, end: bool, timestamp: u32, duration: u16 },
    Audio { marker: bool, timestamp: u32, sounds: bool },
    Noise,
}

fn sent(call: &Call) -> Vec<Sent> {
    let rtp = call.a.rtp().into_iter();
    rtp.map(|(_, marker, payload_type, _, timestamp, payload)| match payload_type {
        EVENT => {
            let EventPayload { end, duration, .. } = EventPayload::parse(&payload).unwrap();
            Sent::Event { first: marker, end, timestamp, duration }
        }
        L16 => {
            let sounds = samples(&payload).iter().any(|s| *s != 0);
            Sent::Audio { marker, timestamp, sounds }
        }
        _ => Sent::Noise,
    })
    .collect()
}

/// Asserts that nothing leaves between the first and the last packet of an event; how many events there were.
fn assert_alone(packets: &[Sent]) -> usize {
    let (mut events, mut ends) = (0, 3);
    for (n, packet) in packets.iter().enumerate() {
        match packet {
            Sent::Event { first, end, .. } => {
                assert_eq!(*first, ends == 3, "packet {n}: {packets:?}");
                if *first {
                    (events, ends) = (events + 1, 0);
                }
                ends += u32::from(*end);
            }
            Sent::Audio { .. } | Sent::Noise => assert_eq!(ends, 3, "packet {n}: {packets:?}"),
        }
    }
    events
}

#[test]
fn nothing_else_leaves_between_the_packets_of_an_event_and_no_sample_is_lost() {
    for fill in [Fill::None, Fill::Silence, Fill::ComfortNoise] {
        for ptime in [10, 20, 30, 60] {
            let mut call = Call::new(good(), 1, |c| {
                linear(c);
                (c.fill, c.ptime) = (fill, ms(ptime));
            });
            let speech = ramp(8000 * 3);
            call.a.play(1, speech.clone(), 8000);
            call.run(Time::ms(500));
            call.a.session.dial(1, &keys("15", 180, 300, Method::Event)).unwrap();
            call.run(Time::ms(620));
            let before = call.a.session.position();
            call.run(Time::ms(680));
            assert_eq!(call.a.session.position(), before, "it waits");
            call.run(Time::secs(6));
            let packets = sent(&call);
            assert_eq!(assert_alone(&packets), 2);
            let rtp = call.a.rtp();
            let audio = rtp.iter().filter(|(_, _, pt, ..)| *pt == L16);
            let mut heard: Vec<i16> = audio.flat_map(|(.., payload)| samples(payload)).collect();
            heard.retain(|sample| *sample != 0);
            assert_eq!(heard, speech, "{fill:?}, {ptime} ms frames");
            let ended = call.a.events.iter().find_map(|(_, event)| match event {
                Event::PlaybackEnded { played, cancelled, .. } => Some((*played, *cancelled)),
                _ => None,
            });
            assert_eq!(ended, Some((Duration::from_secs(3), false)));
            assert_eq!(call.b.digits(), "15");
        }
    }
}

#[test]
fn rfc3551_4_1_the_audio_behind_an_event_has_its_time_and_a_marker() {
    for (ptime, held) in [(10, 100), (20, 100), (20, 45), (30, 90), (60, 100)] {
        let mut call = Call::new(good(), 1, |c| {
            linear(c);
            c.ptime = ms(ptime);
        });
        call.a.play(1, ramp(8000 * 3), 8000);
        call.run(Time::ms(500));
        call.a.session.dial(1, &keys("5", held, 80, Method::Event)).unwrap();
        call.run(Time::secs(2));
        let packets = sent(&call);
        let last = packets.iter().rposition(|p| matches!(p, Sent::Event { .. })).unwrap();
        let Sent::Event { timestamp, duration, .. } = packets[last] else { unreachable!() };
        let ticks = 8 * ptime as u32;
        // The first of the three ends leaves with the last frame of the event.
        let expected = timestamp.wrapping_add(u32::from(duration) + 2 * ticks);
        let audio = Sent::Audio { marker: true, timestamp: expected, sounds: true };
        assert_eq!(packets[last + 1], audio, "{held} ms in frames of {ptime} ms");
        let marked = |p: &&Sent| matches!(p, Sent::Audio { marker: true, .. });
        assert_eq!(packets.iter().filter(marked).count(), 2, "the first of each stretch");
    }
}

#[test]
fn live_audio_of_the_time_of_an_event_is_not_sent_later() {
    let mut call = Call::new(good(), 1, linear);
    // Each frame of it says when it was made.
    let forward = |call: &mut Call, frames: core::ops::Range<u64>| {
        for n in frames {
            let piece = chunk(1, vec![n as i16 + 1; 160], false, true);
            call.a.session.play(piece).unwrap();
            call.run(Time::ms(20 * n + 15));
        }
    };
    forward(&mut call, 0..50);
    call.a.session.dial(1, &keys("5", 200, 80, Method::Event)).unwrap();
    forward(&mut call, 50..150);
    let rtp = call.a.rtp();
    let late: Vec<u64> = rtp
        .iter()
        .filter(|(_, _, pt, ..)| *pt == L16)
        .map(|(at, .., payload)| at.as_ms() / 20 - (samples(payload)[0] as u64 - 1))
        .collect();
    assert_eq!(late.len(), 150 - 12, "ten frames of the key, and its end twice more");
    assert!(late.iter().all(|frames| *frames == late[0]), "{late:?}");
}

#[test]
fn beside_audio_it_goes_on_where_that_is_asked_for_and_from_the_next_event_on() {
    let mut call = Call::new(good(), 1, |c| {
        linear(c);
        c.dtmf_beside_audio = true;
    });
    let turn = |call: &mut Call, beside| {
        let mut config = SessionConfig::pcmu(Some(B.parse().unwrap()));
        linear(&mut config);
        config.dtmf_beside_audio = beside;
        call.a.session.update(call.now, &config).unwrap();
    };
    call.a.play(1, ramp(8000 * 4), 8000);
    call.run(Time::ms(500));
    call.a.session.dial(1, &keys("159", 200, 300, Method::Event)).unwrap();
    call.run(Time::ms(590));
    turn(&mut call, false);
    call.run(Time::ms(1090));
    turn(&mut call, true);
    call.run(Time::secs(5));
    let packets = sent(&call);
    let starts: Vec<usize> = (0..packets.len())
        .filter(|n| matches!(packets[*n], Sent::Event { first: true, .. }))
        .collect();
    let audio_within = |from: usize| {
        let (mut ends, mut audio) = (0, 0);
        for packet in &packets[from..] {
            match packet {
                Sent::Event { end, .. } => ends += u32::from(*end),
                _ if ends < 3 => audio += 1,
                _ => break,
            }
        }
        audio
    };
    let within: Vec<u32> = starts.into_iter().map(audio_within).collect();
    assert_eq!(within, [11, 0, 11], "one for each packet of an event but the first");
    assert_eq!(call.b.digits(), "159");
}

#[test]
fn tones_go_in_the_audio_s_place_as_ever() {
    let mut call = Call::between(good(), 1, linear, |c| {
        linear(c);
        c.dtmf_inband = true;
    });
    call.a.play(1, vec![0; 8000 * 2], 8000);
    call.run(Time::ms(500));
    call.a.session.dial(1, &keys("15", 100, 100, Method::Tone)).unwrap();
    call.run(Time::secs(3));
    assert_eq!(call.b.digits(), "15");
    let ended = |(at, event): &(Time, Event)| match event {
        Event::PlaybackEnded { .. } => Some(*at),
        _ => None,
    };
    let at = call.a.events.iter().find_map(ended).unwrap();
    assert_eq!(at, Time::ms(1980), "what is played has gone on behind them");
}

/// What a program may do, in any order.
#[derive(Clone, Debug)]
enum Step {
    Play { ms: u64, live: bool, ends: bool },
    Cancel { newest: bool },
    Dial { keys: &'static str, held: u64, gap: u64, tones: bool },
    CancelDial,
    Turn(Direction),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    let dialled = prop::sample::select(vec!["1", "22", "*0#"]);
    prop_oneof![
        4 => (1..700u64, prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(ms, live, ends)| Step::Play { ms, live, ends }),
        2 => any::<bool>().prop_map(|newest| Step::Cancel { newest }),
        4 => (dialled, 40..300u64, 40..150u64, prop::bool::weighted(0.2))
            .prop_map(|(keys, held, gap, tones)| Step::Dial { keys, held, gap, tones }),
        1 => Just(Step::CancelDial),
        2 => prop::sample::select(vec![SendRecv, SendRecv, SendOnly, RecvOnly, Inactive])
            .prop_map(Step::Turn),
        8 => (0..400u64).prop_map(Step::Wait),
    ]
}

/// What was handed over of each playback, and what became of it.
#[derive(Debug, Default)]
struct Fate {
    handed: Duration,
    live: bool,
    started: u32,
    ended: Vec<(Duration, bool)>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 96 } else { 1000 }))]

    #[test]
    fn in_any_order_every_playback_ends_and_adds_up_and_events_stay_alone(
        steps in prop::collection::vec(step(), 1..40),
        closes in any::<bool>(),
        fill in prop::sample::select(vec![Fill::None, Fill::Silence, Fill::ComfortNoise]),
    ) {
        let mut call = Call::new(good(), 1, |c| {
            linear(c);
            c.fill = fill;
        });
        let mut fates: BTreeMap<u64, Fate> = BTreeMap::new();
        let (mut playback, mut batch, mut simple) = (1, 0, fill == Fill::None);
        let turn = |call: &mut Call, direction| {
            let mut config = SessionConfig::pcmu(Some(B.parse().unwrap()));
            linear(&mut config);
            (config.fill, config.direction) = (fill, direction);
            call.a.session.update(call.now, &config).unwrap();
        };
        let mut live_now = None;
        for step in &steps {
            match *step {
                Step::Play { ms: length, live, ends } => {
                    // A playback is of one kind.
                    let live = *live_now.get_or_insert(live);
                    let pcm = ramp(length as usize * 8);
                    call.a.session.play(chunk(playback, pcm, ends, live)).unwrap();
                    let fate = fates.entry(playback).or_default();
                    fate.handed += ms(length);
                    fate.live = live;
                    simple &= !live;
                    if ends {
                        (playback, live_now) = (playback + 1, None);
                    }
                }
                Step::Cancel { newest } => {
                    call.a.session.cancel(if newest { playback } else { playback.saturating_sub(1) });
                    if newest {
                        (playback, live_now) = (playback + 1, None);
                    }
                }
                Step::Dial { keys: dialled, held, gap, tones } => {
                    let method = if tones { Method::Tone } else { Method::Event };
                    simple &= !tones;
                    if call.a.session.dial(batch + 1, &keys(dialled, held, gap, method)).is_ok() {
                        batch += 1;
                    }
                }
                Step::CancelDial => call.a.session.cancel_dial(batch),
                Step::Turn(direction) => turn(&mut call, direction),
                Step::Wait(span) => call.run(call.now + ms(span)),
            }
        }
        call.a.session.play(chunk(playback, vec![], true, live_now.unwrap_or(false))).unwrap();
        call.drain();
        let closed_at = call.a.rtp().len();
        if closes {
            call.a.session.close(call.now, "");
            call.drain();
        } else {
            turn(&mut call, Direction::SendRecv);
            call.run(call.now + Duration::from_secs(60));
        }
        let mut dialled = vec![];
        for (_, event) in &call.a.events {
            match event {
                Event::PlaybackStarted { playback } => fates.entry(*playback).or_default().started += 1,
                Event::PlaybackEnded { playback, played, cancelled } => {
                    fates.entry(*playback).or_default().ended.push((*played, *cancelled));
                }
                Event::Dialled { batch, .. } => dialled.push(*batch),
                _ => {}
            }
        }
        let mut frames = 0;
        for (playback, fate) in &fates {
            prop_assert_eq!(fate.ended.len(), 1, "{}: {:?}", playback, fate);
            let (played, cancelled) = fate.ended[0];
            prop_assert!(played <= fate.handed, "{}: {:?}", playback, fate);
            prop_assert_eq!(fate.started, u32::from(!played.is_zero()), "{}: {:?}", playback, fate);
            prop_assert!(cancelled || fate.live || played == fate.handed, "{}: {:?}", playback, fate);
            frames += played.as_micros().div_ceil(20_000) as usize;
        }
        dialled.sort_unstable();
        prop_assert_eq!(dialled, (1..=batch).collect::<Vec<u64>>());
        let mut packets = sent(&call);
        if closes {
            // Its one end packet stands for all three.
            packets.truncate(closed_at);
            let event = |p: &Sent| matches!(p, Sent::Event { .. });
            while packets.last().is_some_and(event) {
                packets.pop();
            }
        }
        assert_alone(&packets);
        if simple {
            let audio = sent(&call).iter().filter(|p| matches!(p, Sent::Audio { .. })).count();
            // A playback that ran dry in the middle of a frame sends what it has in a frame of its own.
            let pieces = steps.iter().filter(|s| matches!(s, Step::Play { .. })).count();
            prop_assert!((frames..=frames + pieces).contains(&audio), "{} of {}", audio, frames);
        }
        prop_assert_eq!(call.a.session.is_idle(), true);
    }
}
