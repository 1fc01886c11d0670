//! What holds of a whole call, whatever its codec and whatever is mixed into it: comfort noise, silence that is sent, keys,
//! hold and digits.

mod common;

use common::{good, voice, Call, End, A, B};
use roomkit_media::codec::opus::Settings;
use roomkit_media::codec::CodecSpec;
use roomkit_media::dtmf::Digit;
use roomkit_media::rtp::{is_rtcp, RtpHeader};
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{Direction, EventType, Fill, Frame, Port, SessionConfig};
use roomkit_media::srtp::{MasterKey, SrtpConfig, Suite};
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::{Jitter, LinkConfig, Loss, Reorder};

const MS: fn(u64) -> Duration = Duration::from_millis;
const RATE: u32 = 16_000;

fn codecs() -> [CodecSpec; 4] {
    let opus = Settings { complexity: 0, ..Settings::default() };
    [
        CodecSpec::PCMU,
        CodecSpec::G722,
        CodecSpec::l16(96, 16_000, 1),
        CodecSpec::opus(111, 16_000, 1, opus),
    ]
}

fn keys() -> (SrtpConfig, SrtpConfig) {
    let suite = Suite::AeadAes128Gcm;
    let key = |fill| {
        MasterKey::new(suite, &vec![fill; suite.key_len() + suite.salt_len()], &[], None).unwrap()
    };
    let (a, b) = (key(1), key(2));
    let of_a = SrtpConfig { send: a.clone(), receive: vec![b.clone()] };
    (of_a, SrtpConfig { send: b, receive: vec![a] })
}

fn config(remote: &str, codec: CodecSpec, fill: Fill, secured: bool) -> SessionConfig {
    let events = vec![
        EventType { payload_type: 101, clock_rate: 8000 },
        EventType { payload_type: 102, clock_rate: codec.clock_rate.max(16_000) },
    ];
    let (of_a, of_b) = keys();
    SessionConfig {
        send_codec: codec,
        receive_codecs: codecs().to_vec(),
        receive_events: events.clone(),
        send_events: events,
        fill,
        sample_rate: RATE,
        srtp: secured.then_some(if remote == B { of_a } else { of_b }),
        ..SessionConfig::pcmu(Some(remote.parse().unwrap()))
    }
}

fn call(link: LinkConfig, seed: u64, codec: CodecSpec, fill: Fill, secured: bool) -> Call {
    let set = |remote: &'static str| {
        move |c: &mut SessionConfig| {
            let cname = core::mem::take(&mut c.cname);
            *c = SessionConfig { cname, ..config(remote, codec, fill, secured) };
        }
    };
    Call::between(link, seed, set(B), set(A))
}

fn bad() -> LinkConfig {
    LinkConfig {
        delay: MS(30),
        jitter: Jitter::Uniform(MS(40)),
        loss: Loss::Random(0.1),
        reorder: Some(Reorder { probability: 0.05, extra: MS(60) }),
        duplicate: 0.05,
        ..LinkConfig::default()
    }
}

/// Every codec with every fill, in clear and secured.
fn kinds() -> impl Iterator<Item = (u64, CodecSpec, Fill, bool)> {
    let fills = [Fill::None, Fill::Silence, Fill::ComfortNoise];
    let kinds = codecs().into_iter().flat_map(move |codec| fills.map(|fill| (codec, fill)));
    kinds.enumerate().map(|(n, (codec, fill))| (n as u64 + 1, codec, fill, n % 2 == 0))
}

/// When RTP left; secured or not, its first octets are in clear.
fn left(end: &End) -> Vec<Time> {
    let rtp = end.sent.iter().filter(|(_, datagram)| !is_rtcp(&datagram.bytes));
    rtp.map(|(at, _)| *at).collect()
}

