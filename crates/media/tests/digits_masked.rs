//! Masking digits begins and ends whatever comes beside it: audio, none at all, pauses, calls on hold.

mod common;

use common::{good, voice, Call, B};
use proptest::prelude::*;
use roomkit_media::dtmf::{Digit, Method, Signal};
use roomkit_media::session::{Direction, Event, Fill, SessionConfig};
use roomkit_media::time::{Duration, Time};

const KEYS: &str = "0123456789*#ABCD";
/// How long a key is held, and from the beginning of one to what happens next at the least: it has been told by then.
const HELD: u64 = 100;
const TOLD: u64 = 500;
/// What is held back is delivered within it, once it was played.
const ENDS: u64 = 200;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn key(n: usize) -> char {
    char::from(KEYS.as_bytes()[n % KEYS.len()])
}

/// Nothing leaves a but what is pressed or played; b listens for tones too.
fn quiet(config: &mut SessionConfig) {
    (config.fill, config.dtmf_inband) = (Fill::None, true);
}

fn press(call: &mut Call, n: usize, method: Method) {
    let digit = Digit::parse(key(n)).unwrap();
    let signal = Signal::Digit { digit, duration: ms(HELD), gap: ms(50), method };
    call.a.session.dial(n as u64 + 1, &[signal]).unwrap();
}

fn told(call: &Call) -> Vec<(char, bool)> {
    let digit = |(_, event): &(Time, Event)| match event {
        Event::Digit { digit, masked, .. } => Some((digit.as_char(), *masked)),
        _ => None,
    };
    call.b.events.iter().filter_map(digit).collect()
}

fn hold(call: &mut Call, held: bool, change: impl Fn(&mut SessionConfig)) {
    let mut config = SessionConfig::pcmu(Some("192.0.2.1:10000".parse().unwrap()));
    config.cname = B.into();
    change(&mut config);
    config.direction = if held { Direction::SendOnly } else { Direction::SendRecv };
    call.b.session.update(call.now, &config).unwrap();
}

#[test]
fn masking_ends_where_no_audio_ever_came() {
    for method in [Method::Event, Method::Tone] {
        let mut call = Call::new(good(), 1, quiet);
        call.b.session.mask_digits(true);
        call.run(Time::ms(500));
        press(&mut call, 1, Method::Event);
        call.run(Time::ms(1000));
        call.b.session.mask_digits(false);
        call.run(Time::ms(1100 + ENDS));
        press(&mut call, 2, method);
        call.run(Time::ms(2000));
        assert_eq!(told(&call), [('1', true), ('2', false)], "{method:?}");
    }
}

#[test]
fn a_row_of_keys_without_a_pause_does_not_keep_masking_alive() {
    for method in [Method::Event, Method::Tone] {
        let mut call = Call::new(good(), 1, quiet);
        call.b.session.mask_digits(true);
        call.run(Time::ms(500));
        let key = |n| Signal::Digit {
            digit: Digit::parse(key(n)).unwrap(),
            duration: ms(60),
            gap: ms(50),
            method,
        };
        call.a.session.dial(1, &(0..16).map(key).collect::<Vec<_>>()).unwrap();
        call.run(Time::ms(1000));
        call.b.session.mask_digits(false);
        call.run(Time::secs(4));
        let told = told(&call);
        assert_eq!(told.len(), 16, "{method:?}");
        assert!(told[..3].iter().all(|(_, masked)| *masked), "{told:?}");
        assert!(told[9..].iter().all(|(_, masked)| !masked), "{told:?}");
    }
}

#[test]
fn what_was_held_back_is_delivered_where_nothing_comes_behind_it() {
    let mut call = Call::new(good(), 2, quiet);
    call.b.session.mask_digits(true);
    call.a.play(1, voice(8000, 8000), 8000);
    call.run(Time::ms(600));
    call.a.session.close(call.now, "");
    call.drain();
    call.b.session.mask_digits(false);
    call.run(Time::ms(1200));
    let (plain, masked) = {
        let mut plain = Call::new(good(), 2, quiet);
        plain.a.play(1, voice(8000, 8000), 8000);
        plain.run(Time::ms(600));
        plain.a.session.close(plain.now, "");
        plain.drain();
        plain.run(Time::ms(1200));
        (plain.b.heard(), call.b.heard())
    };
    assert!(plain.len() > 8 * 400 && plain == masked);
}

