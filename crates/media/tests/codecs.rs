//! Calls in every codec, and calls that go over from any one to any other in their middle.

mod common;

use common::far::Far;
use common::{good, Call, B};
use roomkit_media::codec::opus::Settings;
use roomkit_media::codec::CodecSpec;
use roomkit_media::session::{FrameKind, SessionConfig};
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::{LinkConfig, Loss, Reorder};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn opus(payload_type: u8, sample_rate: u32, change: impl Fn(&mut Settings)) -> CodecSpec {
    let mut settings = Settings::default();
    change(&mut settings);
    CodecSpec::opus(payload_type, sample_rate, 1, settings)
}

fn codecs() -> Vec<CodecSpec> {
    vec![
        CodecSpec::PCMU,
        CodecSpec::PCMA,
        CodecSpec::G722,
        CodecSpec::l16(96, 8000, 1),
        CodecSpec::l16(97, 16_000, 1),
        CodecSpec::l16(11, 44_100, 1),
        CodecSpec::l16(10, 44_100, 2),
        CodecSpec::l16(98, 48_000, 1),
        opus(111, 48_000, |_| {}),
    ]
}

/// A tone of 400 Hz at a level of 8000.
fn tone(seconds: f64) -> Vec<i16> {
    let step = 400.0 * core::f64::consts::TAU / 48_000.0;
    (0..(seconds * 48_000.0) as usize).map(|n| (8000.0 * (n as f64 * step).sin()) as i16).collect()
}

/// A voice in syllables, at 16 kHz.
fn syllables(seconds: usize) -> Vec<i16> {
    let mut voice = common::voice(seconds * 16_000, 16_000);
    for (n, sample) in voice.iter_mut().enumerate() {
        let breath = 0.5 + 0.5 * (n as f64 / 16_000.0 * 25.0).sin();
        *sample = (f64::from(*sample) * breath) as i16;
    }
    voice
}

/// A call in which `a` says a tone for two seconds, and goes over from one codec to another after one.
fn changed(link: LinkConfig, from: CodecSpec, to: CodecSpec, rate: u32, ptime: u64) -> Call {
    let config = |config: &mut SessionConfig| {
        config.receive_codecs = codecs();
        config.send_codec = from;
        config.sample_rate = rate;
        config.ptime = MS(ptime);
    };
    let mut call = Call::new(link, 7, config);
    call.a.play(1, tone(2.0), 48_000);
    call.run(Time::ms(1003));
    let mut after = SessionConfig::pcmu(Some(B.parse().unwrap()));
    config(&mut after);
    after.send_codec = to;
    call.a.session.update(call.now, &after).unwrap();
    call.run(Time::ms(1900));
    call
}

#[test]
fn from_every_codec_to_every_other_the_timeline_stands_and_nothing_clicks() {
    let rate = 16_000;
    for from in codecs() {
        for to in codecs().into_iter().filter(|to| *to != from) {
            let call = changed(good(), from, to, rate, 20);
            let what = format!("{from:?} to {to:?}");
            let stats = call.b.session.stats();
            let faults =
                (stats.packets_lost, stats.late, stats.undecodable, stats.frames_concealed);
            assert_eq!(faults, (0, 0, 0, 0), "{what}: {stats:?}");
            for (n, frame) in call.b.frames.iter().enumerate() {
                assert_eq!((frame.timestamp, frame.kind), (MS(20) * n as u32, FrameKind::Received));
                assert_eq!(frame.pcm.len(), 320, "{what}");
            }
            // 1.9 s less the link, the buffer and the grid.
            let frames = call.b.frames.len();
            assert!((88..=91).contains(&frames), "{what}: {frames} frames");

            // Beyond the first 300 ms, which have the beginning of the tone in them.
            let heard = call.b.heard().split_off(rate as usize * 3 / 10);
            let steps = heard.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs());
            // The tone's own steepest step is 1257; codecs add their noise, a click would add thousands.
            let steepest = steps.max().unwrap();
            assert!(steepest < 2000, "{what}: a step of {steepest}");
            let level = |w: &[i16]| {
                (w.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / w.len() as f64).sqrt()
            };
            let quietest = heard.chunks_exact(320).map(level).fold(f64::MAX, f64::min);
            let loudest = heard.chunks_exact(320).map(level).fold(0.0, f64::max);
            // A pure tone that comes up to 6.5 ms later meets its own guess in any phase.
            assert!(quietest > 2200.0 && loudest < 7000.0, "{what}: {quietest} to {loudest}");
        }
    }
}

