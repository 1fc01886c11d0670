//! A call that changes in its middle: codecs, payload types, frame length, direction, the far end's address.

mod common;

use common::{Call, B};
use roomkit_media::codec::CodecSpec;
use roomkit_media::dtmf::Digit;
use roomkit_media::rtp::RtpPacket;
use roomkit_media::session::{
    Chunk, Direction, Event, EventType, Fill, FrameKind, NoiseType, Session, SessionConfig,
};
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::LinkConfig;

/// Half a minute of a sawtooth that no codec takes for silence.
fn speech() -> Chunk {
    let pcm = (0..30 * 8000).map(|n| ((n * 97) % 12_000 - 6000) as i16).collect();
    Chunk {
        playback: 1,
        pcm,
        sample_rate: 8000,
        channels: 1,
        last: true,
        live: false,
        marks: vec![],
    }
}

fn config(change: impl Fn(&mut SessionConfig)) -> SessionConfig {
    let mut config = SessionConfig::pcmu(Some(B.parse().unwrap()));
    change(&mut config);
    config
}

fn rtp(call: &Call) -> Vec<(Time, RtpPacket<'_>)> {
    let audio = call.a.sent.iter().filter_map(|(at, datagram)| {
        let packet = RtpPacket::parse(&datagram.bytes).ok()?;
        (packet.payload_type < 64 || packet.payload_type > 95).then_some((*at, packet))
    });
    audio.collect()
}

#[test]
fn a_change_of_codec_under_a_new_type_leaves_no_gap_either_way() {
    let wide = CodecSpec::l16(97, 16_000, 1);
    let mut call = Call::new(LinkConfig::default(), 1, |_| {});
    call.a.session.play(speech()).unwrap();
    call.run(Time::secs(2));
    // The answer reaches the receiver first, as signalling has it.
    let receives = config(|c| c.receive_codecs = vec![wide]);
    let remote = Some(common::A.parse().unwrap());
    call.b.session.update(call.now, &SessionConfig { remote, ..receives }).unwrap();
    call.run(Time::ms(2100));
    call.a.session.update(call.now, &config(|c| c.send_codec = wide)).unwrap();
    call.run(Time::secs(5));

    let kinds: Vec<FrameKind> = call.b.frames.iter().map(|frame| frame.kind).collect();
    assert!(kinds.iter().all(|kind| *kind == FrameKind::Received), "{kinds:?}");
    for (n, frame) in call.b.frames.iter().enumerate() {
        assert_eq!((frame.timestamp, frame.pcm.len()), (Duration::from_millis(20) * n as u32, 160));
    }
    let packets = rtp(&call);
    assert!(packets.windows(2).all(|w| w[1].1.seq.ahead_of(w[0].1.seq) == 1));
    assert!(packets.windows(2).all(|w| w[1].0 - w[0].0 == Duration::from_millis(20)));
    let steps: Vec<i32> =
        packets.windows(2).map(|w| w[1].1.timestamp.ahead_of(w[0].1.timestamp)).collect();
    assert!(steps.iter().all(|step| [160, 320].contains(step)));
    let change = packets.iter().position(|(_, packet)| packet.payload_type == 97).unwrap();
    assert!(packets[change..].iter().all(|(_, packet)| packet.payload_type == 97));
    assert_eq!(steps[change], 320);
}

#[test]
fn rfc3264_8_3_2_a_type_that_is_no_longer_agreed_on_is_understood_for_two_more_seconds() {
    let mut call = Call::new(LinkConfig::default(), 2, |_| {});
    call.a.session.play(speech()).unwrap();
    call.run(Time::secs(1));
    let remote = Some(common::A.parse().unwrap());
    let other = SessionConfig { remote, ..config(|c| c.receive_codecs = vec![CodecSpec::PCMA]) };
    call.b.session.update(call.now, &other).unwrap();
    call.run(Time::ms(2900));
    assert!(call.b.frames.iter().all(|frame| frame.kind == FrameKind::Received));
    assert_eq!(call.b.session.stats().unknown_payload_type, 0);
    call.run(Time::secs(4));
    let unknown = call.b.session.stats().unknown_payload_type;
    assert!((40..=60).contains(&unknown), "{unknown} of a second were refused");
}

