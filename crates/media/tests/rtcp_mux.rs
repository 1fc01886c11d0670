//! Where RTCP travels, and that it may change in the middle of a call (RFC 5761 §5.1.1).

mod common;

use common::{good, voice, Call, End, A, B};
use roomkit_media::rtp::is_rtcp;
use roomkit_media::session::{Port, RtcpMode, SessionConfig};
use roomkit_media::time::{Duration, Time};

/// Reports every second, so that a minute has many.
fn often(c: &mut SessionConfig) {
    c.rtcp_interval = Duration::from_secs(1);
}

fn turn(end: &mut End, other: &str, now: Time, rtcp: RtcpMode) {
    let mut config = SessionConfig::pcmu(Some(other.parse().unwrap()));
    config.rtcp = rtcp;
    often(&mut config);
    end.session.update(now, &config).unwrap();
}

/// From which ports reports left since `from`.
fn ports(end: &End, from: Time) -> Vec<Port> {
    let rtcp = end.sent.iter().filter(|(at, d)| *at >= from && is_rtcp(&d.bytes));
    let mut ports: Vec<Port> = rtcp.map(|(_, d)| d.port).collect();
    ports.dedup();
    ports
}

#[test]
fn rfc5761_5_1_1_a_call_goes_over_to_one_port_and_back_and_no_report_is_lost() {
    for first in [RtcpMode::Separate, RtcpMode::Mux] {
        let second = if first == RtcpMode::Mux { RtcpMode::Separate } else { RtcpMode::Mux };
        let mut call = Call::new(good(), 1, |c| {
            c.rtcp = first;
            often(c);
        });
        call.a.play(1, voice(8000 * 60, 8000), 8000);
        call.b.play(1, voice(8000 * 60, 8000), 8000);
        for (minute, mode) in [first, second, first].into_iter().enumerate() {
            let began = call.now;
            turn(&mut call.b, A, began, mode);
            // The other end learns of it later, and may have sent a report the old way meanwhile.
            call.run(began + Duration::from_millis(700));
            let now = call.now;
            turn(&mut call.a, B, now, mode);
            call.run(Time::secs(20 * (minute as u64 + 1)));
            let port = if mode == RtcpMode::Mux { Port::Rtp } else { Port::Rtcp };
            assert_eq!(ports(&call.b, began), [port], "{first:?} first, {mode:?}");
            assert_eq!(ports(&call.a, now), [port], "{first:?} first, {mode:?}");
        }
        // What is still on its way at the end is no loss.
        call.run(call.now + Duration::from_millis(500));
        let (a, b) = (call.a.session.stats(), call.b.session.stats());
        assert!(a.rtcp_sent > 40 && b.rtcp_sent > 40);
        assert!(a.rtcp_sent - b.rtcp_received <= 1 && b.rtcp_sent - a.rtcp_received <= 1);
        assert_eq!((a.rtcp_stranger, b.rtcp_stranger), (0, 0));
        assert!(a.round_trip.is_some() && b.round_trip.is_some());
    }
}

#[test]
fn reports_go_where_the_far_end_has_its_own_port_after_the_change() {
    let mut call = Call::new(good(), 1, |c| {
        c.rtcp = RtcpMode::Mux;
        often(c);
    });
    call.a.play(1, voice(8000 * 20, 8000), 8000);
    call.run(Time::secs(5));
    let mut config = SessionConfig::pcmu(Some(A.parse().unwrap()));
    config.remote_rtcp = Some("192.0.2.1:7777".parse().unwrap());
    often(&mut config);
    call.b.session.update(call.now, &config).unwrap();
    let from = call.now;
    // A report that comes the old way, because it was sent before the far end knew, changes nothing of it.
    call.run(Time::secs(7));
    assert!(call.b.session.stats().rtcp_received > 4);
    call.a_to_b.reconfigure(roomkit_netsim::LinkConfig {
        loss: roomkit_netsim::Loss::Random(1.0),
        ..good()
    });
    call.run(Time::secs(10));
    let rtcp = call.b.sent.iter().filter(|(at, d)| *at >= from && is_rtcp(&d.bytes));
    let to: Vec<String> = rtcp.map(|(_, d)| d.to.to_string()).collect();
    assert!(to.len() >= 2 && to.iter().all(|to| to == "192.0.2.1:7777"), "{to:?}");
}

#[test]
fn a_call_without_rtcp_stays_without_and_one_with_it_keeps_it() {
    for (first, second) in [(RtcpMode::Off, RtcpMode::Mux), (RtcpMode::Separate, RtcpMode::Off)] {
        let mut call = Call::new(good(), 1, |c| {
            c.rtcp = first;
            often(c);
        });
        call.a.play(1, voice(8000 * 20, 8000), 8000);
        call.run(Time::secs(2));
        let from = call.now;
        turn(&mut call.a, B, from, second);
        call.run(Time::secs(10));
        let expected = if first == RtcpMode::Off { vec![] } else { vec![Port::Rtcp] };
        assert_eq!(ports(&call.a, from), expected);
    }
}
