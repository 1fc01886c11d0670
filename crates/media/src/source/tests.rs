use super::*;
use crate::rtp::RtpHeader;
use crate::seq::RtpTime;

/// A source that sends; the tests move it about.
#[derive(Clone, Copy)]
pub(super) struct Talker {
    pub addr: SocketAddr,
    pub ssrc: Ssrc,
    pub seq: SeqNo,
}

impl Talker {
    pub fn new(addr: &str, ssrc: u32, seq: u16) -> Talker {
        Talker { addr: addr.parse().unwrap(), ssrc: Ssrc(ssrc), seq: SeqNo(seq) }
    }

    /// Sends its next packet at `ms`.
    pub fn speak(&mut self, guard: &mut SourceGuard, ms: u64) -> Verdict {
        let bytes = self.packet();
        guard.judge(Time::ms(ms), self.addr, &RtpPacket::parse(&bytes).unwrap(), &bytes, false)
    }

    /// The same with a packet that a key vouches for.
    pub fn speak_authenticated(&mut self, guard: &mut SourceGuard, ms: u64) -> Verdict {
        let bytes = self.packet();
        guard.judge(Time::ms(ms), self.addr, &RtpPacket::parse(&bytes).unwrap(), &bytes, true)
    }

    /// The next packet, of 20 ms of G.711.
    pub fn packet(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let timestamp = RtpTime(u32::from(self.seq.0) * 160);
        let (seq, ssrc) = (self.seq, self.ssrc);
        RtpHeader { marker: false, payload_type: 0, seq, timestamp, ssrc }.write(&mut bytes);
        bytes.resize(172, 0xff);
        self.seq = self.seq.plus(1);
        bytes
    }
}

pub(super) const PBX: &str = "192.0.2.1:20000";
pub(super) const PBX_OTHER_PORT: &str = "192.0.2.1:31000";
pub(super) const ELSEWHERE: &str = "198.51.100.7:4000";

pub(super) fn guard(policy: Policy, signalled: &str) -> SourceGuard {
    guard_of(SourceConfig::new(policy, Some(signalled.parse().unwrap())))
}

pub(super) fn guard_of(config: SourceConfig) -> SourceGuard {
    SourceGuard::new(config, Time::ZERO)
}

/// A guard that is locked on a talker at the signalled address, at 20 ms.
pub(super) fn locked(policy: Policy) -> (SourceGuard, Talker) {
    let (mut guard, mut pbx) = (guard(policy, PBX), Talker::new(PBX, 1, 65_535));
    assert_eq!(pbx.speak(&mut guard, 0), Verdict::Hold);
    assert!(matches!(pbx.speak(&mut guard, 20), Verdict::NewSource { .. }));
    (guard, pbx)
}

/// The sequence numbers of handed over packets.
pub(super) fn seqs(verdict: &Verdict) -> Vec<u16> {
    let Verdict::NewSource { held, .. } = verdict else { panic!("not a new source: {verdict:?}") };
    held.iter().map(|packet| RtpPacket::parse(&packet.bytes).unwrap().seq.0).collect()
}

#[test]
fn rfc3550_a1_two_sequential_packets_of_the_signalled_address_lock_and_none_is_lost() {
    let (mut guard, mut pbx) = (guard(Policy::Strict, PBX), Talker::new(PBX, 9, 65_535));
    assert_eq!((guard.locked(), guard.destination()), (None, Some(pbx.addr)));
    assert_eq!(pbx.speak(&mut guard, 100), Verdict::Hold);
    let verdict = pbx.speak(&mut guard, 120);
    assert_eq!(seqs(&verdict), [65_535, 0]);
    let Verdict::NewSource { held, previous, continues } = verdict else { unreachable!() };
    assert_eq!(held.iter().map(|p| p.arrival.as_ms()).collect::<Vec<_>>(), [100, 120]);
    assert_eq!((previous, continues), (None, false));
    assert_eq!(guard.locked(), Some((pbx.addr, Ssrc(9))));
    assert_eq!(pbx.speak(&mut guard, 140), Verdict::Accept);
}

