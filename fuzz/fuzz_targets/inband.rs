//! Any audio, in any pieces and at any rate: digits are bounded by its length, and do not depend on the pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomkit_media::dtmf::Digit;
use roomkit_media::dtmf::{InbandDetector, Tone};
use roomkit_media::time::Duration;

fuzz_target!(|input: (u32, u8, Vec<(i16, u8, u16)>)| {
    let (rate, channels, pieces) = input;
    let Ok(mut pieced) = InbandDetector::new(rate, channels) else {
        assert!(channels == 0 || !(8000..=192_000).contains(&rate));
        return;
    };
    let mut whole = InbandDetector::new(rate, channels).expect("it did before");
    let width = usize::from(channels);
    let (mut all, mut digits) = (Vec::new(), Vec::new());
    for (level, key, length) in pieces.into_iter().take(64) {
        let frames = usize::from(length) % 4096;
        let mut pcm = vec![level; frames * width];
        if let Some(digit) = Digit::from_event(key) {
            let span = Duration::from_micros(frames as u64 * 1_000_000 / u64::from(rate));
            Tone::new(digit, span, rate).fill(&mut pcm, channels);
        }
        pieced.process(&pcm);
        digits.extend(core::iter::from_fn(|| pieced.poll()));
        if let Some((from, to)) = pieced.take_suspicion() {
            assert!(from < to);
        }
        all.extend(pcm);
    }
    pieced.finish();
    digits.extend(core::iter::from_fn(|| pieced.poll()));
    whole.process(&all);
    whole.finish();
    let heard: Vec<_> = core::iter::from_fn(|| whole.poll()).collect();
    // The whole keeps a bounded number until it is asked.
    assert_eq!(digits[..heard.len()], heard[..]);
    let length = Duration::from_micros((all.len() / width) as u64 * 1_000_000 / u64::from(rate));
    let mut last = Duration::ZERO;
    for digit in &digits {
        assert!(digit.start >= last && digit.duration >= Duration::from_millis(25));
        assert!(digit.confidence > 0.8 && digit.confidence < 1.0);
        last = digit.start + digit.duration / 2;
    }
    assert!(last <= length + Duration::from_millis(2));
});
