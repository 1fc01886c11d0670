//! What is sent while nobody talks: what fills our own silence, and keep-alives (RFC 6263).

mod common;

use common::far::{dbov, noise_heard, Far};
use common::{good, voice, Call, End};
use roomkit_media::codec::CodecSpec;
use roomkit_media::session::{
    Chunk, Direction, Event, Fill, Frame, FrameKind, NoiseType, Port, RtcpMode, SessionConfig,
};
use roomkit_media::time::{Duration, Time};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// When it left, marker, payload type, sequence number, timestamp, payload.
type Sent = (Time, bool, u8, u16, u32, Vec<u8>);

fn sent_after(end: &End, ms: u64) -> Vec<Sent> {
    end.rtp().into_iter().filter(|packet| packet.0 >= Time::ms(ms)).collect()
}

/// Marker, sequence and timestamp of a stream are as RFC 3551 §4.1 asks, whatever is in the packets.
fn assert_one_timeline(packets: &[Sent]) {
    for pair in packets.windows(2) {
        let ms = (pair[1].0 - pair[0].0).as_millis() as u32;
        assert_eq!(pair[1].3, pair[0].3.wrapping_add(1), "sequence");
        assert_eq!(pair[1].4.wrapping_sub(pair[0].4), ms * 8, "timestamps follow the clock");
    }
}

#[test]
fn with_silence_as_fill_a_packet_leaves_every_frame_from_the_beginning_and_only_it_is_marked() {
    let mut call = Call::between(good(), 1, |c| c.fill = Fill::Silence, |_| {});
    call.run(Time::secs(1));
    let said = voice(8000, 8000);
    call.a.play(1, said, 8000);
    call.run(Time::secs(4));
    let sent = call.a.rtp();
    assert_eq!(sent.len(), 200);
    assert_one_timeline(&sent);
    let marked: Vec<usize> = (0..sent.len()).filter(|&n| sent[n].1).collect();
    assert_eq!(marked, [0], "RFC 3551 §4.1: what is sent without a pause has no talkspurts");
    let silent = |packet: &Sent| packet.5.iter().all(|b| *b == 0xff);
    assert!(sent[..50].iter().all(silent) && sent[100..].iter().all(silent));
    assert_eq!(sent.iter().filter(|packet| silent(packet)).count(), 150);
    assert!(call.b.frames.iter().all(|frame| frame.kind == FrameKind::Received));
}

#[test]
fn what_fills_silence_is_no_playback() {
    for fill in [Fill::Silence, Fill::ComfortNoise] {
        let run = |fill| {
            let mut call = Call::between(good(), 1, |c| c.fill = fill, |_| {});
            let mut seen = vec![];
            call.a.play(1, voice(4000, 8000), 8000);
            for n in 1..40u64 {
                if n == 20 {
                    call.a.play(2, voice(4000, 8000), 8000);
                }
                call.run(Time::ms(n * 50));
                let session = &call.a.session;
                seen.push((session.position(), session.queued(), session.is_idle()));
            }
            (seen, call.a.events)
        };
        assert_eq!(run(fill), run(Fill::None));
    }
}

#[test]
fn an_interruption_is_heard_as_fast_with_fill_as_without() {
    let mut call = Call::between(good(), 1, |c| c.fill = Fill::Silence, |_| {});
    call.a.play(1, voice(80_000, 8000), 8000);
    call.run(Time::ms(511));
    call.a.session.cancel(1);
    call.run(Time::secs(1));
    assert!(sent_after(&call.a, 512).iter().all(|packet| packet.5.iter().all(|b| *b == 0xff)));
    assert_one_timeline(&call.a.rtp());
}