#[test]
fn a_source_at_another_port_that_begins_with_a_burst_loses_nothing() {
    let mut guard = guard(Policy::Host, PBX);
    let mut player = Talker::new(PBX_OTHER_PORT, 5, 0);
    for _ in 0..13 {
        assert_eq!(player.speak(&mut guard, 0), Verdict::Hold, "a burst proves nothing");
    }
    assert_eq!(seqs(&player.speak(&mut guard, 256)), (0..14).collect::<Vec<_>>());
}

#[test]
fn rfc3550_a1_a_gap_starts_the_run_anew_but_keeps_what_was_held() {
    let (mut guard, mut pbx) = (guard(Policy::Strict, PBX), Talker::new(PBX, 9, 10));
    pbx.speak(&mut guard, 0);
    pbx.seq = SeqNo(12);
    assert_eq!(pbx.speak(&mut guard, 40), Verdict::Hold);
    pbx.seq = SeqNo(11);
    assert_eq!(pbx.speak(&mut guard, 41), Verdict::Hold, "late: proves nothing, and ends nothing");
    pbx.seq = SeqNo(13);
    assert_eq!(seqs(&pbx.speak(&mut guard, 60)), [10, 12, 11, 13], "in the order they came");
}

#[test]
fn who_is_narrowed_hears_nobody_begin_elsewhere_and_goes_on_hearing_who_spoke() {
    for policy in [Policy::Host, Policy::Learn, Policy::Follow] {
        let (mut guard, mut pbx) = locked(policy);
        guard.narrow();
        assert_eq!(pbx.speak(&mut guard, 40), Verdict::Accept);
        // Whatever it has: a key, the call's own SSRC and sequence, or nothing; and however long nobody else speaks.
        let mut same = Talker { addr: PBX_OTHER_PORT.parse().unwrap(), ..pbx };
        let mut other = Talker::new(ELSEWHERE, 5, 0);
        for n in 0..200 {
            for talker in [&mut same, &mut other] {
                let refused = Verdict::Reject(RejectReason::NotSignalled);
                assert_eq!(talker.speak(&mut guard, 60 + n * 20), refused, "{policy:?}");
                assert_eq!(
                    talker.speak_authenticated(&mut guard, 60 + n * 20),
                    refused,
                    "{policy:?}"
                );
            }
        }
        assert_eq!(pbx.speak(&mut guard, 5000), Verdict::Accept);
        let mut anew = Talker::new(PBX, 77, 0);
        assert_eq!(anew.speak(&mut guard, 9000), Verdict::Hold);
        assert!(
            matches!(anew.speak(&mut guard, 9020), Verdict::NewSource { .. }),
            "it changes its SSRC"
        );
    }
}

#[test]
fn a_source_that_was_learned_keeps_the_call_that_is_narrowed() {
    for signalled in [Some(PBX), None] {
        let config = SourceConfig::new(Policy::Learn, signalled.map(|s| s.parse().unwrap()));
        let mut guard = guard_of(config);
        guard.narrow();
        let mut nat = Talker::new(ELSEWHERE, 5, 0);
        if signalled.is_some() {
            assert!(matches!(
                nat.speak(&mut guard, 0),
                Verdict::Reject(RejectReason::NotSignalled)
            ));
            guard = guard_of(config);
        }
        // Where nobody is signalled or heard, it would be deaf to everyone.
        for n in 0..5 {
            nat.speak(&mut guard, n * 20);
        }
        assert_eq!(guard.locked(), Some((nat.addr, Ssrc(5))));
        guard.narrow();
        assert_eq!(nat.speak(&mut guard, 100), Verdict::Accept);
        assert_eq!(nat.speak_authenticated(&mut guard, 2000), Verdict::Accept, "after a pause too");
        let mut other = Talker::new(PBX_OTHER_PORT, 6, 0);
        let refused = Verdict::Reject(RejectReason::NotSignalled);
        assert_eq!(other.speak_authenticated(&mut guard, 9000), refused);
    }
}

#[test]
fn strict_hears_the_signalled_address_only() {
    let mut guard = guard(Policy::Strict, PBX);
    for addr in [PBX_OTHER_PORT, ELSEWHERE] {
        let mut other = Talker::new(addr, 5, 0);
        for n in 0..100 {
            let verdict = other.speak(&mut guard, n * 20);
            assert_eq!(verdict, Verdict::Reject(RejectReason::NotSignalled));
        }
    }
    assert_eq!(guard.rejected(RejectReason::NotSignalled), 200);
}

