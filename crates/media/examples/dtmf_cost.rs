//! Prints what it costs to listen for digits in a frame of 20 ms, in nanoseconds.
//!
//! `cargo run --release -p roomkit-media --example dtmf_cost`. Each figure is the least mean of several rounds, which is what
//! the work costs when nothing else disturbs it. A tone is the dearest: every window of it is fitted. Speech costs little
//! more than silence, since few of its windows are worth a closer look.

// An example is a program of its own: it may read the clock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use roomkit_media::dtmf::{Digit, InbandDetector, Tone};
use roomkit_media::time::Duration;
use std::hint::black_box;
use std::time::Instant;

/// Audio that is gone through in each round: ten seconds.
const FRAMES: usize = 500;

fn main() {
    for rate in [8000, 16_000, 48_000] {
        let frame = rate as usize / 50;
        let voice = voice(rate);
        let mut keys = vec![0; voice.len()];
        // A key of 60 ms every 120 ms, as an autodialler sends them.
        for (n, piece) in keys.chunks_mut(frame * 6).enumerate() {
            let digit = Digit::from_event(n as u8 % 16).expect("sixteen keys");
            Tone::new(digit, Duration::from_millis(60), rate).fill(piece, 1);
        }
        let silence = vec![0; voice.len()];
        for (name, pcm) in [("silence", &silence), ("voice", &voice), ("keys", &keys)] {
            println!("{rate:5} Hz {name:8} {:6.0} ns a frame", cost(rate, pcm));
        }
    }
}

/// The least mean over several rounds, per frame.
fn cost(rate: u32, pcm: &[i16]) -> f64 {
    let mut detector = InbandDetector::new(rate, 1).expect("a rate that fits");
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let began = Instant::now();
        for frame in pcm.chunks(rate as usize / 50) {
            detector.process(black_box(frame));
            while detector.poll().is_some() {}
        }
        best = best.min(began.elapsed().as_nanos() as f64 / FRAMES as f64);
    }
    best
}

/// Something like a voice: a dozen harmonics of a pitch that glides.
fn voice(rate: u32) -> Vec<i16> {
    let mut phase = 0.0_f64;
    (0..rate as usize * FRAMES / 50)
        .map(|n| {
            let t = n as f64 / f64::from(rate);
            phase += (140.0 + 40.0 * (t * 1.7).sin()) * std::f64::consts::TAU / f64::from(rate);
            let sum: f64 = (1..=12).map(|k| (phase * f64::from(k)).sin() / f64::from(k)).sum();
            (6000.0 * (0.6 + 0.4 * (t * 9.0).sin()) * sum) as i16
        })
        .collect()
}