#[test]
fn samples_delivered_are_elapsed_time_times_rate_in_every_codec_with_pauses_digits_and_hold() {
    for (seed, codec, fill, secured) in kinds() {
        let mut call = call(bad(), seed, codec, fill, secured);
        call.a.play(1, voice(3 * 16_000, RATE), RATE);
        call.run(Time::secs(1));
        let (from, start) = (call.now, call.b.frames.len());
        call.run(Time::secs(2));
        call.a.session.send_dtmf(Digit::parse('5').unwrap(), MS(200)).unwrap();
        call.run(Time::secs(5));
        let mut held = config(B, codec, fill, secured);
        held.direction = Direction::RecvOnly;
        call.a.session.update(call.now, &held).unwrap();
        call.run(Time::secs(7));
        let again = config(B, codec, fill, secured);
        call.a.session.update(call.now, &again).unwrap();
        call.a.play(2, voice(16_000, RATE), RATE);
        call.run(Time::secs(9));
        let heard: usize = call.b.frames[start..].iter().map(|frame| frame.pcm.len()).sum();
        let due = (call.now - from).as_millis() as usize * RATE as usize / 1000;
        let kind = format!("{codec:?} {fill:?} secured {secured}");
        assert!(heard.abs_diff(due) <= RATE as usize / 50, "{heard} of {due}: {kind}");
        for pair in call.b.frames.windows(2) {
            assert_eq!(pair[1].timestamp - pair[0].timestamp, MS(20), "contiguous: {kind}");
        }
        assert_eq!(call.b.digits(), "5", "{kind}");
    }
}

#[test]
fn after_a_burst_of_delay_the_delay_returns_to_the_target_in_every_codec() {
    for (seed, codec, fill, secured) in kinds() {
        let mut call = call(good(), seed, codec, fill, secured);
        call.a.play(1, voice(16 * 16_000, RATE), RATE);
        call.run(Time::secs(2));
        let before = call.b.session.stats().buffered;
        call.a_to_b.reconfigure(LinkConfig { delay: MS(340), ..good() });
        call.run(Time::secs(4));
        call.a_to_b.reconfigure(good());
        call.run(Time::ms(4500));
        let burst = call.b.session.stats().buffered;
        call.run(Time::secs(14));
        let after = call.b.session.stats().buffered;
        let told = format!("{before:?} {burst:?} {after:?}: {codec:?} {fill:?}");
        assert!(burst >= before + MS(200) && after <= before + MS(20), "{told}");
    }
}

#[test]
fn from_interrupt_to_silence_is_at_most_one_frame_in_every_codec_and_fill() {
    for (seed, codec, fill, secured) in kinds() {
        let mut call = call(good(), seed, codec, fill, secured);
        call.a.play(1, voice(60 * 16_000, RATE), RATE);
        call.run(Time::ms(511));
        call.a.session.cancel(1);
        call.drain();
        let before = left(&call.a).len();
        call.run(Time::secs(3));
        let after = left(&call.a).len() - before;
        match fill {
            Fill::None => assert_eq!(after, 0, "{codec:?}: not one more packet"),
            Fill::Silence | Fill::ComfortNoise => assert!(after > 0, "{codec:?} {fill:?}"),
        }
        // One frame that was on its way may end in speech, and the codecs ring for a few milliseconds.
        let cut = Time::ms(511 + 40 + 60 + 3 * 20) - Time::ZERO;
        let speech = call.b.frames.iter().filter(|frame| frame.timestamp > cut);
        let peak = speech.flat_map(|frame| &frame.pcm).map(|s| s.unsigned_abs()).max().unwrap();
        assert!(peak < 64, "{peak} after the interruption: {codec:?} {fill:?} {secured}");
    }
}

#[test]
fn of_what_was_interrupted_nothing_is_left_in_what_is_played_next() {
    for (seed, codec, fill, secured) in kinds() {
        let mut call = call(good(), seed, codec, fill, secured);
        // Of another rate than the codec's: some of it is converted ahead of its frame.
        call.a.play(1, voice(60 * 44_100, 44_100), 44_100);
        call.run(Time::ms(511));
        call.a.session.cancel(1);
        call.a.play(2, vec![0; 44_100], 44_100);
        call.drain();
        call.run(Time::secs(2));
        let cut = Time::ms(511 + 40 + 60 + 3 * 20) - Time::ZERO;
        let silence = call.b.frames.iter().filter(|frame| frame.timestamp > cut);
        let peak = silence.flat_map(|frame| &frame.pcm).map(|s| s.unsigned_abs()).max().unwrap();
        assert!(peak < 64, "{peak} after the interruption: {codec:?} {fill:?} {secured}");
        if codec.name() == "L16" && !secured {
            // Here the packets themselves can be looked into.
            let sent = call.a.rtp();
            let next = sent.iter().filter(|packet| packet.0 > Time::ms(511) && packet.2 == 96);
            let loud = next.filter(|packet| packet.5.iter().any(|octet| ![0, 255].contains(octet)));
            assert_eq!(loud.count(), 0, "{fill:?}");
        }
    }
}