#[test]
fn packets_out_of_order_at_a_change_of_clock_are_heard_in_order() {
    for (from, to) in [
        (CodecSpec::PCMU, opus(111, 48_000, |_| {})),
        (CodecSpec::l16(97, 16_000, 1), CodecSpec::PCMU),
    ] {
        for seed in 0..20 {
            let link = LinkConfig {
                reorder: Some(Reorder { probability: 0.3, extra: MS(25 + seed) }),
                ..good()
            };
            let call = changed(link, from, to, 8000, 20);
            let stats = call.b.session.stats();
            assert_eq!((stats.packets_lost, stats.undecodable), (0, 0));
            // No jitter is told of where clocks change: the reordered packets are all there is of it.
            assert!(stats.jitter < MS(30), "{:?}", stats.jitter);
            assert!(stats.late <= 1 && stats.frames_concealed <= 1, "{from:?} {seed}: {stats:?}");
            let frames = call.b.frames.len();
            assert!((88..=91).contains(&frames), "{frames} frames");
        }
    }
}

#[test]
fn at_every_frame_length_and_rate_samples_delivered_are_elapsed_time() {
    for ptime in [10, 20, 30, 40, 50, 60] {
        for rate in [8000, 16_000, 24_000, 44_100, 48_000] {
            let (from, to) = (CodecSpec::l16(11, 44_100, 1), opus(111, 24_000, |_| {}));
            let call = changed(good(), from, to, rate, ptime);
            let frame = (rate as u64 * ptime / 1000) as usize;
            assert!(call.b.frames.iter().all(|f| f.pcm.len() == frame), "{ptime} ms, {rate} Hz");
            let heard = call.b.frames.len() as u64 * ptime;
            assert!((1900 - 160..1900 - 40).contains(&heard), "{ptime} ms: {heard} ms");
            assert_eq!(call.b.session.stats().frames_concealed, 0, "{ptime} ms, {rate} Hz");
        }
    }
}

#[test]
fn g711_and_g722_have_eight_octets_for_each_millisecond_of_any_frame_length() {
    for ptime in [10, 20, 30, 40, 50, 60] {
        for (from, to) in [(CodecSpec::PCMU, CodecSpec::G722), (CodecSpec::G722, CodecSpec::PCMA)] {
            let call = changed(good(), from, to, 8000, ptime);
            assert!(call.a.rtp().iter().all(|packet| packet.5.len() as u64 == 8 * ptime));
            let stats = call.b.session.stats();
            assert_eq!((stats.undecodable, stats.frames_concealed), (0, 0), "{ptime} ms");
        }
    }
}

#[test]
fn rfc7160_the_sequence_goes_on_and_the_timestamp_counts_at_each_codec_s_clock() {
    for (from, to) in [
        (CodecSpec::PCMU, opus(111, 48_000, |_| {})),
        (CodecSpec::G722, CodecSpec::l16(97, 16_000, 1)),
    ] {
        let call = changed(good(), from, to, 8000, 20);
        let sent = call.a.rtp();
        let change = sent.iter().position(|packet| packet.2 == to.payload_type).unwrap();
        assert_eq!(change, 51);
        for (n, pair) in sent.windows(2).enumerate() {
            let clock = if n < change { from } else { to }.clock_rate;
            assert_eq!(pair[1].3.wrapping_sub(pair[0].3), 1);
            assert_eq!(pair[1].4.wrapping_sub(pair[0].4), clock / 50, "packet {n}");
        }
    }
}

