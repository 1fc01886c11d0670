//! Sends raw speech through Opus with a loss pattern on its packets, for quality measures outside of this crate.
//!
//! `opus_loss RATE BITRATE COMPLEXITY PATTERN {fec|codec|ours|zero} < in.s16 > out.s16`: mono, 16 bit, native byte order,
//! packets of 20 ms. PATTERN is a file of one `0` (received) or `1` (lost) per packet. A lost one is recovered from the
//! next where there is a copy (`fec`), or made up by libopus (`codec`, and `fec` where there is none), by our concealment
//! for other codecs (`ours`), or left silent (`zero`).

use roomkit_media::codec::opus::Settings;
use roomkit_media::codec::CodecSpec;
use roomkit_media::conceal::Concealer;
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, rate, bitrate, complexity, pattern, mode] = &args[..] else {
        return Err("usage: opus_loss RATE BITRATE COMPLEXITY PATTERN MODE < in.s16".into());
    };
    let rate: u32 = rate.parse()?;
    let (bitrate, complexity) = (bitrate.parse()?, complexity.parse()?);
    let settings =
        Settings { bitrate, complexity, inband_fec: mode == "fec", ..Settings::default() };
    let spec = CodecSpec::opus(111, rate, 1, settings);
    let frame = rate as usize / 50;
    let lost: Vec<bool> = std::fs::read(pattern)?.into_iter().map(|c| c == b'1').collect();
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let pcm: Vec<i16> = bytes.chunks_exact(2).map(|b| i16::from_ne_bytes([b[0], b[1]])).collect();

    let mut encoder = spec.encoder();
    let payloads: Vec<Vec<u8>> = pcm
        .chunks_exact(frame)
        .map(|piece| {
            let mut payload = vec![];
            encoder.encode(piece, &mut payload);
            payload
        })
        .collect();
    let is_lost = |n: usize| lost.get(n) == Some(&true);
    let (mut decoder, mut concealer) = (spec.decoder(), Concealer::new(rate, 1));
    let mut heard = vec![];
    for (n, payload) in payloads.iter().enumerate() {
        let at = heard.len();
        if !is_lost(n) {
            decoder.decode(payload, &mut heard)?;
            if mode == "ours" {
                concealer.good(&mut heard[at..]);
            }
            continue;
        }
        let next = payloads.get(n + 1).filter(|_| !is_lost(n + 1));
        match (mode.as_str(), next) {
            ("fec", Some(next)) if decoder.copied_before(next) == frame => {
                decoder.recover(next, frame, &mut heard);
            }
            ("fec" | "codec", _) => {
                decoder.conceal(frame, &mut heard);
            }
            ("ours", _) => {
                heard.resize(at + frame, 0);
                concealer.conceal(&mut heard[at..]);
            }
            _ => heard.resize(at + frame, 0),
        }
    }
    let out: Vec<u8> = heard.iter().flat_map(|s| s.to_ne_bytes()).collect();
    std::io::stdout().write_all(&out)?;
    Ok(())
}
