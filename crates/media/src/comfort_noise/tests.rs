use super::*;
use proptest::prelude::*;

fn noise(payload: &[u8], samples: usize) -> Vec<i16> {
    let mut generator = NoiseGenerator::new(7);
    generator.describe(NoiseShape::parse(payload).unwrap());
    let mut out = vec![0; samples];
    generator.add_to(&mut out, 1);
    out
}

/// The level in dBov: of a square wave at the overload point it is 0.
fn dbov(pcm: &[i16]) -> f64 {
    let power: f64 = pcm.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / pcm.len() as f64;
    10.0 * (power / 32_768f64.powi(2)).log10()
}

/// The correlation of neighbours: 0 for white noise, towards 1 the duller it is, towards −1 the sharper.
fn neighbours(pcm: &[i16]) -> f64 {
    let product = |pair: &[i16]| f64::from(pair[0]) * f64::from(pair[1]);
    let power: f64 = pcm.iter().map(|s| f64::from(*s).powi(2)).sum();
    pcm.windows(2).map(product).sum::<f64>() / power
}

#[test]
fn rfc3389_3_1_the_level_octet_is_minus_dbov() {
    assert!((dbov(&[i16::MIN, i16::MAX].repeat(100))).abs() < 0.01, "the measure itself");
    for level in [10, 20, 40, 60, 70] {
        let measured = dbov(&noise(&[level], 80_000));
        assert!((measured + f64::from(level)).abs() < 1.0, "-{level} dBov is {measured}");
    }
}

#[test]
fn rfc3389_3_1_the_most_significant_bit_is_unused_and_127_is_silence() {
    assert_eq!(NoiseShape::parse(&[0x80 | 40]), NoiseShape::parse(&[40]));
    assert!(noise(&[127], 8000).iter().all(|s| *s == 0));
    assert!(noise(&[127, 200, 30], 8000).iter().all(|s| *s == 0));
}

#[test]
fn rfc3389_3_2_the_spectrum_is_used_and_does_not_change_the_level() {
    // -0.9 and 0.9 in steps of 258/32768, and a pair that makes a hump in the middle.
    for (indices, lowest, highest) in
        [(&[13u8][..], 0.85, 0.95), (&[241], -0.95, -0.85), (&[127, 220], -0.1, 0.1)]
    {
        let mut payload = vec![40];
        payload.extend_from_slice(indices);
        let made = noise(&payload, 160_000);
        assert!((dbov(&made) + 40.0).abs() < 1.0, "{indices:?}: {}", dbov(&made));
        let correlation = neighbours(&made);
        assert!((lowest..highest).contains(&correlation), "{indices:?}: {correlation}");
    }
    assert!(neighbours(&noise(&[40], 160_000)).abs() < 0.02, "without a spectrum it is white");
}

#[test]
fn rfc3389_3_2_index_127_is_no_correlation_and_the_ends_are_nearly_one() {
    assert_eq!(dequantized(127), 0.0);
    assert!((dequantized(128) - 258.0 / 32_768.0).abs() < 1e-6);
    assert_eq!(dequantized(0), -MAX_COEFFICIENT);
    assert_eq!(dequantized(254), MAX_COEFFICIENT);
}

#[test]
fn rfc3389_3_coefficients_of_higher_order_than_we_have_are_left_out() {
    let shape = NoiseShape::parse(&[50; 30]).unwrap();
    assert_eq!(shape.coefficients().len(), MAX_ORDER);
}

#[test]
fn what_describes_no_noise_is_refused_by_its_reason() {
    assert_eq!(NoiseShape::parse(&[]), Err(BadNoise::Empty));
    assert_eq!(NoiseShape::parse(&[40, 255]), Err(BadNoise::Reserved));
    assert!(NoiseShape::parse(&[40; 64]).is_ok());
    assert_eq!(NoiseShape::parse(&[40; 65]), Err(BadNoise::Long));
}

