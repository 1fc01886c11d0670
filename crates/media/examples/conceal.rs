//! Puts a loss pattern on raw speech and conceals it, for quality measures outside of this crate.
//!
//! `conceal RATE FRAME_MS PATTERN {plc|zero} < in.s16 > out.s16`: mono, 16 bit, native byte order. PATTERN is a file of
//! one `0` (received) or `1` (lost) per frame; frames past its end are received.

use roomkit_media::conceal::Concealer;
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, rate, frame_ms, pattern, mode] = &args[..] else {
        return Err("usage: conceal RATE FRAME_MS PATTERN {plc|zero} < in.s16 > out.s16".into());
    };
    let rate: u32 = rate.parse()?;
    let frame = (rate * frame_ms.parse::<u32>()? / 1000) as usize;
    let mut lost = std::fs::read(pattern)?.into_iter().map(|c| c == b'1');
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let mut pcm: Vec<i16> =
        bytes.chunks_exact(2).map(|b| i16::from_ne_bytes([b[0], b[1]])).collect();

    let mut concealer = Concealer::new(rate, 1);
    for piece in pcm.chunks_mut(frame) {
        match (lost.next() == Some(true), mode.as_str()) {
            (true, "zero") => piece.fill(0),
            (true, _) => concealer.conceal(piece),
            (false, "zero") => {}
            (false, _) => concealer.good(piece),
        }
    }
    let out: Vec<u8> = pcm.iter().flat_map(|s| s.to_ne_bytes()).collect();
    std::io::stdout().write_all(&out)?;
    Ok(())
}
