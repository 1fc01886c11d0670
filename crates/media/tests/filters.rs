//! A session makes no resampling filter that it was given: making one takes longer than a media thread has.

mod common;

use common::{good, voice, Call};
use roomkit_media::codec::CodecSpec;
use roomkit_media::filters::Filters;
use roomkit_media::resample::Bank;
use roomkit_media::session::SessionConfig;
use roomkit_media::time::Time;
use std::sync::Arc;

/// Filters for a test, and how many hold each of them.
struct Given(Vec<Arc<Bank>>);

impl Given {
    fn new(rates: &[(u32, u32)]) -> Given {
        Given(rates.iter().map(|&(from, to)| Arc::new(Bank::new(from, to).unwrap())).collect())
    }

    fn filters(&self) -> Filters {
        let mut filters = Filters::default();
        self.0.iter().for_each(|bank| filters.add(Arc::clone(bank)));
        filters
    }

    fn held(&self) -> Vec<usize> {
        self.0.iter().map(Arc::strong_count).collect()
    }
}

const G722: CodecSpec = CodecSpec::G722;

/// Frames at 24 kHz of whatever comes.
fn wide(config: &mut SessionConfig) {
    config.receive_codecs = vec![CodecSpec::PCMU, G722];
    config.sample_rate = 24_000;
}

#[test]
fn what_is_heard_goes_through_the_filter_that_was_given() {
    let given = Given::new(&[(8_000, 24_000), (16_000, 24_000), (24_000, 8_000)]);
    let mut call = Call::between(
        good(),
        1,
        |_| {},
        |config| {
            wide(config);
            config.filters = given.filters();
        },
    );
    let at_first = given.held();
    call.a.play(1, voice(80_000, 8000), 8000);
    call.run(Time::secs(1));
    let [narrow, wide, ear] = given.held()[..] else { unreachable!() };
    assert_eq!((narrow, wide, ear), (at_first[0] + 1, at_first[1], at_first[2]));
    // Masked, it listens for digits.
    call.b.session.mask_digits(true);
    call.run(Time::secs(2));
    assert_eq!(given.held()[2], at_first[2] + 1);
    let mut config = SessionConfig::pcmu(Some(common::B.parse().unwrap()));
    config.send_codec = G722;
    call.a.session.update(call.now, &config).unwrap();
    call.run(Time::secs(3));
    assert_eq!(given.held()[..2], [at_first[0] + 1, at_first[1] + 1]);
}

#[test]
fn a_codec_that_an_update_brings_has_the_filter_that_came_with_it() {
    let given = Given::new(&[(16_000, 8_000), (8_000, 16_000)]);
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(80_000, 8000), 8000);
    call.run(Time::secs(1));
    let with = |own: &str, change: &dyn Fn(&mut SessionConfig)| {
        let mut config = SessionConfig::pcmu(Some(own.parse().unwrap()));
        config.filters = given.filters();
        change(&mut config);
        config
    };
    let listens = with(common::A, &|config| config.receive_codecs = vec![G722]);
    call.b.session.update(call.now, &listens).unwrap();
    let speaks = with(common::B, &|config| config.send_codec = G722);
    call.a.session.update(call.now, &speaks).unwrap();
    drop((listens, speaks));
    let at_first = given.held();
    call.run(Time::secs(2));
    assert_eq!(given.held(), [at_first[0] + 1, at_first[1] + 1], "both ends convert");
}

#[test]
fn what_is_played_goes_through_the_filter_that_was_given() {
    let given = Given::new(&[(22_050, 8_000), (22_050, 16_000)]);
    let mut call = Call::new(good(), 1, |_| {});
    given.0.iter().for_each(|bank| call.a.session.add_filter(Arc::clone(bank)));
    let at_first = given.held();
    call.a.play(1, voice(220_500, 22_050), 22_050);
    call.run(Time::secs(1));
    assert_eq!(given.held(), [at_first[0] + 1, at_first[1]]);
    let mut config = SessionConfig::pcmu(Some(common::B.parse().unwrap()));
    config.send_codec = G722;
    call.a.session.update(call.now, &config).unwrap();
    call.run(Time::secs(2));
    assert_eq!(given.held(), [at_first[0], at_first[1] + 1]);
}
