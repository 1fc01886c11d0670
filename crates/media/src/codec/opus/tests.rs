use super::*;
use crate::codec::CodecKind;
use proptest::prelude::*;

fn spec(sample_rate: u32, channels: u8, change: impl Fn(&mut Settings)) -> CodecSpec {
    let mut settings = Settings::default();
    change(&mut settings);
    CodecSpec::opus(111, sample_rate, channels, settings)
}

/// A glide of a few harmonics with four syllables a second: libopus takes it for speech, not for noise.
fn voice(rate: u32, ms: u32) -> Vec<i16> {
    let mut phase = 0.0f32;
    (0..rate / 1000 * ms)
        .map(|n| {
            let t = n as f32 / rate as f32;
            phase += (150.0 + 40.0 * (t * 3.0).sin()) / rate as f32 * core::f32::consts::TAU;
            let sound: f32 = (1..6u8).map(|k| (phase * f32::from(k)).sin() / f32::from(k)).sum();
            (4000.0 * (1.0 + (t * 25.0).sin()) * sound) as i16
        })
        .collect()
}

fn packets(spec: &CodecSpec, pcm: &[i16], ms: usize) -> Vec<Vec<u8>> {
    let mut encoder = spec.encoder();
    let frame = spec.sample_rate as usize / 1000 * ms * usize::from(spec.channels);
    pcm.chunks_exact(frame)
        .map(|piece| {
            let mut payload = vec![];
            encoder.encode(piece, &mut payload);
            payload
        })
        .collect()
}

