//! Payloads of comfort noise, one after another: noise of any description stays finite, and once it has been described by
//! a level alone, that level is met.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomkit_media::comfort_noise::{NoiseGenerator, NoiseShape};

fuzz_target!(|payloads: Vec<Vec<u8>>| {
    let mut generator = NoiseGenerator::new(1);
    for payload in payloads.iter().take(20) {
        let Ok(shape) = NoiseShape::parse(payload) else {
            assert!(payload.is_empty() || payload.len() > 64 || payload[1..].contains(&255));
            continue;
        };
        assert!(shape.level <= 127 && shape.coefficients().len() <= 12);
        assert!(shape.coefficients().iter().all(|k| k.abs() < 1.0));
        generator.describe(shape);
        let mut out = [0i16; 320];
        generator.add_to(&mut out, 1 + payload[0] % 2);
    }
    // What a filter rings on with is over after a while, whatever it was.
    generator.describe(NoiseShape::white(60));
    let mut out = vec![0i16; 8000];
    generator.add_to(&mut out, 1);
    let power = out[4000..].iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 4000.0;
    assert!((25.0..42.0).contains(&power.sqrt()), "{}: 32.8 is -60 dBov", power.sqrt());
});
