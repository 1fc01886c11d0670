//! Speech is no digit: what Q.24 calls talk-off (or digit simulation), on recorded human voices.
//!
//! The prompts of Debian's `asterisk-core-sounds-*-wav`, one after another. English and Spanish together are almost an hour;
//! a release build hears every other language that is installed too. `cargo test --release -p roomkit-media --test dtmf_talk_off --
//! --nocapture` prints how much that was.

use std::path::{Path, PathBuf};

use roomkit_media::dtmf::InbandDetector;
use roomkit_media::time::Duration;

const SOUNDS: &str = "/usr/share/asterisk/sounds";
const RATE: usize = 8000;
const MARGIN: Duration = Duration::from_millis(40);

#[test]
fn q24_no_digit_is_heard_in_half_an_hour_of_human_speech() {
    let mut files = Vec::new();
    collect(Path::new(SOUNDS), &mut files);
    files.sort();
    let octets: u64 = files.iter().filter_map(|file| file.metadata().ok()).map(|m| m.len()).sum();
    if octets <= 30 * 60 * RATE as u64 * 2 {
        let missing =
            "NOT TESTED: talk-off, less than half an hour of recorded speech is here; to test it: \
             apt install asterisk-core-sounds-en-wav asterisk-core-sounds-es-wav";
        // A test may ask what it must have; the core never does.
        #[allow(clippy::disallowed_methods)]
        let required = std::env::var("ROOMKIT_REQUIRE_PEERS").is_ok_and(|value| value == "1");
        assert!(!required, "{missing}");
        eprintln!("{missing}");
        return;
    }
    let mut detector = InbandDetector::new(RATE as u32, 1).expect("8 kHz fits");
    let (mut samples, mut suspected) = (0, Duration::ZERO);
    let (mut masked, mut masked_until) = (Duration::ZERO, Duration::ZERO);
    let mut false_digits = Vec::new();
    for file in &files {
        if cfg!(debug_assertions) && samples > 45 * 60 * RATE {
            break; // slow to compute, and enough
        }
        let pcm = read_wav(file);
        samples += pcm.len();
        for frame in pcm.chunks(RATE / 50) {
            detector.process(frame);
            if let Some((from, to)) = detector.take_suspicion() {
                suspected += to - from;
                // As a mask silences it: 40 ms before and behind.
                let from = from.saturating_sub(MARGIN).max(masked_until);
                masked_until = masked_until.max(to + MARGIN);
                masked += masked_until - from;
            }
            while let Some(digit) = detector.poll() {
                false_digits.push((file.display().to_string(), digit));
            }
        }
    }
    let minutes = samples as f64 / RATE as f64 / 60.0;
    let share = |span: Duration| span.as_secs_f64() / (minutes * 60.0) * 100.0;
    println!(
        "{minutes:.1} min of speech in {} files: {} digits heard; {:.2} % suspected, {:.2} % masked",
        files.len(),
        false_digits.len(),
        share(suspected),
        share(masked)
    );
    assert!(minutes > 30.0, "only {minutes} minutes of speech are here");
    assert!(false_digits.is_empty(), "{false_digits:#?}");
    // While digits are masked, what is suspected is silenced: a listener must not miss words.
    assert!(share(masked) < 4.0, "{} % of speech would be masked", share(masked));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "wav") {
            files.push(path);
        }
    }
}

/// The samples of a mono 16 bit file at 8 kHz, which all of these are.
fn read_wav(path: &Path) -> Vec<i16> {
    let bytes = std::fs::read(path).expect("it was listed");
    let mut at = 12;
    while let Some(head) = bytes.get(at..at + 8) {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let body = &bytes[at + 8..bytes.len().min(at + 8 + size)];
        match &head[..4] {
            b"fmt " => assert_eq!(body[4..8], 8000_u32.to_le_bytes(), "{}", path.display()),
            b"data" => {
                return body.chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]])).collect()
            }
            _ => {}
        }
        at += 8 + size + size % 2;
    }
    Vec::new()
}
