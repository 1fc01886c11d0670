//! Speech is no digit: what Q.24 calls talk-off (or digit simulation), on recorded human voices, as they are and as
//! codecs that do not keep the shape of a wave leave them.
//!
//! The prompts of Debian's `asterisk-core-sounds-*-wav`, one after another. English and Spanish together are almost an hour;
//! a release build hears every other language that is installed too. `cargo test --release -p roomkit-media --test dtmf_talk_off --
//! --nocapture` prints how much that was.

use std::path::{Path, PathBuf};

use roomkit_media::codec::opus::Settings;
use roomkit_media::codec::CodecSpec;
use roomkit_media::dtmf::InbandDetector;
use roomkit_media::time::Duration;

const SOUNDS: &str = "/usr/share/asterisk/sounds";
const RATE: usize = 8000;
const MARGIN: Duration = Duration::from_millis(40);

#[test]
fn q24_no_digit_is_heard_in_half_an_hour_of_human_speech() {
    let mut files = Vec::new();
    collect(Path::new(SOUNDS), "wav", &mut files);
    files.sort();
    let octets: u64 = files.iter().filter_map(|file| file.metadata().ok()).map(|m| m.len()).sum();
    if octets <= 30 * 60 * RATE as u64 * 2 {
        let missing =
            "NOT TESTED: talk-off, less than half an hour of recorded speech is here; to test it: \
             apt install asterisk-core-sounds-en-wav asterisk-core-sounds-es-wav";
        assert!(!peers_are_required(), "{missing}");
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

/// Prompts in G.722, decoded, and then once more through Opus. A release build hears all of them at every rate; a debug build
/// a quarter of them, each at one.
#[test]
fn q24_no_digit_is_heard_in_speech_that_g722_or_opus_has_coded() {
    const RATES: [u32; 5] = [6000, 8000, 12_000, 24_000, 40_000];
    const WIDE: usize = 16_000;
    let mut files = Vec::new();
    collect(Path::new(SOUNDS), "g722", &mut files);
    files.sort();
    if files.len() < 500 {
        let missing = "NOT TESTED: talk-off of coded speech; to test it: apt install \
                       asterisk-core-sounds-en-g722";
        assert!(!peers_are_required(), "{missing}");
        eprintln!("{missing}");
        return;
    }
    let mut detectors = vec![InbandDetector::new(WIDE as u32, 1).expect("16 kHz fits"); 6];
    let opus = |bitrate| {
        let settings = Settings { bitrate, ..Settings::default() };
        CodecSpec::opus(111, WIDE as u32, 1, settings)
    };
    let mut codecs = RATES.map(|rate| (opus(rate).encoder(), opus(rate).decoder()));
    let mut wide = CodecSpec::G722.decoder();
    let (mut samples, mut false_digits) = (0, Vec::new());
    let part = if cfg!(debug_assertions) { 4 } else { 1 };
    for (n, file) in files.iter().step_by(part).enumerate() {
        let bytes = std::fs::read(file).expect("it was listed");
        let mut pcm = Vec::new();
        wide.decode(&bytes[..bytes.len() / 160 * 160], &mut pcm).expect("any octets are G.722");
        samples += pcm.len();
        detectors[RATES.len()].process(&pcm);
        for (k, (encoder, decoder)) in codecs.iter_mut().enumerate() {
            if cfg!(debug_assertions) && n % RATES.len() != k {
                continue;
            }
            let mut coded = Vec::new();
            for frame in pcm.chunks_exact(WIDE / 50) {
                let mut payload = Vec::new();
                encoder.encode(frame, &mut payload);
                decoder.decode(&payload, &mut coded).expect("a packet of our own");
            }
            detectors[k].process(&coded);
        }
        for (k, detector) in detectors.iter_mut().enumerate() {
            while let Some(digit) = detector.poll() {
                false_digits.push((file.display().to_string(), RATES.get(k), digit));
            }
        }
    }
    let minutes = samples as f64 / WIDE as f64 / 60.0;
    println!(
        "{minutes:.1} min of G.722 in {} files: {} digits heard",
        files.len(),
        false_digits.len()
    );
    assert!(minutes > 20.0 / part as f64, "only {minutes} minutes of speech are here");
    assert!(false_digits.is_empty(), "{false_digits:#?}");
}

// A test may ask what it must have; the core never does.
#[allow(clippy::disallowed_methods)]
fn peers_are_required() -> bool {
    std::env::var("ROOMKIT_REQUIRE_PEERS").is_ok_and(|value| value == "1")
}

fn collect(folder: &Path, kind: &str, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, kind, files);
        } else if path.extension().is_some_and(|e| e == kind) {
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