#[test]
fn payload_types_belong_to_the_receiver() {
    let remote = |addr: &str| Some(addr.parse().unwrap());
    let event = |payload_type, clock_rate| vec![EventType { payload_type, clock_rate }];
    let wide = |payload_type| CodecSpec::l16(payload_type, 16_000, 1);
    let mut call = Call::between(
        LinkConfig::default(),
        3,
        |c| {
            (c.send_codec, c.receive_codecs) = (wide(98), vec![wide(97)]);
            (c.send_events, c.receive_events) = (event(110, 16_000), event(101, 16_000));
            c.remote = remote(B);
        },
        |c| {
            (c.send_codec, c.receive_codecs) = (wide(97), vec![wide(98)]);
            (c.send_events, c.receive_events) = (event(101, 16_000), event(110, 16_000));
            c.remote = remote(common::A);
        },
    );
    call.a.session.play(speech()).unwrap();
    call.b.session.play(speech()).unwrap();
    let (five, hash) = (Digit::parse('5').unwrap(), Digit::parse('#').unwrap());
    call.a.session.send_dtmf(five, Duration::from_millis(100)).unwrap();
    call.b.session.send_dtmf(hash, Duration::from_millis(100)).unwrap();
    call.run(Time::secs(2));
    for (end, digit) in [(&call.a, hash), (&call.b, five)] {
        assert_eq!(end.session.stats().unknown_payload_type, 0);
        assert!(end.frames.iter().all(|frame| frame.kind == FrameKind::Received));
        let duration = Duration::from_millis(100);
        let heard = Event::Digit { digit, duration, confidence: 1.0, masked: false };
        assert!(end.events.iter().any(|(_, event)| *event == heard), "{:?}", end.events);
    }
}

#[test]
fn another_frame_length_holds_from_the_next_frame_on_in_both_directions() {
    let mut call = Call::new(LinkConfig::default(), 4, |_| {});
    call.a.session.play(speech()).unwrap();
    call.run(Time::secs(1));
    let longer = config(|c| c.ptime = Duration::from_millis(40));
    call.a.session.update(call.now, &longer).unwrap();
    let remote = Some(common::A.parse().unwrap());
    call.b.session.update(call.now, &SessionConfig { remote, ..longer }).unwrap();
    let frames = call.b.frames.len();
    call.run(Time::secs(3));
    let packets = rtp(&call);
    let lens: Vec<usize> = packets.iter().map(|(_, packet)| packet.payload.len()).collect();
    assert!(lens[..50].iter().all(|len| *len == 160) && lens[51..].iter().all(|len| *len == 320));
    assert!(call.b.frames[frames..].iter().all(|frame| frame.pcm.len() == 320));
    let mut due = Duration::ZERO;
    for frame in &call.b.frames {
        assert_eq!(frame.timestamp, due);
        due += Duration::from_micros(frame.pcm.len() as u64 * 125);
    }
}

#[test]
fn while_the_far_end_does_not_listen_nothing_is_sent_and_the_playback_waits() {
    let mut call = Call::new(LinkConfig::default(), 5, |_| {});
    call.a.session.play(speech()).unwrap();
    call.run(Time::secs(1));
    call.a.session.update(call.now, &config(|c| c.direction = Direction::RecvOnly)).unwrap();
    let sent = rtp(&call).len();
    let position = call.a.session.position();
    call.run(Time::secs(2));
    assert_eq!(rtp(&call).len(), sent);
    assert_eq!(call.a.session.position(), position);
    call.a.session.update(call.now, &config(|_| {})).unwrap();
    call.run(Time::secs(3));
    let packets = rtp(&call);
    let (before, after) = (&packets[sent - 1].1, &packets[sent].1);
    assert_eq!(after.seq.ahead_of(before.seq), 1);
    assert!(after.marker, "RFC 3551 §4.1: the first of a talkspurt");
    let pause = after.timestamp.ahead_of(before.timestamp);
    assert!((8000..=8320).contains(&pause), "the timestamp ran on: {pause}");
}

#[test]
fn a_configuration_that_cannot_be_changes_nothing() {
    let mut session = Session::new(config(|_| {}), Time::ZERO, 6).unwrap();
    let wrong = config(|c| c.receive_codecs.clear());
    assert_eq!(session.update(Time::ZERO, &wrong).unwrap_err().field, "receive_codecs");
    session.play(speech()).unwrap();
    session.handle_deadline(Time::ZERO);
    assert_eq!(session.stats().packets_sent, 1);
}

#[test]
fn rfc7160_4_2_another_clock_in_the_same_stream_is_no_jitter() {
    let mut call = Call::new(LinkConfig::default(), 7, |_| {});
    call.a.session.play(speech()).unwrap();
    for (n, codec) in [CodecSpec::l16(97, 16_000, 1), CodecSpec::PCMU].into_iter().enumerate() {
        call.run(Time::secs(2 * n as u64 + 2));
        let remote = Some(common::A.parse().unwrap());
        let both = config(|c| {
            c.receive_codecs = vec![CodecSpec::PCMU, CodecSpec::l16(97, 16_000, 1)];
            c.send_codec = codec;
        });
        call.a.session.update(call.now, &both).unwrap();
        call.b.session.update(call.now, &SessionConfig { remote, ..both }).unwrap();
    }
    call.run(Time::secs(6));
    assert_eq!(call.b.session.stats().jitter, Duration::ZERO);
}