#[test]
fn another_payload_type_or_bit_rate_of_the_same_codec_is_not_heard_at_all() {
    let renamed = |spec: CodecSpec| CodecSpec { payload_type: 120, ..spec };
    let heard = |from: CodecSpec, to: CodecSpec| {
        let config = |config: &mut SessionConfig| {
            config.receive_codecs = vec![from, renamed(from)];
            (config.send_codec, config.sample_rate) = (from, 16_000);
        };
        let mut call = Call::new(good(), 7, config);
        call.a.play(1, syllables(2), 16_000);
        call.run(Time::ms(1003));
        let mut after = SessionConfig::pcmu(Some(B.parse().unwrap()));
        config(&mut after);
        after.send_codec = to;
        call.a.session.update(call.now, &after).unwrap();
        call.run(Time::ms(1900));
        assert_eq!(call.b.session.stats().packets_lost, 0);
        (call.b.heard(), call.a.rtp().last().unwrap().2)
    };
    for spec in [CodecSpec::PCMU, CodecSpec::G722, opus(111, 16_000, |_| {})] {
        let (stays, changes) = (heard(spec, spec), heard(spec, renamed(spec)));
        assert!(stays.0 == changes.0, "{spec:?}");
        assert_eq!((stays.1, changes.1), (spec.payload_type, 120));
    }
    let lower = opus(111, 16_000, |s| s.bitrate = 12_000);
    let (high, low) = (
        heard(opus(111, 16_000, |_| {}), opus(111, 16_000, |_| {})),
        heard(opus(111, 16_000, |_| {}), lower),
    );
    // The same until the change, and no gap or click in the 40 ms after it: only coarser.
    let change = 1100 * 16;
    assert!(high.0[..1000 * 16] == low.0[..1000 * 16]);
    let error = |at: usize| -> f64 {
        let pairs = high.0[at..at + 640].iter().zip(&low.0[at..at + 640]);
        pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
    };
    let power: f64 = high.0[change..change + 640].iter().map(|&s| f64::from(s).powi(2)).sum();
    assert!((0..10).all(|n| error(change + n * 320) < 0.3 * power.max(1e6)));
}

#[test]
fn rfc7587_s3_3_lost_frames_are_recovered_and_told_apart_from_concealed_ones() {
    let spec = opus(111, 16_000, |s| (s.bitrate, s.expected_loss) = (24_000, 20));
    let heard = |loss: f64, fec: bool| {
        let mut spec = spec;
        if let roomkit_media::codec::CodecKind::Opus(settings) = &mut spec.kind {
            settings.inband_fec = fec;
        }
        let mut call = Call::new(good(), 3, |config| {
            (config.send_codec, config.receive_codecs) = (spec, vec![spec]);
            config.sample_rate = 16_000;
        });
        call.a.play(1, syllables(20), 16_000);
        call.run(Time::secs(1));
        call.a_to_b.reconfigure(LinkConfig { loss: Loss::Random(loss), ..good() });
        call.run(Time::secs(19));
        let stats = call.b.session.stats();
        for (n, frame) in call.b.frames.iter().enumerate() {
            assert_eq!((frame.timestamp, frame.pcm.len()), (MS(20) * n as u32, 320));
        }
        (stats, call.b.heard())
    };
    let (clean, whole) = heard(0.0, true);
    assert_eq!((clean.packets_recovered, clean.frames_concealed), (0, 0));
    let (with, recovered) = heard(0.1, true);
    let (without, concealed) = heard(0.1, false);
    assert!(with.packets_lost > 60 && with.packets_lost == without.packets_lost);
    assert_eq!(without.packets_recovered, 0);
    assert!(with.packets_recovered * 10 > with.packets_lost as u64 * 7, "{with:?}");
    // What is lost is either recovered or concealed.
    let made_good = with.packets_recovered + with.frames_concealed;
    assert!(
        made_good.abs_diff(with.packets_lost as u64) <= 1,
        "one may not have been due yet: {with:?}"
    );
    let (_, unbroken) = heard(0.0, false);
    let error = |a: &[i16], b: &[i16]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
    };
    let (with, without) = (error(&whole, &recovered), error(&unbroken, &concealed));
    assert!(with < 0.5 * without, "what was recovered is nearer: {with:e} {without:e}");
}

#[test]
fn rfc7587_s3_1_3_a_gap_of_discontinuous_transmission_is_no_loss_but_comfort_noise() {
    let spec = opus(111, 16_000, |s| s.dtx = true);
    let mut call = Call::new(good(), 3, |config| {
        (config.send_codec, config.receive_codecs) = (spec, vec![spec]);
        config.sample_rate = 16_000;
    });
    let mut said = syllables(2);
    said.extend(vec![0; 3 * 16_000]);
    said.extend(syllables(2));
    call.a.play(1, said, 16_000);
    call.run(Time::secs(7));

    let sent = call.a.rtp();
    assert!((200..260).contains(&sent.len()), "{} packets of 350 frames", sent.len());
    assert!(
        sent.windows(2).all(|pair| pair[1].3.wrapping_sub(pair[0].3) == 1),
        "no number is left out"
    );
    for pair in sent.windows(2) {
        let elapsed = (pair[1].0 - pair[0].0).as_millis() as u32;
        assert_eq!(pair[1].4.wrapping_sub(pair[0].4), elapsed * 48, "time goes on");
        // RFC 3551 §4.1: the first packet after a gap is marked.
        assert_eq!(pair[1].1, elapsed > 20);
    }
    let stats = call.b.session.stats();
    assert_eq!((stats.packets_lost, stats.frames_concealed), (0, 0), "{stats:?}");
    assert!(stats.frames_comfort_noise > 50, "{stats:?}");
    for (n, frame) in call.b.frames.iter().enumerate() {
        assert_eq!((frame.timestamp, frame.pcm.len()), (MS(20) * n as u32, 320));
    }
}