fn likeness(heard: &[i16], said: &[i16], delays: core::ops::Range<usize>) -> (usize, f64) {
    let at = |delay: usize| {
        let (mut product, mut a2, mut b2) = (0.0, 1.0, 1.0);
        for (&a, &b) in said.iter().zip(&heard[delay..]) {
            let (a, b) = (f64::from(a), f64::from(b));
            product += a * b;
            a2 += a * a;
            b2 += b * b;
        }
        product / f64::sqrt(a2 * b2)
    };
    delays.map(|delay| (delay, at(delay))).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

#[test]
fn speech_comes_back_with_its_sign_at_every_rate_after_the_delay_libopus_tells() {
    for rate in [8000, 12_000, 16_000, 24_000, 48_000] {
        let spec = spec(rate, 1, |_| {});
        let said = voice(rate, 1000);
        let mut decoder = spec.decoder();
        let mut heard = vec![];
        for payload in packets(&spec, &said, 20) {
            decoder.decode(&payload, &mut heard).unwrap();
        }
        assert_eq!(heard.len(), said.len());
        let most = rate as usize / 1000 * 30;
        let (delay, like) = likeness(&heard, &said[..said.len() - most], 0..most);
        let ms = delay as f32 * 1000.0 / rate as f32;
        assert!(like > 0.9 && (4.0..12.0).contains(&ms), "{rate} Hz: {like} after {ms} ms");
    }
}

#[test]
fn rfc7587_s4_2_any_frame_length_is_one_packet_whose_octets_tell_its_length() {
    for ms in [10, 20, 30, 40, 50, 60] {
        for (rate, channels) in [(8000, 1), (16_000, 1), (48_000, 1), (48_000, 2)] {
            let spec = spec(rate, channels, |_| {});
            let said: Vec<i16> = voice(rate, 600)
                .into_iter()
                .flat_map(|s| core::iter::repeat_n(s, usize::from(channels)))
                .collect();
            let mut decoder = spec.decoder();
            let mut heard = vec![];
            for payload in packets(&spec, &said, ms) {
                let samples = spec.samples_in(&payload).unwrap();
                assert_eq!(samples, rate as usize / 1000 * ms, "{ms} ms at {rate} Hz");
                assert!(payload.len() <= MAX_PAYLOAD);
                decoder.decode(&payload, &mut heard).unwrap();
            }
            let payloads = packets(&spec, &said, ms);
            let frames = Packet::parse(&payloads[5]).unwrap();
            assert!(frames.frames().iter().all(|frame| !frame.is_empty()), "{ms} ms at {rate} Hz");
            let most = usize::from(channels) * rate as usize / 1000 * 30;
            let (_, like) = likeness(&heard, &said[..heard.len() - most], 0..most);
            assert!(like > 0.85, "{ms} ms at {rate} Hz, {channels} channels: {like}");
        }
    }
}

#[test]
fn the_frame_length_may_change_from_packet_to_packet() {
    let spec = spec(48_000, 1, |_| {});
    let (said, mut encoder, mut decoder) = (voice(48_000, 1200), spec.encoder(), spec.decoder());
    let (mut at, mut heard) = (0, vec![]);
    for ms in [20, 30, 20, 50, 60, 10, 40].into_iter().cycle() {
        let Some(piece) = said.get(at..at + 48 * ms) else { break };
        let mut payload = vec![];
        encoder.encode(piece, &mut payload);
        assert_eq!(spec.samples_in(&payload), Ok(48 * ms));
        decoder.decode(&payload, &mut heard).unwrap();
        at += 48 * ms;
    }
    assert!(likeness(&heard, &said[..at - 1500], 0..1500).1 > 0.85);
}

#[test]
fn packets_of_up_to_120_ms_are_decoded() {
    let spec = spec(48_000, 1, |_| {});
    let sixty = packets(&spec, &voice(48_000, 120), 60);
    let parsed: Vec<Packet<'_>> = sixty.iter().map(|p| Packet::parse(p).unwrap()).collect();
    assert_eq!(parsed[0].kind(), parsed[1].kind());
    let frames: Vec<&[u8]> = parsed.iter().flat_map(|p| p.frames().iter().copied()).collect();
    let mut payload = vec![];
    packet::join(parsed[0].kind(), &frames, &mut payload);
    let mut heard = vec![];
    spec.decoder().decode(&payload, &mut heard).unwrap();
    assert_eq!((spec.samples_in(&payload), heard.len()), (Ok(5760), 5760));
}

#[test]
fn rfc7587_s3_3_what_was_lost_is_recovered_from_the_next_packet() {
    // Wide band at this rate is coded so that copies are made.
    let spec = spec(16_000, 1, |s| (s.bitrate, s.expected_loss) = (24_000, 20));
    let said = voice(16_000, 1000);
    let payloads = packets(&spec, &said, 20);
    let (mut whole, mut recovered, mut concealed) = (vec![], vec![], vec![]);
    let mut decoders = [spec.decoder(), spec.decoder(), spec.decoder()];
    let lost = 30;
    for (n, payload) in payloads.iter().enumerate().take(lost + 5) {
        decoders[0].decode(payload, &mut whole).unwrap();
        if n == lost {
            let next = &payloads[lost + 1];
            assert_eq!(decoders[1].copied_before(next), 320);
            decoders[1].recover(next, 320, &mut recovered);
            assert!(decoders[2].conceal(320, &mut concealed));
        } else {
            decoders[1].decode(payload, &mut recovered).unwrap();
            decoders[2].decode(payload, &mut concealed).unwrap();
        }
    }
    let error = |other: &[i16]| -> f64 {
        let place = lost * 320..(lost + 1) * 320;
        let pairs = whole[place.clone()].iter().zip(&other[place]);
        pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
    };
    assert_eq!((recovered.len(), concealed.len()), (whole.len(), whole.len()));
    assert!(
        error(&recovered) < 0.5 * error(&concealed),
        "{} {}",
        error(&recovered),
        error(&concealed)
    );
}

#[test]
fn without_fec_no_packet_carries_a_copy() {
    let spec = spec(16_000, 1, |s| s.inband_fec = false);
    let payloads = packets(&spec, &voice(16_000, 600), 20);
    assert!(payloads.iter().all(|payload| spec.decoder().copied_before(payload) == 0));
}

#[test]
fn only_the_end_of_a_copy_is_taken_where_less_is_missing() {
    let spec = spec(16_000, 1, |s| (s.bitrate, s.expected_loss) = (24_000, 20));
    let payloads = packets(&spec, &voice(16_000, 600), 20);
    let after = |missing: usize| {
        let mut decoder = spec.decoder();
        let mut heard = vec![];
        payloads[..10].iter().for_each(|p| decoder.decode(p, &mut heard).unwrap());
        heard.clear();
        decoder.recover(&payloads[11], missing, &mut heard);
        heard
    };
    assert_eq!(after(320)[220..], after(100));
}

#[test]
fn any_span_is_concealed_to_the_sample() {
    for (rate, channels) in [(8000, 1), (48_000, 2)] {
        let mut decoder = spec(rate, channels, |_| {}).decoder();
        for samples in [1, 19, 20, 21, 160, 961, 5760, 5761, 48_000] {
            let mut out = vec![5];
            assert!(decoder.conceal(samples, &mut out));
            assert_eq!(out.len(), 1 + samples * usize::from(channels));
        }
    }
}

#[test]
fn rfc7587_s3_1_3_with_dtx_silence_is_not_sent_and_speech_is() {
    for ms in [10, 20, 30, 40, 50, 60] {
        let spec = spec(48_000, 1, |s| s.dtx = true);
        let mut said = voice(48_000, 600);
        said.extend(vec![0; 48_000 * 3]);
        let sent: Vec<bool> =
            packets(&spec, &said, ms).iter().map(|payload| !payload.is_empty()).collect();
        let (speech, silence) = sent.split_at(600 / ms);
        assert!(speech.iter().all(|&sent| sent), "{ms} ms: {speech:?}");
        let quiet = silence.iter().filter(|&&sent| !sent).count();
        assert!(quiet * 2 > silence.len(), "{ms} ms: {quiet} of {} left out", silence.len());
    }
}

#[test]
fn packets_that_hold_nothing_are_told_from_others() {
    let spec = spec(48_000, 1, |_| {});
    let toc = 11 << 3;
    for empty in [&[toc][..], &[toc, 0], &[toc | 1], &[toc | 3, 2]] {
        assert!(spec.is_silence(empty), "{empty:x?}");
    }
    assert!(!spec.is_silence(&[toc, 0, 0]) && !spec.is_silence(&[toc | 3, 0]));
    assert!(packets(&spec, &voice(48_000, 200), 20).iter().all(|packet| !spec.is_silence(packet)));
    assert!(!CodecSpec::PCMU.is_silence(&[0xff]));
}

#[test]
fn rfc7587_s6_1_the_far_end_s_limits_are_kept() {
    let said = voice(48_000, 2000);
    let octets = |change: &dyn Fn(&mut Settings)| -> Vec<usize> {
        packets(&spec(48_000, 1, change), &said, 20).iter().map(Vec::len).collect()
    };
    let bits = |sizes: &[usize]| sizes.iter().sum::<usize>() * 8 / 2;
    let low = octets(&|s| s.bitrate = 12_000);
    let high = octets(&|s| s.bitrate = 64_000);
    assert!((9_000..15_000).contains(&bits(&low)), "{}", bits(&low));
    assert!(bits(&high) > 3 * bits(&low));
    let constant = octets(&|s| (s.cbr, s.bitrate) = (true, 32_000));
    assert!(constant.iter().all(|&size| size == 80), "cbr: {constant:?}");
    let band = spec(48_000, 1, |s| s.bandwidth = Bandwidth::for_rate(8000));
    let kinds = packets(&band, &said, 20);
    // RFC 6716 §3.1, table 2: configurations 0 to 3 and 16 to 19 are narrow band.
    assert!(kinds.iter().all(|p| matches!(p[0] >> 3, 0..=3 | 16..=19)));
    // §6.1, stereo: the channel bit of the first octet.
    assert!(kinds.iter().all(|p| p[0] & 4 == 0));
}

#[test]
fn no_payload_is_too_long_for_a_packet_at_the_highest_rate() {
    for ms in [10, 20, 30, 60] {
        let spec = spec(48_000, 2, |s| s.bitrate = 510_000);
        let noise: Vec<i16> = {
            let mut rng = crate::rng::Rng::new(1);
            (0..96 * 600).map(|_| rng.next_u16() as i16).collect()
        };
        for payload in packets(&spec, &noise, ms) {
            assert!(payload.len() <= MAX_PAYLOAD, "{ms} ms: {}", payload.len());
            assert!(spec.decoder().decode(&payload, &mut vec![]).is_ok());
        }
    }
}

#[test]
fn stereo_is_mixed_down_where_mono_is_wanted_and_mono_is_heard_in_both_channels() {
    let stereo = spec(48_000, 2, |_| {});
    let left: Vec<i16> = voice(48_000, 600).into_iter().flat_map(|s| [s, 0]).collect();
    let mut mono = spec(48_000, 1, |_| {}).decoder();
    let mut heard = vec![];
    packets(&stereo, &left, 20).iter().for_each(|p| mono.decode(p, &mut heard).unwrap());
    let half: Vec<i16> = voice(48_000, 560).iter().map(|s| s / 2).collect();
    assert_eq!(heard.len(), 48 * 600);
    assert!(likeness(&heard, &half, 0..1500).1 > 0.8);

    let mut both = stereo.decoder();
    let mut heard = vec![];
    let payloads = packets(&spec(48_000, 1, |_| {}), &voice(48_000, 200), 20);
    payloads.iter().for_each(|p| both.decode(p, &mut heard).unwrap());
    assert!(heard.chunks_exact(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_spec_of_opus_knows_its_name_and_that_its_clock_is_48000_hz() {
    let spec = spec(16_000, 1, |_| {});
    assert_eq!((spec.name(), spec.clock_rate, spec.check()), ("opus", 48_000, Ok(())));
    assert!(matches!(spec.kind, CodecKind::Opus(_)));
}

proptest! {
    #[test]
    fn any_payload_decodes_to_what_it_announces_or_leaves_the_output_alone(
        payload in proptest::collection::vec(any::<u8>(), 0..300), rate in 0usize..5, stereo: bool
    ) {
        let rate = [8000, 12_000, 16_000, 24_000, 48_000][rate];
        let spec = spec(rate, 1 + u8::from(stereo), |_| {});
        let mut pcm = vec![7];
        let announced = spec.samples_in(&payload);
        let outcome = spec.decoder().decode(&payload, &mut pcm);
        prop_assert_eq!(outcome.is_ok(), announced.is_ok());
        prop_assert_eq!(pcm[0], 7);
        prop_assert_eq!(pcm.len() - 1, announced.unwrap_or(0) * usize::from(spec.channels));
    }
}