#[test]
fn a_new_level_glides_and_the_first_after_an_end_does_not() {
    let mut generator = NoiseGenerator::new(1);
    let mut out = [0i16; 400];
    generator.describe(NoiseShape::white(20));
    generator.add_to(&mut out[..100], 1);
    assert!((dbov(&out[..100]) + 20.0).abs() < 2.0, "at once");
    generator.describe(NoiseShape::white(60));
    generator.add_to(&mut out[100..110], 1);
    assert!(dbov(&out[100..110]) > -25.0, "no step");
    out.fill(0);
    for _ in 0..10 {
        generator.add_to(&mut out, 1);
    }
    out.fill(0);
    generator.add_to(&mut out, 1);
    assert!((dbov(&out) + 60.0).abs() < 2.0, "{}", dbov(&out));
    generator.end();
    out.fill(0);
    generator.add_to(&mut out, 1);
    assert!(out.iter().all(|s| *s == 0) && !generator.is_on());
}

#[test]
fn what_rang_before_an_end_does_not_ring_on_behind_it() {
    // A resonance as loud as can be, and after it the softest noise of the same spectrum.
    let mut generator = NoiseGenerator::new(7);
    generator.describe(NoiseShape::parse(&[0, 255 - 1, 255 - 1]).unwrap());
    generator.add_to(&mut vec![0; 8000], 1);
    generator.end();
    generator.describe(NoiseShape::parse(&[70, 255 - 1, 255 - 1]).unwrap());
    let mut out = vec![0; 160];
    generator.add_to(&mut out, 1);
    // −70 dBov is a root mean square of 10.
    assert!(out.iter().all(|s| s.unsigned_abs() < 60), "{out:?}");
}

#[test]
fn noise_that_became_silence_is_zero_and_not_ever_smaller_numbers() {
    let spectrum = [60, 150, 110, 140, 120, 135, 125, 130, 128, 126];
    let described = |level: u8| NoiseShape::parse(&[&[level], &spectrum[..]].concat()).unwrap();
    let mut generator = NoiseGenerator::new(7);
    generator.describe(described(20));
    generator.add_to(&mut vec![0; 8000], 1);
    generator.describe(described(127));
    // In frames, as it is asked for.
    for _ in 0..200 {
        generator.add_to(&mut [0; 160], 1);
    }
    assert_eq!((generator.level, generator.state), (0.0, [0.0; MAX_ORDER]));
    // And it comes back as it was.
    generator.describe(described(20));
    let mut out = vec![0; 16_000];
    generator.add_to(&mut out, 1);
    assert!((dbov(&out[8000..]) + 20.0).abs() < 1.5, "{}", dbov(&out[8000..]));
}

#[test]
fn every_channel_has_the_same_noise_and_the_same_seed_makes_it_again() {
    let make = || {
        let mut generator = NoiseGenerator::new(3);
        generator.describe(NoiseShape::white(30));
        let mut out = vec![0i16; 320];
        generator.add_to(&mut out, 2);
        out
    };
    assert_eq!(make(), make());
    assert!(make().chunks(2).all(|frame| frame[0] == frame[1]));
    assert!(make().iter().any(|sample| *sample != 0));
}

#[test]
fn what_we_send_is_what_we_read() {
    for level in 0..=127 {
        let shape = NoiseShape::white(level);
        assert_eq!(NoiseShape::parse(&shape.level_payload()), Ok(shape));
    }
}

proptest! {
    #[test]
    fn any_payload_is_refused_or_makes_noise_of_its_level_that_stays_in_bounds(
        payload in proptest::collection::vec(any::<u8>(), 0..80)
    ) {
        let Ok(shape) = NoiseShape::parse(&payload) else { return Ok(()) };
        prop_assert!(shape.coefficients().iter().all(|k| k.abs() < 1.0));
        let mut generator = NoiseGenerator::new(1);
        generator.describe(shape);
        let mut out = vec![0i16; 4000];
        generator.add_to(&mut out, 1);
        prop_assert!(generator.state.iter().all(|s| s.is_finite()));
        prop_assert!(generator.level.is_finite());
    }
}