#[test]
fn host_hears_another_port_after_five_sequential_packets_and_keeps_the_destination() {
    let mut guard = guard(Policy::Host, PBX);
    let mut gateway = Talker::new(PBX_OTHER_PORT, 5, 100);
    for n in 0..4 {
        assert_eq!(gateway.speak(&mut guard, n * 20), Verdict::Hold);
    }
    assert_eq!(seqs(&gateway.speak(&mut guard, 80)), [100, 101, 102, 103, 104]);
    assert_eq!(guard.locked(), Some((gateway.addr, Ssrc(5))));
    assert_eq!(guard.destination(), Some(PBX.parse().unwrap()), "that is where it said it listens");
    let mut other = Talker::new(ELSEWHERE, 5, 105);
    assert_eq!(other.speak(&mut guard, 100), Verdict::Reject(RejectReason::OtherHost));
}

#[test]
fn learn_locks_on_the_first_proven_source_and_sends_to_it() {
    for signalled in [None, Some(PBX.parse().unwrap())] {
        let mut guard = guard_of(SourceConfig::new(Policy::Learn, signalled));
        let mut peer = Talker::new(ELSEWHERE, 5, 100);
        for n in 0..4 {
            assert_eq!(peer.speak(&mut guard, n * 20), Verdict::Hold);
            assert_eq!(guard.destination(), signalled);
        }
        assert!(matches!(peer.speak(&mut guard, 80), Verdict::NewSource { .. }));
        assert_eq!(guard.destination(), Some(peer.addr), "RFC 4961");
    }
    // Host and Strict hear nobody before they are told whom: an offer of ours waits for its answer.
    let mut peer = Talker::new(ELSEWHERE, 5, 100);
    let mut host = guard_of(SourceConfig::new(Policy::Host, None));
    assert!(
        (0..9).all(|n| peer.speak(&mut host, n * 20) == Verdict::Reject(RejectReason::OtherHost))
    );
    host.retarget(Time::ms(200), ELSEWHERE.parse().unwrap());
    assert!((10..12).any(|n| matches!(peer.speak(&mut host, n * 20), Verdict::NewSource { .. })));
    let mut strict = guard_of(SourceConfig::new(Policy::Strict, None));
    assert_eq!(peer.speak(&mut strict, 0), Verdict::Reject(RejectReason::NotSignalled));
}

#[test]
fn a_burst_proves_nothing_however_long() {
    let mut guard = guard_of(SourceConfig::new(Policy::Learn, None));
    let mut peer = Talker::new(ELSEWHERE, 5, 100);
    for _ in 0..1000 {
        assert_eq!(peer.speak(&mut guard, 0), Verdict::Hold);
    }
    assert_eq!(peer.speak(&mut guard, 29), Verdict::Hold);
    assert_eq!(seqs(&peer.speak(&mut guard, 30)).len(), 16 + 1, "no more than was held");
    assert_eq!(guard.given_up(), 1001 - 16);
}

#[test]
fn the_expected_ssrc_is_the_only_one_that_is_heard() {
    let usual = SourceConfig::new(Policy::Host, Some(PBX.parse().unwrap()));
    let mut guard = guard_of(SourceConfig { expected_ssrc: Some(Ssrc(7)), ..usual });
    let (mut wrong, mut right) = (Talker::new(PBX, 6, 0), Talker::new(PBX, 7, 0));
    for n in 0..10 {
        let verdict = wrong.speak(&mut guard, n * 20);
        assert_eq!(verdict, Verdict::Reject(RejectReason::UnexpectedSsrc));
    }
    right.speak(&mut guard, 200);
    assert!(matches!(right.speak(&mut guard, 220), Verdict::NewSource { .. }));
    assert!(!guard.judge_rtcp(right.addr, Ssrc(6)) && guard.judge_rtcp(right.addr, Ssrc(7)));
}

