//! What the options of the guard and authentication change.

use crate::source::tests::{guard, guard_of, locked, seqs, Talker, ELSEWHERE, PBX, PBX_OTHER_PORT};
use crate::source::*;

#[test]
fn rfc4961_where_our_packets_go_can_be_said_apart_from_who_is_heard() {
    for (policy, from) in [(Policy::Host, PBX_OTHER_PORT), (Policy::Learn, ELSEWHERE)] {
        for symmetric in [true, false] {
            let usual = SourceConfig::new(policy, Some(PBX.parse().unwrap()));
            let mut guard = guard_of(SourceConfig { symmetric: Some(symmetric), ..usual });
            let mut peer = Talker::new(from, 5, 100);
            (0..5).for_each(|n| drop(peer.speak(&mut guard, n * 20)));
            let expected = if symmetric { from } else { PBX };
            assert_eq!(guard.destination(), Some(expected.parse().unwrap()), "{policy:?}");
        }
    }
    // Who was not signalled at all is answered in any case.
    let usual = SourceConfig::new(Policy::Learn, None);
    let mut guard = guard_of(SourceConfig { symmetric: Some(false), ..usual });
    let mut peer = Talker::new(ELSEWHERE, 5, 100);
    (0..5).for_each(|n| drop(peer.speak(&mut guard, n * 20)));
    assert_eq!(guard.destination(), Some(peer.addr));
}

#[test]
fn rfc3711_an_authenticated_packet_is_proof_at_once_where_the_policy_allows_its_address() {
    for (policy, from, locks) in [
        (Policy::Strict, PBX, true),
        (Policy::Strict, PBX_OTHER_PORT, false),
        (Policy::Host, PBX_OTHER_PORT, true),
        (Policy::Host, ELSEWHERE, false),
        (Policy::Learn, ELSEWHERE, true),
    ] {
        let (mut guard, mut peer) = (guard(policy, PBX), Talker::new(from, 9, 65_535));
        let verdict = peer.speak_authenticated(&mut guard, 0);
        assert_eq!(matches!(verdict, Verdict::NewSource { .. }), locks, "{policy:?} {from}");
        assert_eq!(guard.locked().is_some(), locks);
    }
}

#[test]
fn an_authenticated_source_that_moves_is_followed_with_its_first_packet_and_late_ones_are_heard() {
    let (mut guard, mut peer) = (guard(Policy::Learn, PBX), Talker::new(PBX, 9, 100));
    (0..10).for_each(|n| drop(peer.speak_authenticated(&mut guard, n * 20)));
    let mut overtaken = peer;
    peer.packet();
    peer.addr = ELSEWHERE.parse().unwrap();
    let verdict = peer.speak_authenticated(&mut guard, 205);
    assert!(matches!(verdict, Verdict::NewSource { continues: true, .. }), "{verdict:?}");
    assert_eq!(guard.destination(), Some(peer.addr));
    assert_eq!(overtaken.speak_authenticated(&mut guard, 210), Verdict::Accept);
    assert_eq!(guard.locked(), Some((peer.addr, peer.ssrc)), "it does not move back for that");
    // Begun anew, sequence and all, elsewhere again.
    let mut reborn = Talker { addr: PBX.parse().unwrap(), seq: SeqNo(40_000), ..peer };
    let verdict = reborn.speak_authenticated(&mut guard, 410);
    assert!(matches!(verdict, Verdict::NewSource { continues: false, .. }), "{verdict:?}");
}

#[test]
fn an_authenticated_ssrc_that_follows_another_loses_nothing_and_two_at_once_do_not_take_turns() {
    let (mut guard, mut first) = (guard(Policy::Host, PBX), Talker::new(PBX, 9, 100));
    let mut second = Talker::new(PBX, 10, 7);
    for n in 0..100 {
        assert!(!matches!(first.speak_authenticated(&mut guard, n * 20), Verdict::Hold));
        if n >= 50 {
            assert_eq!(second.speak_authenticated(&mut guard, n * 20 + 1), Verdict::Hold);
        }
    }
    assert_eq!(guard.locked(), Some((first.addr, first.ssrc)));
    let mut third = Talker::new(PBX, 11, 500);
    assert_eq!(third.speak_authenticated(&mut guard, 2000), Verdict::Hold);
    assert_eq!(seqs(&third.speak_authenticated(&mut guard, 2020)), [500, 501]);
    assert_eq!(third.speak_authenticated(&mut guard, 2040), Verdict::Accept);
}

#[test]
fn follow_goes_with_a_source_that_moves_while_it_talks() {
    for (ptime, moved) in [(10, 9), (20, 4), (60, 2)] {
        let (mut guard, mut peer) = (guard(Policy::Follow, PBX), Talker::new(PBX, 9, 65_500));
        (0..100).for_each(|n| drop(peer.speak(&mut guard, n * ptime)));
        peer.addr = ELSEWHERE.parse().unwrap();
        let mut heard = 0;
        for n in 100..110 {
            match peer.speak(&mut guard, n * ptime) {
                Verdict::Accept => heard += 1,
                Verdict::NewSource { held, continues, .. } => {
                    assert!(continues && n == 100 + moved, "packet {n} of {ptime} ms");
                    heard += held.len();
                }
                _ => {}
            }
        }
        assert_eq!(heard, 10, "all of it was held");
        assert_eq!(guard.destination(), Some(peer.addr), "and we answer there");
    }
}