#[test]
fn in_any_second_fifty_packets_leave_in_every_codec_with_silence_as_fill() {
    for codec in codecs() {
        for secured in [false, true] {
            let mut call = call(good(), 3, codec, Fill::Silence, secured);
            call.run(Time::ms(303));
            call.a.play(1, voice(16_000, RATE), RATE);
            call.run(Time::ms(2_707));
            call.a.play(2, voice(160_000, RATE), RATE);
            call.run(Time::ms(3_333));
            call.a.session.cancel(2);
            call.drain();
            call.run(Time::secs(6));
            let left = left(&call.a);
            assert!(left.windows(2).all(|pair| pair[1] - pair[0] == MS(20)), "{codec:?}");
            for pair in left.windows(50) {
                assert_eq!(pair[49] - pair[0], MS(980), "fifty in a second: {codec:?}");
            }
            assert!(left.len() >= 295, "{} packets: {codec:?}", left.len());
        }
    }
}

#[test]
fn rfc3551_4_2_packets_of_0_to_200_ms_are_taken_whatever_the_ptime() {
    for (codec, octets_per_ms, ticks_per_ms) in [
        (CodecSpec::PCMU, 8, 8),
        (CodecSpec::PCMA, 8, 8),
        (CodecSpec::G722, 8, 8),
        (CodecSpec::l16(96, 16_000, 1), 32, 16),
    ] {
        for ms in [0u64, 1, 2, 5, 20, 37, 100, 199, 200] {
            let mut call = Call::new(good(), 1, |c| {
                *c = config(A, codec, Fill::None, false);
                // A thousand packets a second are more than what is taken of a source as a rule.
                (c.source_rate, c.session_rate) = (2000, 2000);
                c.receive_codecs = vec![codec];
            });
            let (step, packets) = (if ms == 0 { 20 } else { ms }, 3000 / ms.max(20));
            for n in 0..packets {
                call.run(Time::ms(n * step));
                let (seq, timestamp) = (SeqNo(n as u16), RtpTime((n * ms) as u32 * ticks_per_ms));
                let payload_type = codec.payload_type;
                let header =
                    RtpHeader { marker: n == 0, payload_type, seq, timestamp, ssrc: Ssrc(9) };
                let mut bytes = Vec::new();
                header.write(&mut bytes);
                bytes.extend(vec![0x11; ms as usize * octets_per_ms]);
                call.b.session.receive(call.now, A.parse().unwrap(), Port::Rtp, &bytes);
            }
            call.run(Time::ms(packets * step + 400));
            let stats = call.b.session.stats();
            let told = format!("{ms} ms of {codec:?}: {stats:?}");
            assert_eq!(stats.packets_received, packets, "{told}");
            assert_eq!((stats.packets_lost, stats.undecodable, stats.late), (0, 0, 0), "{told}");
            let whole = call.b.frames.iter().all(|frame| frame.pcm.len() == RATE as usize / 50);
            assert!(whole, "frames of the session's own length: {told}");
            let loud = |frame: &&Frame| frame.pcm.iter().any(|s| s.unsigned_abs() > 100);
            let heard = call.b.frames.iter().filter(loud).count() as u64 * 20;
            // The first packet waits until another proves its source; that delay is given back. What follows the last one
            // fades away.
            let given_back = stats.frames_given_back * 20;
            let said = if ms == 0 { 0..=0 } else { packets * ms..=packets * ms + 100 };
            let heard = if heard == 0 { 0 } else { heard + given_back };
            assert!(said.contains(&heard), "{heard} ms heard: {told}");
        }
    }
}