#[test]
fn the_signalled_address_takes_the_lock_from_one_that_spoke_first() {
    for (policy, first) in [(Policy::Host, PBX_OTHER_PORT), (Policy::Learn, ELSEWHERE)] {
        let (mut guard, mut early) = (guard(policy, PBX), Talker::new(first, 5, 100));
        (0..10).for_each(|n| drop(early.speak(&mut guard, n * 20)));
        assert_eq!(guard.locked(), Some((early.addr, Ssrc(5))));

        let mut pbx = Talker::new(PBX, 1, 7);
        assert_eq!(pbx.speak(&mut guard, 205), Verdict::Hold);
        assert_eq!(early.speak(&mut guard, 210), Verdict::Accept);
        let verdict = pbx.speak(&mut guard, 225);
        assert_eq!(seqs(&verdict), [7, 8]);
        let Verdict::NewSource { previous, .. } = verdict else { unreachable!() };
        assert_eq!(previous, Some((early.addr, Ssrc(5))));
        assert_eq!(guard.destination(), Some(pbx.addr));
        for n in 0..249 {
            assert_eq!(early.speak(&mut guard, 230 + n * 20), Verdict::Hold, "one is on trial");
            assert_eq!(pbx.speak(&mut guard, 245 + n * 20), Verdict::Accept);
        }
        pbx.speak(&mut guard, 245 + 249 * 20);
        let verdict = early.speak(&mut guard, 230 + 250 * 20);
        assert_eq!(verdict, Verdict::Reject(RejectReason::LockedElsewhere), "and has passed");
    }
}

#[test]
fn a_nat_that_rebinds_is_followed_as_the_same_source_within_two_seconds() {
    for (policy, moved_to) in [(Policy::Host, PBX_OTHER_PORT), (Policy::Learn, ELSEWHERE)] {
        let (mut guard, mut peer) = locked(policy);
        peer.addr = moved_to.parse().unwrap();
        let (at, verdict) = (2..100)
            .map(|n| (n * 20, peer.speak(&mut guard, n * 20)))
            .find(|(_, verdict)| matches!(verdict, Verdict::NewSource { .. }))
            .unwrap();
        assert_eq!(at, 1020, "a second after it was last heard at the old address");
        assert!(matches!(verdict, Verdict::NewSource { continues: true, .. }));
        assert_eq!(guard.destination(), Some(peer.addr));
    }
}

#[test]
fn a_new_ssrc_that_begins_as_the_old_one_ends_loses_no_packet() {
    let (mut guard, _) = locked(Policy::Host);
    let mut next = Talker::new(PBX, 2, 500);
    for ms in [40, 60, 80] {
        assert_eq!(next.speak(&mut guard, ms), Verdict::Hold);
    }
    let verdict = next.speak(&mut guard, 100);
    assert_eq!(seqs(&verdict), [500, 501, 502, 503]);
    let Verdict::NewSource { previous, continues, .. } = verdict else { unreachable!() };
    assert_eq!((previous.map(|p| p.1), continues), (Some(Ssrc(1)), false));
    assert_eq!(next.speak(&mut guard, 120), Verdict::Accept);
}

#[test]
fn rfc3551_4_2_between_two_long_packets_no_source_has_stopped() {
    for ptime in [60, 100, 200] {
        let (mut guard, mut old) = locked(Policy::Host);
        // A fresh SSRC in every gap, with all the packets it can send.
        for n in 1..200 {
            assert_eq!(old.speak(&mut guard, n * ptime), Verdict::Accept);
            if n < 30 {
                continue; // until the interval is known
            }
            let mut other = Talker::new(PBX, 1000 + n as u32, 0);
            for ms in 1..ptime {
                let verdict = other.speak(&mut guard, n * ptime + ms);
                assert!(!matches!(verdict, Verdict::NewSource { .. }), "{ptime} ms packets");
            }
        }
    }
}

#[test]
fn a_stray_packet_long_ago_does_not_make_a_successor_wait() {
    let (mut guard, mut old) = locked(Policy::Host);
    let mut next = Talker::new(PBX, 2, 500);
    next.speak(&mut guard, 30);
    (2..100).for_each(|n| drop(old.speak(&mut guard, n * 20)));
    let at =
        (100..200).find(|n| matches!(next.speak(&mut guard, n * 20), Verdict::NewSource { .. }));
    assert_eq!(at, Some(103));
}

#[test]
fn while_two_ssrcs_speak_from_one_address_the_old_one_stays() {
    let (mut guard, mut old) = locked(Policy::Host);
    let mut new = Talker::new(PBX, 2, 500);
    for n in 2..500 {
        assert_eq!(old.speak(&mut guard, n * 20), Verdict::Accept);
        assert_eq!(new.speak(&mut guard, n * 20 + 1), Verdict::Hold);
    }
    // It was no successor, so it needs a whole second of the other's silence.
    let end = 499 * 20;
    let at = (1..100)
        .map(|n| end + n * 20)
        .find(|&ms| matches!(new.speak(&mut guard, ms), Verdict::NewSource { .. }));
    assert_eq!(at, Some(end + 1000));
}

