//! What each codec costs per 20 ms of speech, and libopus called directly beside it.
//!
//! `cargo run --release -p roomkit-opus --example codecs [FILE]`: FILE is raw PCM (s16le, 48 kHz, mono), by default
//! something like speech. All are measured in turn, round after round; the medians of the rounds are printed, in µs.

use opusic_sys as c;
use roomkit_media::codec::opus::Settings;
use roomkit_media::codec::{CodecSpec, Decoder, Encoder};
use roomkit_media::resample::Resampler;
use std::hint::black_box;
use std::time::Instant;

/// Rounds of two seconds of audio each.
const ROUNDS: usize = 40;
const FRAMES: usize = 100;

/// One codec, ours or not: encodes and decodes a frame.
trait Contender {
    fn encode(&mut self, pcm: &[i16], payload: &mut Vec<u8>);
    fn decode(&mut self, payload: &[u8], pcm: &mut Vec<i16>);
}

struct Ours(Box<dyn Encoder>, Box<dyn Decoder>);

impl Contender for Ours {
    fn encode(&mut self, pcm: &[i16], payload: &mut Vec<u8>) {
        self.0.encode(pcm, payload);
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut Vec<i16>) {
        self.1.decode(payload, pcm).expect("it was just encoded");
    }
}

/// libopus without anything of ours around it, with the same settings.
struct Direct {
    encoder: *mut c::OpusEncoder,
    decoder: *mut c::OpusDecoder,
    channels: usize,
}

impl Direct {
    fn new(rate: u32, channels: u8, settings: &Settings) -> Direct {
        let (rate, count) = (rate as i32, i32::from(channels));
        let mut error = 0;
        // SAFETY: the arguments are those libopus documents, each request takes one int, and `error` outlives the calls.
        unsafe {
            let application = c::OPUS_APPLICATION_VOIP;
            let encoder = c::opus_encoder_create(rate, count, application, &mut error);
            let decoder = c::opus_decoder_create(rate, count, &mut error);
            assert!(!encoder.is_null() && !decoder.is_null());
            for (request, value) in [
                (c::OPUS_SET_SIGNAL_REQUEST, c::OPUS_SIGNAL_VOICE),
                (c::OPUS_SET_BITRATE_REQUEST, settings.bitrate as i32),
                (c::OPUS_SET_COMPLEXITY_REQUEST, i32::from(settings.complexity)),
                (c::OPUS_SET_INBAND_FEC_REQUEST, i32::from(settings.inband_fec)),
                (c::OPUS_SET_PACKET_LOSS_PERC_REQUEST, i32::from(settings.expected_loss)),
            ] {
                assert_eq!(c::opus_encoder_ctl(encoder, request, value), c::OPUS_OK);
            }
            Direct { encoder, decoder, channels: usize::from(channels) }
        }
    }
}

impl Contender for Direct {
    fn encode(&mut self, pcm: &[i16], payload: &mut Vec<u8>) {
        payload.resize(1300, 0);
        let frames = (pcm.len() / self.channels) as i32;
        // SAFETY: a live encoder, `frames` samples of each channel, and room for 1300 octets.
        let size = unsafe {
            c::opus_encode(self.encoder, pcm.as_ptr(), frames, payload.as_mut_ptr(), 1300)
        };
        payload.truncate(size as usize);
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut Vec<i16>) {
        pcm.resize(5760 * self.channels, 0);
        // SAFETY: a live decoder, the octets of a packet, and room for 120 ms of each channel.
        let samples = unsafe {
            let (octets, length) = (payload.as_ptr(), payload.len() as i32);
            c::opus_decode(self.decoder, octets, length, pcm.as_mut_ptr(), 5760, 0)
        };
        pcm.truncate(samples as usize * self.channels);
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        // SAFETY: both came of their `create`, and nobody else has them.
        unsafe {
            c::opus_encoder_destroy(self.encoder);
            c::opus_decoder_destroy(self.decoder);
        }
    }
}

struct Entry {
    name: String,
    contender: Box<dyn Contender>,
    /// Samples of a frame over all channels, and two seconds of them.
    frame: usize,
    pcm: Vec<i16>,
    encode: Vec<f64>,
    decode: Vec<f64>,
    octets: usize,
}

