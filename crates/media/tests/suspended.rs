//! A machine that slept, a process that was stopped: the clock ran on, the network went on sending, and nobody listened.
//!
//! What came meanwhile waits in the socket with the kernel's time of its arrival. The engine reads a part of it before the
//! first frame that is due, and the rest behind it.

#![allow(missing_docs)]

mod common;

use common::{good, voice, Call, Datagram};
use roomkit_media::codec::CodecSpec;
use roomkit_media::session::Event;
use roomkit_media::time::{Duration, Time};

/// What the engine reads of a socket before a frame, and what a socket holds at all.
const READ_BEFORE_A_FRAME: usize = 64;
const SOCKET_HOLDS: usize = 270;

const STOPPED: Time = Time::secs(4);

/// Two that speak, of whom A is stopped for `stopped`; as it is right after A's first frame behind that.
fn stopped_for(stopped: Duration) -> Call {
    let mut call = Call::new(good(), 1, |config| {
        config.rtp_timeout = Some(Duration::from_secs(10));
        config.rtcp_timeout = Some(Duration::from_secs(20));
        config.keepalive = None;
    });
    call.a.play(1, voice(60 * 8000, 8000), 8000);
    call.b.play(1, voice(60 * 8000, 8000), 8000);
    call.run(STOPPED);
    let waiting = without_a(&mut call, STOPPED + stopped);
    let deliver = |call: &mut Call, some: &[(Time, Datagram)]| {
        for (arrived, datagram) in some {
            call.a.session.receive(*arrived, datagram.from, datagram.port, &datagram.bytes);
        }
    };
    let (before, after) = waiting.split_at(waiting.len().min(READ_BEFORE_A_FRAME));
    deliver(&mut call, before);
    call.a.session.handle_deadline(call.now);
    call.drain();
    deliver(&mut call, after);
    call.drain();
    call
}

/// Runs B alone until `until`; what waits in A's socket then.
fn without_a(call: &mut Call, until: Time) -> Vec<(Time, Datagram)> {
    let mut waiting = Vec::new();
    while call.now < until {
        call.now = call.b.session.deadline().min(until);
        while let Some((at, datagram)) = call.b_to_a.receive(call.now - Time::ZERO) {
            waiting.push((Time::ns(at.as_nanos() as u64), datagram));
        }
        call.b.session.handle_deadline(call.now);
        call.drain();
    }
    waiting.truncate(SOCKET_HOLDS);
    waiting
}

/// How far behind B's speech A hears it, from the last frames that A was given.
fn delay_of_hearing(call: &Call) -> Duration {
    let frames = &call.a.frames[call.a.frames.len() - 10..];
    let heard: Vec<i16> = frames.iter().flat_map(|frame| frame.pcm.clone()).collect();
    let spec = CodecSpec::PCMU;
    let (mut wire, mut said) = (vec![], vec![]);
    spec.encoder().encode(&voice(60 * 8000, 8000), &mut wire);
    spec.decoder().decode(&wire, &mut said).unwrap();
    let at = said.windows(heard.len()).position(|piece| piece == heard).expect("B's own words");
    // B began 7 ms after A, and the last of A's frames has just been made.
    let end = Time::ms(7 + (at + heard.len()) as u64 / 8);
    (call.a.session.deadline() - end) - Duration::from_millis(20)
}

#[test]
fn what_was_said_meanwhile_is_not_heard_and_the_delay_is_what_it_was() {
    for ms in [1_100, 2_500, 3_900, 5_000, 30_000] {
        let mut call = stopped_for(Duration::from_millis(ms));
        let now = call.now;
        // At most the target of 60 ms is missing of what comes from now on, and no speech of long ago comes before it.
        call.run(now + Duration::from_millis(500));
        let delay = delay_of_hearing(&call);
        assert!(delay <= Duration::from_millis(120), "{ms} ms: {delay:?} behind");
        let stats = call.a.session.stats();
        assert!(stats.buffered <= Duration::from_millis(100), "{ms} ms: {:?}", stats.buffered);
    }
}

#[test]
fn one_packet_leaves_the_timestamp_tells_the_time_and_the_playback_is_where_it_was() {
    for ms in [1_100, 5_000, 30_000] {
        let call = stopped_for(Duration::from_millis(ms));
        let sent = call.a.rtp();
        let (last, before) = (&sent[sent.len() - 1], &sent[sent.len() - 2]);
        assert!(before.0 < STOPPED && last.0 == call.now, "{ms} ms: one packet");
        assert!(last.1, "{ms} ms: it begins a talkspurt");
        assert_eq!(last.3, before.3.wrapping_add(1), "{ms} ms: the sequence goes on");
        let elapsed = (call.a.session.deadline() - before.0).as_millis() as u32 - 20;
        assert_eq!(last.4.wrapping_sub(before.4), elapsed * 8, "{ms} ms");
        let played = Duration::from_millis(20 * sent.len() as u64);
        assert_eq!(call.a.session.position(), Some((1, played)), "{ms} ms");
    }
}

#[test]
fn frames_go_on_where_the_time_has_come_to() {
    let mut call = stopped_for(Duration::from_secs(5));
    call.run(Time::secs(10));
    let frames = &call.a.frames;
    let span = frames[frames.len() - 1].timestamp - frames[0].timestamp;
    let jumps: Vec<Duration> =
        frames.windows(2).map(|pair| pair[1].timestamp - pair[0].timestamp).collect();
    let usual = Duration::from_millis(20);
    assert_eq!(jumps.iter().filter(|jump| **jump != usual).count(), 1);
    assert!(span > Duration::from_secs(9), "{span:?}");
}

#[test]
fn who_slept_does_not_say_that_the_far_end_is_gone() {
    let mut call = stopped_for(Duration::from_secs(30));
    let resumed = call.now;
    call.run(resumed + Duration::from_secs(5));
    let gone = |event: &Event| matches!(event, Event::RtpTimeout | Event::RtcpTimeout);
    assert!(!call.a.events.iter().any(|(_, event)| gone(event)), "{:?}", call.a.events);
    // It is missed as usual from then on.
    call.b.session.cancel(u64::MAX);
    call.run(resumed + Duration::from_secs(40));
    let told: Vec<_> = call.a.events.iter().filter(|(_, event)| gone(event)).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let silent_since = resumed + Duration::from_secs(5);
    assert!(
        (told[0].0 - silent_since).abs_diff(Duration::from_secs(10)) < Duration::from_millis(200)
    );
}