#[test]
fn when_an_opus_sender_stops_for_good_its_noise_ends_within_a_second() {
    let spec = opus(111, 16_000, |_| {});
    let mut call = Call::new(good(), 3, |config| {
        (config.send_codec, config.receive_codecs) = (spec, vec![spec]);
        config.sample_rate = 16_000;
    });
    call.a.play(1, syllables(1), 16_000);
    call.run(Time::secs(4));
    let last = &call.b.frames[call.b.frames.len() - 50..];
    assert!(last.iter().all(|f| f.kind == FrameKind::Silence && f.pcm.iter().all(|s| *s == 0)));
}

#[test]
fn malformed_opus_is_counted_and_concealed() {
    use roomkit_media::rtp::RtpHeader;
    use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
    use roomkit_media::session::{Output, Port, RtcpMode, Session};

    let spec = opus(111, 16_000, |_| {});
    let mut config = SessionConfig::pcmu(Some(common::A.parse().unwrap()));
    (config.receive_codecs, config.rtcp) = (vec![spec], RtcpMode::Off);
    config.sample_rate = 16_000;
    let mut session = Session::new(config, Time::ZERO, 5).unwrap();
    let mut encoder = spec.encoder();
    let (said, mut frames) = (syllables(2), 0);
    for (n, pcm) in said.chunks_exact(320).enumerate() {
        let now = Time::ms(n as u64 * 20);
        let mut bytes = vec![];
        let (seq, timestamp) = (SeqNo(n as u16), RtpTime(n as u32 * 960));
        RtpHeader { marker: n == 0, payload_type: 111, seq, timestamp, ssrc: Ssrc(1) }
            .write(&mut bytes);
        let at = bytes.len();
        encoder.encode(pcm, &mut bytes);
        if n % 10 == 9 {
            // Code 3 with no frames at all (RFC 6716 §3.4, R5).
            bytes.truncate(at);
            bytes.extend([0x4b, 0]);
        }
        session.receive(now, common::A.parse().unwrap(), Port::Rtp, &bytes);
        session.handle_deadline(now);
        while let Some(output) = session.poll() {
            frames += usize::from(matches!(output, Output::Frame(_)));
        }
    }
    let stats = session.stats();
    assert_eq!((stats.packets_lost, stats.frames_concealed), (0, stats.undecodable));
    assert!((9..=10).contains(&stats.undecodable) && frames > 90, "{stats:?}");
}

/// GStreamer's payloader counts Opus without the 6.5 ms that a decoder is to skip (RFC 7845 §4.2): its first packet lasts
/// longer than its timestamps say. The encoder's next packet goes on from the end of all of it.
#[test]
fn a_first_packet_of_opus_that_overlaps_the_next_loses_nothing() {
    let spec = opus(111, 48_000, |_| {});
    let (mut encoder, mut decoder) = (spec.encoder(), spec.decoder());
    let mut far = Far::new(48, |config| {
        config.receive_codecs = vec![spec];
        config.send_codec = spec;
        config.sample_rate = 48_000;
    });
    let mut wanted = vec![];
    let said = common::voice(48_000, 48_000);
    for (n, frame) in said.chunks_exact(960).enumerate() {
        let mut payload = vec![];
        encoder.encode(frame, &mut payload);
        decoder.decode(&payload, &mut wanted).unwrap();
        let skipped = if n == 0 { 0 } else { 312 };
        far.send_ticks(n as u32 * 960 - skipped, 20 * n as u64, 111, &payload);
    }
    far.run(1100);
    let heard: Vec<i16> = far.frames.iter().flat_map(|frame| frame.pcm.clone()).collect();
    let at = heard.iter().position(|&sample| sample != 0).unwrap();
    let begins = wanted.iter().position(|&sample| sample != 0).unwrap();
    let (heard, wanted) = (&heard[at..], &wanted[begins..]);
    assert!(heard[..wanted.len() - 960] == wanted[..wanted.len() - 960]);
    assert_eq!(far.session.stats().frames_concealed, 0);
}
