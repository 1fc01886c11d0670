//! The resampler's figures, measured with tones: pass band, stop band and delay. They are the ones its documentation
//! states; `--nocapture` prints them.

use roomkit_media::resample::{Bank, Resampler};
use std::f64::consts::TAU;
use std::sync::Arc;

const AMPLITUDE: f64 = 12_000.0;

/// What became of a tone: how much of it came out as itself, and how much as anything else (aliases, images, noise).
struct Tone {
    gain_db: f64,
    spurious_db: f64,
    delay_ms: f64,
}

fn tone(bank: &Arc<Bank>, hz: f64) -> Tone {
    let (from, to) = bank.rates();
    let pcm: Vec<i16> = (0..from / 4)
        .map(|n| (AMPLITUDE * (TAU * hz * f64::from(n) / f64::from(from)).sin()).round() as i16)
        .collect();
    let mut out = vec![];
    Resampler::with_bank(bank.clone(), 1).unwrap().process(&pcm, &mut out);
    // Skip what the filter's start disturbs; 0.2 s holds a whole number of periods of every multiple of 5 Hz.
    let start = to as usize / 50;
    let settled = &out[start..][..to as usize / 5];
    let waves: Vec<(f64, f64)> = (start..start + settled.len())
        .map(|i| (TAU * hz * i as f64 / f64::from(to)).sin_cos())
        .collect();
    let half = settled.len() as f64 / 2.0;
    let (mut in_phase, mut quadrature) = (0.0, 0.0);
    for (&s, (sin, cos)) in settled.iter().zip(&waves) {
        in_phase += f64::from(s) * sin / half;
        quadrature += f64::from(s) * cos / half;
    }
    // Above the output's Nyquist frequency nothing that comes out is the tone itself.
    let itself = if hz < f64::from(to) / 2.0 { 1.0 } else { 0.0 };
    let rest: f64 = settled
        .iter()
        .zip(&waves)
        .map(|(&s, (sin, cos))| {
            (f64::from(s) - itself * (in_phase * sin + quadrature * cos)).powi(2)
        })
        .sum();
    let db = |amplitude: f64| 20.0 * (amplitude / AMPLITUDE).log10();
    Tone {
        gain_db: db(in_phase.hypot(quadrature)),
        spurious_db: db((rest / half).sqrt()),
        delay_ms: -quadrature.atan2(in_phase) / (TAU * hz) * 1e3,
    }
}

/// Both directions over all pairs of audio rates: the lower rate decides what must pass and what must not. Without
/// optimisation this is slow, and the pairs with the telephone's rate have to do.
fn pairs() -> impl Iterator<Item = (u32, u32)> {
    let rates = [8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
    rates
        .into_iter()
        .flat_map(move |a| rates.into_iter().map(move |b| (a, b)))
        .filter(|(a, b)| a != b && (!cfg!(debug_assertions) || *a.min(b) == 8000))
}

fn sweep(from_hz: f64, to_hz: f64, steps: u32) -> impl Iterator<Item = f64> {
    (0..=steps).map(move |k| {
        let hz = from_hz + (to_hz - from_hz) * f64::from(k) / f64::from(steps);
        (hz / 5.0).round() * 5.0
    })
}

#[test]
fn the_pass_band_is_flat_the_stop_band_is_50_db_down_and_the_delay_is_a_millisecond() {
    println!("from     to     pass band ±dB   stop band dB   images dB   delay ms");
    for (from, to) in pairs() {
        let bank = Arc::new(Bank::new(from, to).unwrap());
        let nyquist = f64::from(from.min(to)) / 2.0;
        let pass = sweep(100.0, nyquist - 600.0, 24).map(|hz| tone(&bank, hz));
        let (mut ripple, mut images) = (0.0f64, f64::MIN);
        for tone in pass {
            ripple = ripple.max(tone.gain_db.abs());
            images = images.max(tone.spurious_db);
        }
        // What lies above the output's Nyquist frequency can only come out as an alias. Going up there is nothing to
        // alias, and the images of the pass band, measured above, are what the stop band has to hold down.
        let aliases = if to < from {
            sweep(nyquist + 600.0, f64::from(from) / 2.0 - 50.0, 60)
                .map(|hz| tone(&bank, hz).spurious_db)
                .fold(f64::MIN, f64::max)
        } else {
            images
        };
        let delay = tone(&bank, 200.0).delay_ms;
        println!("{from:6} {to:6} {ripple:12.2} {aliases:15.1} {images:12.1} {delay:10.3}");
        assert!(ripple <= 0.5, "{from} to {to}: {ripple} dB");
        assert!(aliases <= -50.0, "{from} to {to}: alias {aliases} dB");
        assert!(images <= -50.0, "{from} to {to}: image {images} dB");
        let stated = Resampler::new(from, to, 1).unwrap().delay().as_secs_f64() * 1e3;
        assert!((delay - stated).abs() < 0.002, "{from} to {to}: {delay} ms, stated {stated}");
        assert!((1.0..1.2).contains(&delay));
    }
}

#[test]
fn a_ratio_of_more_phases_than_are_stored_is_as_clean() {
    for (from, to) in [(8000, 44_101), (44_101, 8000), (47_999, 48_000)] {
        let bank = Arc::new(Bank::new(from, to).unwrap());
        for hz in [300.0, 1000.0, 3400.0] {
            let tone = tone(&bank, hz);
            println!(
                "{from} to {to} at {hz} Hz: {:.2} dB, spurious {:.1} dB",
                tone.gain_db, tone.spurious_db
            );
            assert!(tone.gain_db.abs() < 0.5 && tone.spurious_db < -50.0);
        }
    }
}

#[test]
fn between_the_bands_the_response_falls_without_a_bump() {
    let bank = Arc::new(Bank::new(48_000, 8000).unwrap());
    let at = |hz| tone(&bank, hz);
    println!(
        "48000 to 8000 Hz: {:.2} dB at 3400 Hz, {:.2} dB at 3995 Hz",
        at(3400.0).gain_db,
        at(3995.0).gain_db
    );
    let alias: Vec<f64> = sweep(4000.0, 4600.0, 12).map(|hz| at(hz).spurious_db).collect();
    println!("aliases from 4.0 to 4.6 kHz: {alias:.1?} dB");
    assert!(alias.windows(2).skip(1).all(|w| w[1] < w[0] + 0.1));
}
