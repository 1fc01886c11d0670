//! A stream of payloads, decoded as Opus with losses between them: what a packet announces is what it decodes to, and
//! nothing that is made up or recovered is longer or shorter than it was asked for.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use roomkit_media::codec::opus::{Packet, Settings};
use roomkit_media::codec::CodecSpec;

#[derive(Arbitrary, Debug)]
struct Step<'a> {
    payload: &'a [u8],
    /// Samples made up before it, and whether they are taken from its copy.
    missing: u16,
    recovers: bool,
}

fuzz_target!(|input: (u8, Vec<Step<'_>>)| {
    let (format, steps) = input;
    let rate = [8000, 12_000, 16_000, 24_000, 48_000][usize::from(format >> 1) % 5];
    let spec = CodecSpec::opus(111, rate, 1 + (format & 1), Settings::default());
    let channels = usize::from(spec.channels);
    let mut decoder = spec.decoder();
    for step in steps.iter().take(32) {
        let mut out = vec![];
        let missing = usize::from(step.missing) % 3000 + 1;
        let copied = decoder.copied_before(step.payload);
        if step.recovers && copied > 0 {
            let missing = missing.min(copied);
            decoder.recover(step.payload, missing, &mut out);
            assert_eq!(out.len(), missing * channels);
        } else {
            assert!(decoder.conceal(missing, &mut out));
            assert_eq!(out.len(), missing * channels);
        }
        out.clear();
        let announced = spec.samples_in(step.payload);
        let decoded = decoder.decode(step.payload, &mut out);
        assert_eq!(announced.is_ok(), decoded.is_ok(), "{announced:?} {decoded:?}");
        assert_eq!(out.len(), announced.unwrap_or(0) * channels);
        if let Ok(packet) = Packet::parse(step.payload) {
            assert!(packet.samples() <= 5760);
            let octets: usize = packet.frames().iter().map(|frame| frame.len()).sum();
            assert!(octets < step.payload.len());
        }
    }
});