/// What may happen, and how many ms pass behind it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Mask(bool),
    /// And off again, or on, at once.
    Flip(bool),
    Press(Method),
    /// Silence is sent, such as that of a pause.
    Silence,
    Hold(bool),
    Mute(bool),
    Wait,
}

fn step() -> impl Strategy<Value = (Step, u64)> {
    let step = prop_oneof![
        3 => any::<bool>().prop_map(Step::Mask),
        1 => any::<bool>().prop_map(Step::Flip),
        4 => prop_oneof![Just(Method::Event), Just(Method::Tone)].prop_map(Step::Press),
        2 => Just(Step::Silence),
        1 => any::<bool>().prop_map(Step::Hold),
        1 => any::<bool>().prop_map(Step::Mute),
        1 => Just(Step::Wait),
    ];
    (step, prop_oneof![0u64..60, 0u64..700])
}

/// What must be told of a press, and when it came.
#[derive(Debug)]
struct Pressed {
    at: u64,
    key: char,
    /// Whether it must be told, and as what.
    told: bool,
    masked: Option<bool>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn after_any_history_a_key_is_masked_exactly_while_that_is_asked_for(
        steps in prop::collection::vec(step(), 1..25),
        (ptime, jitter, inband) in (0usize..4, 0usize..3, any::<bool>()),
    ) {
        let change = |config: &mut SessionConfig| {
            quiet(config);
            config.ptime = ms([10, 20, 30, 60][ptime]);
            config.jitter_delay = ms([0, 60, 150][jitter]);
            config.dtmf_inband = inband;
        };
        let mut call = Call::new(good(), 3, change);
        let (mut now, mut presses) = (20, Vec::<Pressed>::new());
        let (mut masked, mut held, mut taken_off, mut playback) = (false, false, 0, 0);
        // When a key is no longer masked that is pressed then.
        let mut over = 0;
        call.run(Time::ms(now));
        for (step, pause) in steps.iter().copied().chain([(Step::Wait, TOLD)]) {
            let mut pause = pause;
            match step {
                Step::Mask(on) | Step::Flip(on) => {
                    if let Step::Flip(_) = step {
                        masked = !on;
                        call.b.session.mask_digits(masked);
                    }
                    if masked && !on {
                        let delay = call.b.session.stats().buffer_delay;
                        over = now + delay.as_millis() as u64 + ENDS;
                    }
                    masked = on;
                    call.b.session.mask_digits(on);
                }
                Step::Press(method) => {
                    let n = presses.len();
                    press(&mut call, n, method);
                    // It is told before another, and known here by its place.
                    pause = pause.max(TOLD);
                    let expected = (masked || now >= over).then_some(masked);
                    // Tones are listened for where that is asked for, or while they are masked.
                    let listens = method == Method::Event || inband || masked;
                    let told = listens && !held && now >= taken_off + ENDS;
                    presses.push(Pressed { at: now, key: key(n), told, masked: expected });
                }
                Step::Silence => {
                    playback += 1;
                    call.a.play(playback, vec![0; 8 * pause as usize], 8000);
                }
                Step::Hold(hold_it) => {
                    if held && !hold_it {
                        taken_off = now;
                    }
                    held = hold_it;
                    hold(&mut call, held, change);
                }
                Step::Mute(on) => call.b.session.set_input_muted(on),
                Step::Wait => {}
            }
            now += pause;
            call.run(Time::ms(now));
        }
        let told = told(&call);
        let mut places = told.iter();
        for pressed in &presses {
            let found = places.clone().position(|(key, _)| *key == pressed.key);
            prop_assert!(found.is_some() || !pressed.told, "{pressed:?} of {told:?}");
            let Some(found) = found else { continue };
            let (_, masked) = places.nth(found).unwrap();
            prop_assert!(pressed.masked.is_none_or(|secret| secret == *masked), "{pressed:?}: {told:?}");
        }
        // Nothing but tones is louder than this.
        for frame in call.b.frames.iter().filter(|frame| frame.pcm.iter().any(|s| s.abs() > 8)) {
            let due = (frame.due - Time::ZERO).as_millis() as u64;
            let of = presses.iter().rev().find(|pressed| pressed.at <= due).unwrap();
            prop_assert!(of.masked != Some(true), "{of:?} is heard at {due}");
        }
    }
}