fn main() {
    let speech = match std::env::args().nth(1) {
        Some(path) => read(&path),
        None => speech_like(),
    };
    let ours = |spec: CodecSpec| Ours(spec.encoder(), spec.decoder());
    let mut entries = vec![];
    let mut add = |name: &str, rate: u32, channels: u8, contender: Box<dyn Contender>| {
        let pcm = at_rate(&speech, rate, channels);
        let frame = rate as usize / 50 * usize::from(channels);
        let (encode, decode) = (vec![], vec![]);
        entries.push(Entry { name: name.into(), contender, frame, pcm, encode, decode, octets: 0 });
    };
    add("PCMU", 8000, 1, Box::new(ours(CodecSpec::PCMU)));
    add("PCMA", 8000, 1, Box::new(ours(CodecSpec::PCMA)));
    add("G.722", 16_000, 1, Box::new(ours(CodecSpec::G722)));
    for (rate, channels) in [(16_000, 1), (44_100, 1), (48_000, 2)] {
        let name = format!("L16/{rate}/{channels}");
        add(&name, rate, channels, Box::new(ours(CodecSpec::l16(96, rate, channels))));
    }
    for (rate, channels, bitrate, complexity) in [
        (48_000, 1, 40_000, 5),
        (48_000, 1, 40_000, 10),
        (48_000, 2, 60_000, 5),
        (16_000, 1, 24_000, 5),
        (16_000, 1, 24_000, 10),
        (8000, 1, 12_000, 5),
    ] {
        let settings = Settings { bitrate, complexity, ..Settings::default() };
        let name = format!("Opus {rate}/{channels}, {bitrate} bit/s, complexity {complexity}");
        let spec = CodecSpec::opus(111, rate, channels, settings);
        add(&name, rate, channels, Box::new(ours(spec)));
        let direct = Direct::new(rate, channels, &settings);
        add("  libopus directly", rate, channels, Box::new(direct));
    }
    for n in 0..ROUNDS {
        // There and back, so that no one of two neighbours always comes after the other.
        if n % 2 == 0 {
            entries.iter_mut().for_each(round);
        } else {
            entries.iter_mut().rev().for_each(round);
        }
    }
    println!("{:44} {:>9} {:>9} {:>7}", "20 ms of speech", "encode µs", "decode µs", "octets");
    for entry in &mut entries {
        let (encode, decode) = (median(&mut entry.encode), median(&mut entry.decode));
        let octets = entry.octets as f64 / FRAMES as f64;
        println!("{:44} {encode:9.2} {decode:9.2} {octets:7.0}", entry.name);
    }
}

/// Encodes, then decodes, the two seconds.
fn round(entry: &mut Entry) {
    let mut payloads: Vec<Vec<u8>> = (0..FRAMES).map(|_| Vec::with_capacity(4000)).collect();
    let frames = entry.pcm.chunks_exact(entry.frame).cycle().take(FRAMES);
    let begin = Instant::now();
    for (pcm, payload) in frames.zip(&mut payloads) {
        entry.contender.encode(black_box(pcm), payload);
    }
    entry.encode.push(begin.elapsed().as_secs_f64() * 1e6 / FRAMES as f64);
    let mut out = Vec::with_capacity(12_000);
    let begin = Instant::now();
    for payload in &payloads {
        out.clear();
        entry.contender.decode(black_box(payload), &mut out);
        black_box(&out);
    }
    entry.decode.push(begin.elapsed().as_secs_f64() * 1e6 / FRAMES as f64);
    entry.octets = payloads.iter().map(Vec::len).sum();
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn read(path: &str) -> Vec<i16> {
    let bytes = std::fs::read(path).expect("a file of raw PCM");
    let pcm: Vec<i16> = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    assert!(pcm.len() >= FRAMES * 960, "two seconds at 48 kHz at least");
    pcm
}

/// Two seconds of gliding harmonics in syllables.
fn speech_like() -> Vec<i16> {
    let mut phase = 0.0f32;
    (0..FRAMES * 960)
        .map(|n| {
            let t = n as f32 / 48_000.0;
            phase += (150.0 + 40.0 * (t * 3.0).sin()) / 48_000.0 * core::f32::consts::TAU;
            let sound: f32 = (1..9u8).map(|k| (phase * f32::from(k)).sin() / f32::from(k)).sum();
            (4000.0 * (1.0 + (t * 25.0).sin()) * sound) as i16
        })
        .collect()
}

fn at_rate(pcm: &[i16], rate: u32, channels: u8) -> Vec<i16> {
    let mut mono = vec![];
    if rate == 48_000 {
        mono.extend_from_slice(pcm);
    } else {
        let mut resampler = Resampler::new(48_000, rate, 1).expect("the rates are in range");
        resampler.process(pcm, &mut mono);
    }
    mono.into_iter().flat_map(|s| std::iter::repeat_n(s, usize::from(channels))).collect()
}