#[test]
fn follow_wants_proof_however_long_the_locked_source_is_silent() {
    let (mut guard, mut peer) = locked(Policy::Follow);
    let mut stranger = Talker::new(ELSEWHERE, 66, 0);
    let mut guess =
        Talker { addr: stranger.addr, seq: SeqNo(peer.seq.0.wrapping_add(9000)), ..peer };
    for n in 2..500 {
        for other in [&mut stranger, &mut guess] {
            let verdict = other.speak(&mut guard, n * 20);
            assert_eq!(verdict, Verdict::Reject(RejectReason::LockedElsewhere));
        }
    }
    assert_eq!(peer.speak(&mut guard, 10_000), Verdict::Accept);
    // The next packets, sent by who reads the call, are worth nothing while it is spoken by its source.
    let mut reader = Talker { addr: stranger.addr, ..peer };
    for n in 501..600 {
        for early in [1, 2, 3] {
            let verdict = reader.speak(&mut guard, n * 20 - early * 5);
            assert!(!matches!(verdict, Verdict::NewSource { .. }), "packet {n}");
        }
        assert_eq!(peer.speak(&mut guard, n * 20), Verdict::Accept);
        reader.seq = peer.seq;
    }
}

#[test]
fn after_the_learn_window_only_the_signalled_address_begins_and_a_proven_source_moves() {
    let window = Some(Duration::from_secs(5));
    for policy in [Policy::Host, Policy::Learn, Policy::Follow] {
        let usual = SourceConfig::new(policy, Some(PBX.parse().unwrap()));
        let config = SourceConfig { learn_window: window, ..usual };
        let mut guard = guard_of(config);
        let mut late = Talker::new(PBX_OTHER_PORT, 5, 0);
        for n in 251..300 {
            let verdict = late.speak(&mut guard, n * 20);
            assert_eq!(verdict, Verdict::Reject(RejectReason::TooLate), "{policy:?}");
        }
        let mut pbx = Talker::new(PBX, 1, 7);
        pbx.speak(&mut guard, 7000);
        assert!(matches!(pbx.speak(&mut guard, 7020), Verdict::NewSource { .. }));
        // Its silence lets no stranger in, but its NAT may move it.
        assert_eq!(
            late.speak(&mut guard, 9000),
            Verdict::Reject(match policy {
                Policy::Follow => RejectReason::LockedElsewhere,
                _ => RejectReason::TooLate,
            })
        );
        pbx.addr = late.addr;
        pbx.speak(&mut guard, 9100);
        assert!(matches!(pbx.speak(&mut guard, 9120), Verdict::NewSource { continues: true, .. }));

        // A re-INVITE opens it anew.
        let mut guard = guard_of(config);
        guard.retarget(Time::secs(20), "192.0.2.1:7000".parse().unwrap());
        let began = Time::secs(20).as_ms();
        let learned = (0..10)
            .any(|n| matches!(late.speak(&mut guard, began + n * 20), Verdict::NewSource { .. }));
        assert!(learned, "{policy:?}");
    }
    let nobody = SourceConfig { learn_window: window, ..SourceConfig::new(Policy::Learn, None) };
    let mut guard = guard_of(nobody);
    let mut late = Talker::new(ELSEWHERE, 5, 0);
    assert_eq!(late.speak(&mut guard, 5001), Verdict::Reject(RejectReason::TooLate));
}

#[test]
fn the_length_of_probation_is_as_configured() {
    for packets in [2, 5, 20, 50] {
        let usual = SourceConfig::new(Policy::Learn, None);
        let mut guard = guard_of(SourceConfig { probation: packets, ..usual });
        let mut peer = Talker::new(ELSEWHERE, 5, 100);
        let learned =
            (1..100).find(|&n| matches!(peer.speak(&mut guard, n * 20), Verdict::NewSource { .. }));
        assert_eq!(learned, Some(u64::from(packets)));
    }
}

#[test]
fn a_source_that_sends_faster_than_any_call_is_taken_at_the_rate_and_stays_locked() {
    let (mut guard, mut pbx) = locked(Policy::Host);
    let taken = (1..=100_000).filter(|n| pbx.speak(&mut guard, 20 + n / 10) == Verdict::Accept);
    assert_eq!(taken.count(), 4400, "400 a second in ten seconds, and a second's burst");
    assert_eq!(guard.rejected(RejectReason::RateLimited), 100_000 - 4400);
    assert_eq!(guard.locked(), Some((pbx.addr, pbx.ssrc)));
    // One SSRC after another does not get around it.
    let usual = SourceConfig::new(Policy::Learn, None);
    let mut guard = guard_of(SourceConfig { source_rate: 100, session_rate: 150, ..usual });
    let mut taken = 0;
    for ssrc in 0..20 {
        let mut next = Talker::new(PBX, ssrc, 0);
        for n in 0..1500 {
            let ms = u64::from(ssrc) * 1500 + n;
            taken += u32::from(next.speak(&mut guard, ms) == Verdict::Accept);
        }
    }
    let refused = guard.rejected(RejectReason::RateLimited);
    assert!(refused > 0 && taken <= 150 * 30 + 150, "{taken} in 30 s");
}
