//! What the beginnings of a call cost: µs to make each part, the median of many and the most.
//!
//! `cargo run --release -p roomkit-media --example beginnings`. What takes more than some 200 µs must not be made on a media
//! thread, where every other call waits for it: that is the filters between rates that have little in common.

// An example is a program of its own: it may read the clock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::hint::black_box;
use std::time::Instant;

use roomkit_media::codec::opus::Settings;
use roomkit_media::codec::{CodecKind, CodecSpec};
use roomkit_media::dtmf::InbandDetector;
use roomkit_media::resample::Bank;
use roomkit_media::session::{Session, SessionConfig};
use roomkit_media::srtp::{MasterKey, Srtp, SrtpConfig, Suite};
use roomkit_media::time::Time;

fn main() {
    for (from, to) in [
        (16_000, 8_000),
        (24_000, 8_000),
        (22_050, 8_000),
        (44_100, 48_000),
        (8_000, 191_999),
        (191_999, 192_000),
    ] {
        time(&format!("filter from {from} to {to} Hz"), || Bank::new(from, to).unwrap());
    }
    time("listening for digits at 48 kHz", || InbandDetector::new(48_000, 1).unwrap());
    let opus = CodecSpec {
        kind: CodecKind::Opus(Settings::default()),
        payload_type: 111,
        clock_rate: 48_000,
        sample_rate: 48_000,
        channels: 2,
    };
    for (name, spec) in [("G.722", CodecSpec::G722), ("Opus", opus)] {
        time(&format!("{name} encoder"), || spec.encoder());
        time(&format!("{name} decoder"), || spec.decoder());
    }
    for suite in ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"] {
        srtp(suite);
    }
    let far = Some("192.0.2.1:20000".parse().unwrap());
    time("a session", || Session::new(SessionConfig::pcmu(far), Time::ZERO, 7).unwrap());
}

/// Keys to begin with, as many as there may be, and others in mid-call.
fn srtp(name: &str) {
    let suite = Suite::named(name).expect("its name");
    let key = |fill| {
        let secret = vec![fill; suite.key_len() + suite.salt_len()];
        MasterKey::new(suite, &secret, &[], None).expect("it has the suite's length")
    };
    let configs = [1, 2].map(|fill| SrtpConfig { send: key(fill), receive: vec![key(fill); 16] });
    time(&format!("keys of {name}"), || Srtp::new(&configs[0]));
    let mut srtp = Srtp::new(&configs[0]);
    let mut times = 0;
    time(&format!("other keys of {name}"), || {
        times += 1;
        srtp.rekey(Time::ms(times), &configs[times as usize % 2]);
    });
}

fn time<T>(what: &str, mut make: impl FnMut() -> T) {
    let mut took: Vec<f64> = (0..200)
        .map(|_| {
            let start = Instant::now();
            black_box(make());
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    took.sort_by(f64::total_cmp);
    println!("{what:40} {:9.1}   at most {:9.1}", took[took.len() / 2], took[took.len() - 1]);
}