#[test]
fn a_source_that_paused_gets_its_lock_back_from_one_that_filled_the_pause() {
    let mut guard = guard_of(SourceConfig::new(Policy::Learn, None));
    let (mut caller, mut other) = (Talker::new(ELSEWHERE, 5, 0), Talker::new(PBX, 66, 0));
    (0..5).for_each(|n| drop(caller.speak(&mut guard, n * 20)));
    let taken =
        (5..100).any(|n| matches!(other.speak(&mut guard, n * 20), Verdict::NewSource { .. }));
    assert!(taken, "the caller was silent for more than a second");

    for ms in [2000, 2020] {
        other.speak(&mut guard, ms);
        caller.speak(&mut guard, ms + 1);
    }
    assert!(matches!(caller.speak(&mut guard, 2040), Verdict::NewSource { .. }));
    for n in 0..200 {
        assert_eq!(caller.speak(&mut guard, 2060 + n * 20), Verdict::Accept);
        let verdict = other.speak(&mut guard, 2061 + n * 20);
        assert_eq!(verdict, Verdict::Reject(RejectReason::LockedElsewhere), "no flapping");
    }
}

#[test]
fn a_reinvite_leaves_no_hole_the_old_source_speaks_until_the_new_one_does() {
    let (mut guard, mut old) = locked(Policy::Host);
    let mut new = Talker::new("203.0.113.5:6000", 77, 0);
    guard.retarget(Time::ms(30), new.addr);
    assert_eq!(guard.destination(), Some(new.addr), "ours go there at once");
    for n in 2..10 {
        assert_eq!(old.speak(&mut guard, n * 20), Verdict::Accept);
    }
    assert_eq!(new.speak(&mut guard, 205), Verdict::Hold);
    assert_eq!(old.speak(&mut guard, 210), Verdict::Accept);
    assert_eq!(seqs(&new.speak(&mut guard, 225)), [0, 1]);
    assert_eq!(old.speak(&mut guard, 230), Verdict::Reject(RejectReason::OtherHost));
}

#[test]
fn after_a_reinvite_the_old_source_is_heard_for_a_second_and_no_longer() {
    let (mut guard, mut old) = locked(Policy::Host);
    guard.retarget(Time::ms(30), "203.0.113.5:6000".parse().unwrap());
    for n in 2..51 {
        assert_eq!(old.speak(&mut guard, n * 20), Verdict::Accept);
    }
    assert_eq!(old.speak(&mut guard, 1020), Verdict::Reject(RejectReason::OtherHost));
    assert_eq!(guard.locked(), None);
}

#[test]
fn a_reinvite_that_moves_only_where_the_peer_listens_keeps_its_source() {
    let (mut guard, mut pbx) = locked(Policy::Host);
    let listens = PBX_OTHER_PORT.parse().unwrap();
    guard.retarget(Time::ms(30), listens);
    for n in 2..200 {
        assert_eq!(pbx.speak(&mut guard, n * 20), Verdict::Accept);
        assert_eq!(guard.destination(), Some(listens));
    }
}

#[test]
fn a_peer_that_speaks_before_it_is_signalled_loses_no_packet_by_the_signalling() {
    let mut guard = guard_of(SourceConfig::new(Policy::Learn, None));
    let mut peer = Talker::new(ELSEWHERE, 5, 0);
    let mut stranger = Talker::new(PBX, 6, 0);
    assert_eq!(peer.speak(&mut guard, 0), Verdict::Hold);
    assert_eq!(stranger.speak(&mut guard, 1), Verdict::Hold);
    guard.retarget(Time::ms(10), peer.addr);
    assert_eq!(guard.given_up(), 1, "what is held of anybody else is of no use");
    assert_eq!(seqs(&peer.speak(&mut guard, 20)), [0, 1]);
    assert_eq!(guard.locked(), Some((peer.addr, Ssrc(5))));
    assert_eq!(guard.given_up(), 1);

    // The places at the signalled address stay as few as they were.
    let mut guard = guard_of(SourceConfig::new(Policy::Learn, Some(PBX.parse().unwrap())));
    for ssrc in 0..8 {
        Talker::new(PBX, ssrc, 0).speak(&mut guard, u64::from(ssrc));
        Talker::new(ELSEWHERE, ssrc, 0).speak(&mut guard, u64::from(ssrc));
    }
    guard.retarget(Time::ms(10), ELSEWHERE.parse().unwrap());
    assert_eq!(guard.home.bytes_held(), 4 * 172);
    assert_eq!(guard.strangers.bytes_held(), 0);
}