#[test]
fn rfc3389_4_a_talkspurt_ends_with_a_description_and_the_next_one_is_marked() {
    let mut call = Call::between(good(), 1, |c| c.fill = Fill::ComfortNoise, |_| {});
    call.a.play(1, voice(8000, 8000), 8000);
    call.run(Time::secs(3));
    call.a.play(2, voice(8000, 8000), 8000);
    call.run(Time::secs(5));
    let sent = call.a.rtp();
    let types: Vec<u8> = sent.iter().map(|packet| packet.2).collect();
    assert_eq!(types.iter().filter(|pt| **pt == 0).count(), 100);
    // At the end of speech, and every 200 ms from there.
    assert_eq!(types[50..60], [13; 10]);
    assert_eq!((sent[50].0, sent[51].0), (Time::secs(1), Time::ms(1200)));
    assert!(sent.iter().filter(|p| p.2 == 13).all(|p| p.5 == [70] && !p.1));
    let marked: Vec<usize> = (0..sent.len()).filter(|&n| sent[n].1).collect();
    assert_eq!(marked, [0, 60], "the first packet of each talkspurt");
    for pair in sent.windows(2) {
        let ms = (pair[1].0 - pair[0].0).as_millis() as u32;
        assert_eq!(pair[1].3, pair[0].3.wrapping_add(1));
        assert_eq!(pair[1].4.wrapping_sub(pair[0].4), ms * 8);
    }
    // And this is how it sounds there.
    let pause: Vec<Frame> =
        call.b.frames.iter().filter(|f| f.kind == FrameKind::ComfortNoise).cloned().collect();
    assert!((145..=150).contains(&pause.len()), "{}", pause.len());
    // Without the end of speech, which fades into it.
    assert!((dbov(&noise_heard(&pause[5..45])) + 70.0).abs() < 1.0);
    assert_eq!(call.b.count(FrameKind::Concealed) + call.b.count(FrameKind::Silence), 0);
}

#[test]
fn rfc3389_4_the_noise_behind_every_talkspurt_is_described_at_once() {
    let mut call = Call::between(good(), 1, |c| c.fill = Fill::ComfortNoise, |_| {});
    // Two words with 300 ms between them: the second begins in the middle of the time from one description to the next.
    call.a.play(1, voice(800, 8000), 8000);
    call.run(Time::ms(400));
    call.a.play(2, voice(800, 8000), 8000);
    call.run(Time::ms(800));
    let described: Vec<u64> =
        call.a.rtp().iter().filter(|packet| packet.2 == 13).map(|p| p.0.as_ms()).collect();
    assert_eq!(described, [100, 300, 500, 700]);
    // A new configuration is described at once as well.
    let mut config = SessionConfig::pcmu(Some(call.b.addr));
    (config.fill, config.noise_level) = (Fill::ComfortNoise, 50);
    call.a.session.update(call.now, &config).unwrap();
    call.run(Time::ms(901));
    let last = call.a.rtp().pop().unwrap();
    assert_eq!((last.0, last.2, last.5), (Time::ms(800), 13, vec![50]));
}

#[test]
fn where_the_far_end_takes_no_comfort_noise_at_our_clock_silence_is_sent() {
    let wide = CodecSpec::l16(97, 16_000, 1);
    let change = |config: &mut SessionConfig| {
        (config.send_codec, config.fill) = (wide, Fill::ComfortNoise);
        config.receive_codecs = vec![wide];
    };
    let mut call = Call::between(good(), 1, change, change);
    call.run(Time::secs(1));
    let sent = call.a.rtp();
    assert_eq!(sent.len(), 50);
    assert!(sent.iter().all(|packet| packet.2 == 97 && packet.5 == vec![0; 640]));
    // A type for it makes the difference.
    let mut call = Call::between(
        good(),
        1,
        |config| {
            change(config);
            config.send_noise = vec![NoiseType { payload_type: 98, clock_rate: 16_000 }];
        },
        change,
    );
    call.run(Time::secs(1));
    assert!(call.a.rtp().iter().all(|packet| packet.2 == 98 && packet.5 == [70]));
}

#[test]
fn nothing_fills_silence_while_we_may_not_send() {
    for fill in [Fill::Silence, Fill::ComfortNoise] {
        for direction in [Direction::RecvOnly, Direction::Inactive] {
            let change = |c: &mut SessionConfig| (c.fill, c.direction) = (fill, direction);
            let mut call = Call::between(good(), 1, change, |_| {});
            call.run(Time::secs(5));
            assert_eq!(call.a.rtp().len(), 0);
        }
    }
}

#[test]
fn digits_go_on_beside_what_fills_silence() {
    for fill in [Fill::Silence, Fill::ComfortNoise] {
        let mut call = Call::between(good(), 1, |c| c.fill = fill, |_| {});
        let digit = roomkit_media::dtmf::Digit::parse('7').unwrap();
        call.run(Time::secs(1));
        call.a.session.send_dtmf(digit, MS(160)).unwrap();
        call.run(Time::secs(2));
        assert_eq!(call.b.digits(), "7");
        assert_eq!(call.b.session.stats().packets_lost, 0);
    }
}