#[test]
fn a_far_end_that_knows_events_at_another_clock_only_is_told_durations_at_that_clock() {
    let wide = CodecSpec::l16(97, 16_000, 1);
    let mut call = Call::new(LinkConfig::default(), 8, |c| {
        (c.send_codec, c.receive_codecs) = (wide, vec![wide]);
    });
    let five = Digit::parse('5').unwrap();
    let long = Duration::from_secs(5);
    call.a.session.send_dtmf(five, Duration::from_millis(100)).unwrap();
    call.a.session.send_dtmf(five, long).unwrap();
    call.run(Time::secs(12));
    let heard: Vec<Duration> = (call.b.events.iter())
        .filter_map(|(_, event)| match event {
            Event::Digit { duration, .. } => Some(*duration),
            _ => None,
        })
        .collect();
    assert_eq!(heard, [Duration::from_millis(100), long]);
}

/// One number for one thing after another, each from the update on that says so: a codec, digits, comfort noise, and
/// that codec again.
#[test]
fn a_type_that_is_given_another_meaning_has_it_at_once() {
    let wide = CodecSpec::l16(102, 16_000, 1);
    let sends = |codec| config(move |c| c.send_codec = codec);
    let receives = |codecs: Vec<CodecSpec>, events: &[u8], noise: &[u8]| {
        let remote = Some(common::A.parse().unwrap());
        let (codecs, events, noise) = (codecs.clone(), events.to_vec(), noise.to_vec());
        let mut config = config(move |c| {
            c.receive_codecs.clone_from(&codecs);
            let event = |&payload_type| EventType { payload_type, clock_rate: 8000 };
            let silence = |&payload_type| NoiseType { payload_type, clock_rate: 8000 };
            c.receive_events = events.iter().map(event).collect();
            c.receive_noise = noise.iter().map(silence).collect();
        });
        config.remote = remote;
        config
    };
    let mut call = Call::new(LinkConfig::default(), 5, |_| {});
    call.b.session.update(call.now, &receives(vec![wide], &[101], &[13])).unwrap();
    call.a.session.update(call.now, &sends(wide)).unwrap();
    call.a.session.play(speech()).unwrap();
    call.run(Time::secs(1));

    // From a codec to digits.
    call.b.session.update(call.now, &receives(vec![CodecSpec::PCMU], &[102], &[13])).unwrap();
    let mut to = sends(CodecSpec::PCMU);
    to.send_events = vec![EventType { payload_type: 102, clock_rate: 8000 }];
    call.a.session.update(call.now, &to).unwrap();
    for digit in ['4', '4', '2'] {
        let digit = Digit::parse(digit).unwrap();
        call.a.session.send_dtmf(digit, Duration::from_millis(60)).unwrap();
    }
    call.run(Time::secs(2));
    let digits = |call: &Call| -> String {
        let told = call.b.events.iter().filter_map(|(_, event)| match event {
            Event::Digit { digit, .. } => Some(digit.as_char()),
            _ => None,
        });
        told.collect()
    };
    assert_eq!(digits(&call), "442");

    // From digits to the codec again.
    let mut from = call.b.frames.len();
    call.b.session.update(call.now, &receives(vec![wide], &[101], &[13])).unwrap();
    call.a.session.update(call.now, &sends(wide)).unwrap();
    call.run(Time::secs(3));
    let heard = |call: &Call, from: usize| {
        let kinds = call.b.frames[from..].iter().map(|frame| frame.kind);
        kinds.filter(|kind| *kind == FrameKind::Received).count()
    };
    assert!(heard(&call, from) >= 48, "{} of 50 frames", heard(&call, from));
    assert_eq!(digits(&call), "442", "audio is no digit");

    // And to comfort noise.
    from = call.b.frames.len();
    call.b.session.update(call.now, &receives(vec![CodecSpec::PCMU], &[101], &[102])).unwrap();
    let mut quiet = sends(CodecSpec::PCMU);
    quiet.send_noise = vec![NoiseType { payload_type: 102, clock_rate: 8000 }];
    quiet.fill = Fill::ComfortNoise;
    call.a.session.update(call.now, &quiet).unwrap();
    call.a.session.cancel(1);
    call.run(Time::secs(4));
    let kinds = call.b.frames[from..].iter().map(|frame| frame.kind);
    let noise = kinds.filter(|kind| *kind == FrameKind::ComfortNoise).count();
    assert!(noise >= 40, "{noise} of 50 frames");
    assert_eq!(call.b.session.stats().unknown_payload_type, 0);
    assert_eq!(call.b.session.stats().undecodable, 0);
}