#[test]
fn a_session_refresh_with_the_same_address_changes_nothing() {
    let (mut guard, mut peer) = (guard(Policy::Learn, PBX), Talker::new(ELSEWHERE, 5, 100));
    (0..10).for_each(|n| drop(peer.speak(&mut guard, n * 20)));
    guard.retarget(Time::ms(30), PBX.parse().unwrap());
    assert_eq!(guard.destination(), Some(peer.addr));
    assert_eq!(peer.speak(&mut guard, 200), Verdict::Accept);

    // There and back again before anybody moved.
    let (mut guard, mut pbx) = locked(Policy::Strict);
    guard.retarget(Time::ms(30), ELSEWHERE.parse().unwrap());
    guard.retarget(Time::ms(30), PBX.parse().unwrap());
    assert!((2..200).all(|n| pbx.speak(&mut guard, n * 20) == Verdict::Accept));
    assert_eq!(guard.destination(), Some(pbx.addr));
}

#[test]
fn rtcp_is_believed_from_the_host_and_the_ssrc_of_the_source_only() {
    let fresh = guard(Policy::Host, PBX);
    let (rtcp, foreign) = ("192.0.2.1:20001".parse().unwrap(), ELSEWHERE.parse().unwrap());
    assert!(fresh.judge_rtcp(rtcp, Ssrc(1)) && !fresh.judge_rtcp(foreign, Ssrc(1)));
    let (mut guard, _) = locked(Policy::Host);
    assert!(guard.judge_rtcp(rtcp, Ssrc(1)));
    assert!(!guard.judge_rtcp(rtcp, Ssrc(2)), "another source, a BYE of which means nothing");
    assert!(!guard.judge_rtcp(foreign, Ssrc(1)), "a forged BYE");
    // A replaced source says BYE; the call goes on.
    guard.retarget(Time::ms(30), PBX_OTHER_PORT.parse().unwrap());
    assert!(!guard.judge_rtcp(rtcp, Ssrc(1)) && guard.judge_rtcp(rtcp, Ssrc(2)));
    assert!(!guard_of(SourceConfig::new(Policy::Learn, None)).judge_rtcp(rtcp, Ssrc(1)));
}

#[test]
fn an_ipv4_peer_is_the_same_on_a_socket_for_both_versions() {
    let mut guard = guard(Policy::Strict, PBX);
    let mut mapped = Talker::new("[::ffff:192.0.2.1]:20000", 5, 0);
    mapped.speak(&mut guard, 0);
    assert!(matches!(mapped.speak(&mut guard, 20), Verdict::NewSource { .. }));
    assert_eq!(guard.destination(), Some(mapped.addr), "as its own socket can send to it");
}

#[test]
fn held_bytes_are_bounded_and_the_last_packet_is_handed_over_at_any_length() {
    let mut guard = guard(Policy::Host, PBX);
    let mut big = Talker::new(PBX_OTHER_PORT, 5, 0);
    for n in 0..5 {
        let mut bytes = big.packet();
        bytes.resize(60_000, 0);
        let packet = RtpPacket::parse(&bytes).unwrap();
        let verdict = guard.judge(Time::ms(n * 20), big.addr, &packet, &bytes, false);
        assert_eq!(guard.strangers.bytes_held(), 0);
        if n == 4 {
            assert_eq!(seqs(&verdict), [4]);
        }
    }
    assert_eq!(guard.given_up(), 4);
}

#[test]
fn held_packets_of_a_slow_source_are_not_played_long_after() {
    let (mut guard, mut pbx) = (guard(Policy::Strict, PBX), Talker::new(PBX, 9, 10));
    pbx.speak(&mut guard, 0);
    assert_eq!(seqs(&pbx.speak(&mut guard, 30_000)), [11]);
}