#[test]
fn after_a_stall_fill_makes_no_burst() {
    let mut call = Call::between(good(), 1, |c| c.fill = Fill::Silence, |_| {});
    call.run(Time::ms(500));
    let before = call.a.rtp().len();
    call.now = Time::ms(800);
    call.a.session.handle_deadline(call.now);
    call.drain();
    assert_eq!(call.a.rtp().len(), before + 1);
    assert!(call.a.rtp()[before].1, "what was missed is a pause on the wire");
}

#[test]
fn rfc6263_a_keep_alive_leaves_only_when_nothing_else_did_for_15_seconds() {
    let off = |c: &mut SessionConfig| (c.rtcp, c.send_noise) = (RtcpMode::Off, vec![]);
    let mut call = Call::between(good(), 1, off, |_| {});
    call.a.play(1, voice(80_000, 8000), 8000);
    call.run(Time::secs(60));
    let sent = call.a.rtp();
    let kept: Vec<u64> =
        sent[500..].iter().map(|p| (p.0 - Time::ZERO).as_millis() as u64).collect();
    assert_eq!(kept, [24_980, 39_980, 54_980]);
    assert_eq!(call.a.session.stats().keepalives_sent, 3);
}

#[test]
fn rfc6263_4_6_it_is_an_empty_packet_of_an_unused_type_in_sequence_and_time_and_unmarked() {
    let change = |c: &mut SessionConfig| {
        (c.rtcp, c.send_noise) = (RtcpMode::Off, vec![]);
        c.receive_codecs.push(CodecSpec::l16(127, 16_000, 1));
    };
    let mut call = Call::between(good(), 1, change, |_| {});
    call.a.play(1, voice(8000, 8000), 8000);
    call.run(Time::secs(40));
    call.a.play(2, voice(8000, 8000), 8000);
    call.run(Time::secs(42));
    let sent = call.a.rtp();
    assert_one_timeline(&sent);
    let kept: Vec<_> = sent.iter().filter(|packet| packet.2 != 0).collect();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|p| p.2 == 126 && p.5.is_empty() && !p.1), "127 is taken here");
    // It never reaches the program there: no frame, no loss, no concealment, and speech after it is in its place.
    let stats = call.b.session.stats();
    assert_eq!((stats.keepalives_received, stats.unknown_payload_type), (2, 0));
    assert_eq!((stats.packets_lost, stats.frames_concealed, stats.late), (0, 0, 0));
    assert!(call.b.events.iter().all(|(_, event)| matches!(event, Event::SourceLocked { .. })));
}

#[test]
fn rfc6263_4_2_comfort_noise_of_no_level_keeps_alive_where_the_far_end_takes_it() {
    let mut call = Call::between(good(), 1, |c| c.rtcp = RtcpMode::Off, |_| {});
    call.run(Time::secs(31));
    let sent = call.a.rtp();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|packet| packet.2 == 13 && packet.5 == [127] && !packet.1));
    assert!(call.b.heard().iter().all(|sample| *sample == 0));
}

#[test]
fn rfc6263_4_3_with_rtcp_mux_a_report_keeps_alive_and_the_usual_ones_are_enough() {
    for (interval, most) in [(5, 0), (120, 3)] {
        let change = |c: &mut SessionConfig| {
            (c.rtcp, c.rtcp_interval) = (RtcpMode::Mux, Duration::from_secs(interval));
        };
        let mut call = Call::between(good(), 1, change, change);
        call.run(Time::secs(60));
        let ours = &call.a.sent;
        assert!(ours.iter().all(|(_, datagram)| roomkit_media::rtp::is_rtcp(&datagram.bytes)));
        let kept = call.a.session.stats().keepalives_sent;
        assert!(kept <= most && (most == 0 || kept > 0), "{kept} of {most}");
        let gaps = ours.windows(2).map(|pair| pair[1].0 - pair[0].0);
        assert!(gaps.max().unwrap() <= MS(15_020));
    }
}

