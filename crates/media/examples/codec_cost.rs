//! Prints what a 20 ms frame costs, in nanoseconds, for each part of the sample path.
//!
//! `cargo run --release -p roomkit-media --example codec_cost`. Each figure is the least mean of several rounds, which
//! is what the work costs when nothing else disturbs it.

// An example is a program of its own: it may read the clock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use roomkit_media::codec::{CodecKind, CodecSpec};
use roomkit_media::conceal::Concealer;
use roomkit_media::resample::Resampler;
use std::hint::black_box;
use std::time::Instant;

fn main() {
    for spec in [
        CodecSpec::PCMU,
        CodecSpec::PCMA,
        CodecSpec::G722,
        CodecSpec::l16(96, 8000, 1),
        CodecSpec::l16(96, 48_000, 2),
    ] {
        let pcm = speech_like(spec.sample_rate, spec.channels);
        let (mut encoder, mut decoder) = (spec.encoder(), spec.decoder());
        let (mut wire, mut out) = (vec![], vec![]);
        let encode = cost(|| {
            wire.clear();
            encoder.encode(black_box(&pcm), &mut wire);
        });
        let decode = cost(|| {
            out.clear();
            decoder.decode(black_box(&wire), &mut out).expect("it was just encoded");
        });
        let name = match spec.kind {
            CodecKind::L16 => format!("L16 {} Hz, {} ch", spec.sample_rate, spec.channels),
            _ => spec.name().to_string(),
        };
        println!("{name:24} encode {encode:7.0} ns   decode {decode:7.0} ns");
    }
    for (from, to) in
        [(8000, 16_000), (16_000, 8000), (8000, 48_000), (48_000, 8000), (44_100, 8000)]
    {
        let pcm = speech_like(from, 1);
        let mut resampler = Resampler::new(from, to, 1).expect("the rates are in range");
        let mut out = vec![];
        let each = cost(|| {
            out.clear();
            resampler.process(black_box(&pcm), &mut out);
        });
        println!("resample {from:5} to {to:5} Hz   {each:7.0} ns");
    }
    for (rate, channels) in [(8000, 1), (16_000, 1), (48_000, 2)] {
        let mut frame = speech_like(rate, channels);
        let mut concealer = Concealer::new(rate, channels);
        let good = cost(|| concealer.good(black_box(&mut frame)));
        // Every loss here is a new one, with its pitch search, and the good frame after it with its cross-fade.
        let pair = cost(|| {
            concealer.conceal(black_box(&mut frame));
            concealer.good(black_box(&mut frame));
        });
        println!("conceal {rate:5} Hz, {channels} ch      good {good:7.0} ns   lost and good {pair:7.0} ns");
    }
}

/// 20 ms of a 180 Hz tone with overtones, interleaved.
fn speech_like(rate: u32, channels: u8) -> Vec<i16> {
    (0..rate / 50)
        .flat_map(|n| {
            let turn = std::f64::consts::TAU * 180.0 * f64::from(n) / f64::from(rate);
            let sample = (6000.0 * (turn.sin() + 0.5 * (3.0 * turn).sin())) as i16;
            std::iter::repeat_n(sample, usize::from(channels))
        })
        .collect()
}

fn cost(mut work: impl FnMut()) -> f64 {
    const FRAMES: u32 = 2000;
    let round = |work: &mut dyn FnMut()| {
        let begin = Instant::now();
        (0..FRAMES).for_each(|_| work());
        begin.elapsed().as_nanos() as f64 / f64::from(FRAMES)
    };
    (0..10).map(|_| round(&mut work)).fold(f64::MAX, f64::min)
}