#[test]
fn rfc6263_while_we_may_not_send_it_goes_on_without_media() {
    let hold = |c: &mut SessionConfig| (c.rtcp, c.direction) = (RtcpMode::Off, Direction::Inactive);
    let mut call = Call::between(good(), 1, hold, |_| {});
    call.run(Time::secs(31));
    let sent = call.a.rtp();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|packet| packet.2 == 127 && packet.5.is_empty()));
    assert_eq!((call.b.frames.len(), call.b.session.stats().keepalives_received), (0, 2));
}

#[test]
fn keep_alives_can_be_declined_and_wait_for_somebody_to_be_sent_to() {
    let change = |c: &mut SessionConfig| (c.rtcp, c.keepalive) = (RtcpMode::Off, None);
    let mut call = Call::between(good(), 1, change, |_| {});
    call.run(Time::secs(60));
    assert_eq!(call.a.sent.len(), 0);
    let nobody = |c: &mut SessionConfig| (c.rtcp, c.remote) = (RtcpMode::Off, None);
    let mut call = Call::between(good(), 1, nobody, |_| {});
    call.run(Time::secs(60));
    assert_eq!(call.a.sent.len(), 0);
}

#[test]
fn keep_alives_of_others_make_no_frame_start_nothing_and_are_counted() {
    let mut far = Far::new(8, |_| {});
    let from = common::A.parse().unwrap();
    // Nobody has proved itself yet: empty datagrams, empty packets of unknown and of known types.
    far.session.receive(Time::ZERO, from, Port::Rtp, &[]);
    for n in 0..5 {
        far.send(100 * n, 126, &[]);
    }
    assert_eq!(far.session.stats().keepalives_received, 6);
    assert_eq!(far.session.source(), None);
    for n in 5..10 {
        far.send(100 * n, 0, &[]);
    }
    far.run(2000);
    assert_eq!(far.frames.len(), 0);
    far.talk(2000, 50);
    // In the middle of a call they are no gap.
    far.send(3000, 126, &[]);
    far.send(3100, 0, &[]);
    far.talk(3200, 50);
    far.run(4260);
    let stats = far.session.stats();
    assert_eq!((stats.unknown_payload_type, stats.packets_lost, stats.late), (0, 0, 0));
    assert_eq!(stats.keepalives_received, 13);
    assert_eq!((stats.frames_concealed, far.count(FrameKind::Received)), (0, 100));
}

#[test]
fn a_chunk_that_comes_in_pieces_keeps_its_lead_with_fill() {
    // Live audio in pieces of 30 ms: a frame that is not whole yet waits, and silence goes in its place.
    let mut call = Call::between(good(), 1, |c| c.fill = Fill::Silence, |_| {});
    for n in 0..100u64 {
        let pcm = voice(240, 8000);
        let chunk = Chunk {
            playback: 1,
            pcm,
            sample_rate: 8000,
            channels: 1,
            last: n == 99,
            live: true,
            marks: vec![],
        };
        call.a.session.play(chunk).unwrap();
        call.run(Time::ms(30 * (n + 1)));
    }
    call.run(Time::secs(4));
    let sent = call.a.rtp();
    assert_eq!(sent.len(), 200, "a packet for every frame");
    let silent = sent[..152].iter().filter(|packet| packet.5.iter().all(|b| *b == 0xff)).count();
    assert!(silent <= 2, "{silent} holes");
}

#[test]
fn what_fills_silence_can_change_in_mid_call() {
    let mut call = Call::between(good(), 1, |_| {}, |_| {});
    let mut config = SessionConfig::pcmu(Some(common::B.parse().unwrap()));
    for (second, fill) in
        [Fill::None, Fill::Silence, Fill::ComfortNoise, Fill::None].into_iter().enumerate()
    {
        config.fill = fill;
        call.a.session.update(call.now, &config).unwrap();
        call.run(Time::secs(second as u64 + 1));
    }
    let sent: Vec<(u64, u8)> =
        call.a.rtp().iter().map(|p| ((p.0 - Time::ZERO).as_secs(), p.2)).collect();
    let count = |second, pt| sent.iter().filter(|packet| **packet == (second, pt)).count();
    assert_eq!((count(1, 0), count(2, 13), sent.len()), (50, 5, 55), "{sent:?}");
}
