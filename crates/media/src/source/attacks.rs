//! Attacks, from a seed, and the calls they must not touch.

use super::tests::{guard, guard_of, locked, Talker, PBX};
use super::*;
use crate::rng::Rng;

const TRIES: u64 = 10_000;

/// An attacker's random source: another host, or another port of the signalled one.
fn stranger(rng: &mut Rng, same_host: bool) -> Talker {
    let host = if same_host { [192, 0, 2, 1] } else { (rng.next_u32() | 1 << 31).to_be_bytes() };
    // Below 20000, so that it is not the signalled port by chance; and an SSRC that is not 1.
    let addr = SocketAddr::from((host, 1024 + rng.next_u16() % 18_000));
    Talker { addr, ssrc: Ssrc(rng.next_u32() | 2), seq: SeqNo(rng.next_u16()) }
}

fn takes(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Accept | Verdict::NewSource { .. })
}

fn bytes_held(guard: &SourceGuard) -> usize {
    guard.home.bytes_held() + guard.strangers.bytes_held()
}

const POLICIES: [Policy; 4] = [Policy::Strict, Policy::Host, Policy::Learn, Policy::Follow];

#[test]
fn a_spray_of_random_sources_changes_nothing_in_a_call() {
    for policy in POLICIES {
        let (mut rng, (mut guard, mut pbx)) = (Rng::new(1), locked(policy));
        for n in 0..TRIES {
            let ms = 21 + n / 10;
            let mut attacker = stranger(&mut rng, n % 2 == 0);
            assert!(!takes(&attacker.speak(&mut guard, ms)));
            if ms % 20 == 0 && n % 10 == 9 {
                assert_eq!(pbx.speak(&mut guard, ms), Verdict::Accept);
            }
        }
        assert_eq!(guard.locked(), Some((pbx.addr, pbx.ssrc)));
        assert_eq!(bytes_held(&guard), 0, "strangers cost no memory while the source speaks");
        let refused: u64 = RejectReason::ALL.iter().map(|&reason| guard.rejected(reason)).sum();
        assert_eq!(refused, TRIES);
    }
}

#[test]
fn the_ssrc_and_sequence_of_the_source_from_another_address_are_worth_nothing() {
    for policy in POLICIES {
        let (mut rng, (mut guard, mut pbx)) = (Rng::new(2), locked(policy));
        for n in 0..TRIES {
            let ms = 40 + n * 2;
            if n % 10 == 0 {
                assert_eq!(pbx.speak(&mut guard, ms), Verdict::Accept);
            }
            let mut attacker = stranger(&mut rng, n % 2 == 0);
            (attacker.ssrc, attacker.seq) = (pbx.ssrc, pbx.seq);
            assert!(!takes(&attacker.speak(&mut guard, ms)), "packet {n}");
        }
    }
}

#[test]
fn a_steady_stream_from_another_address_never_gets_in_while_the_source_speaks() {
    // With loss, but without a pause of a second.
    for seed in 0..100 {
        let (mut rng, (mut guard, mut pbx)) = (Rng::new(seed), locked(Policy::Learn));
        let mut attacker = stranger(&mut rng, seed % 2 == 0);
        for n in 2..500 {
            let lost = rng.chance(0.2);
            if lost {
                pbx.packet();
            } else {
                assert!(takes(&pbx.speak(&mut guard, n * 20)));
            }
            assert!(!takes(&attacker.speak(&mut guard, n * 20 + 1)));
        }
    }
}

#[test]
fn another_ssrc_forged_at_the_locked_address_never_gets_in_while_the_source_speaks() {
    for policy in POLICIES {
        let (mut rng, (mut guard, mut pbx)) = (Rng::new(3), locked(policy));
        let mut attacker = Talker::new(PBX, 2, 0);
        for n in 0..TRIES {
            if rng.chance(0.3) {
                attacker = Talker::new(PBX, rng.next_u32() | 2, rng.next_u16());
            }
            let ms = 40 + n * 5;
            if n % 4 == 0 {
                assert_eq!(pbx.speak(&mut guard, ms), Verdict::Accept);
            }
            assert!(!takes(&attacker.speak(&mut guard, ms)), "packet {n}");
        }
    }
}

#[test]
fn a_forged_ssrc_that_speaks_along_does_not_get_in_by_a_burst_of_loss() {
    let (mut guard, mut pbx) = locked(Policy::Host);
    let mut attacker = Talker::new(PBX, 2, 0);
    for n in 2..TRIES {
        // 900 ms of every second are lost, but for the first second, in which both are heard.
        if n < 50 || n % 50 < 5 {
            assert!(takes(&pbx.speak(&mut guard, n * 20)));
        } else {
            pbx.packet();
        }
        assert!(!takes(&attacker.speak(&mut guard, n * 20 + 1)), "packet {n}");
    }
}

#[test]
fn a_spray_during_probation_does_not_delay_the_signalled_source() {
    for policy in POLICIES {
        for seed in 0..15 {
            let (mut rng, mut guard) = (Rng::new(seed), guard(policy, PBX));
            let mut pbx = Talker::new(PBX, 1, rng.next_u16());
            let begin = 500 + rng.next_u64() % 100;
            let mut heard = 0;
            for ms in 0..1000 {
                for n in 0..10 {
                    let verdict = stranger(&mut rng, n % 2 == 0).speak(&mut guard, ms);
                    assert!(!takes(&verdict));
                }
                if ms >= begin && (ms - begin) % 20 == 0 {
                    heard += match pbx.speak(&mut guard, ms) {
                        Verdict::Accept => 1,
                        Verdict::NewSource { held, .. } => held.len() as u64,
                        _ => 0,
                    };
                }
                assert!(bytes_held(&guard) <= 4 * 16 * 172 + 172);
            }
            assert_eq!(heard, (1000 - begin).div_ceil(20), "every packet, from the first");
        }
    }
}

#[test]
fn a_spray_of_forged_ssrcs_at_the_signalled_address_does_not_keep_the_source_out() {
    for (per_ms, seeds) in [(1, 200), (20, 20)] {
        for seed in 0..seeds {
            let (mut rng, mut guard) = (Rng::new(seed), guard(Policy::Host, PBX));
            let mut pbx = Talker::new(PBX, 1, rng.next_u16());
            let phase = rng.next_u64() % 20;
            let locked_at = (0..1000).find(|&ms| {
                for _ in 0..per_ms {
                    let mut forged = Talker::new(PBX, rng.next_u32() | 2, rng.next_u16());
                    assert!(!takes(&forged.speak(&mut guard, ms)));
                }
                ms % 20 == phase && takes(&pbx.speak(&mut guard, ms))
            });
            assert_eq!(locked_at, Some(phase + 20), "with its second packet, seed {seed}");
        }
    }
}

#[test]
fn a_spray_does_not_keep_a_source_from_being_learned() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut guard = guard_of(SourceConfig::new(Policy::Learn, None));
        let mut peer = Talker::new("203.0.113.9:5004", 1, rng.next_u16());
        let phase = rng.next_u64() % 20;
        let learned_at = (0..1000).find(|&ms| {
            assert!(!takes(&stranger(&mut rng, false).speak(&mut guard, ms)));
            ms % 20 == phase && takes(&peer.speak(&mut guard, ms))
        });
        assert_eq!(learned_at, Some(phase + 80), "with its fifth packet, seed {seed}");
    }
}

#[test]
fn forged_pairs_at_the_signalled_address_cost_a_learned_source_half_a_second_three_times_and_no_more(
) {
    let (mut rng, mut guard) = (Rng::new(4), guard(Policy::Learn, PBX));
    let mut peer = Talker::new("203.0.113.9:5004", 5, 100);
    (0..5).for_each(|n| drop(peer.speak(&mut guard, n * 20)));
    let (mut unheard, mut changes) = (0, 0);
    for n in 5..TRIES {
        let verdict = peer.speak(&mut guard, n * 20);
        changes += u32::from(matches!(verdict, Verdict::NewSource { .. }));
        unheard += u64::from(!takes(&verdict));
        if n % 10 == 0 {
            let mut forged = Talker::new(PBX, rng.next_u32(), rng.next_u16());
            forged.speak(&mut guard, n * 20 + 1);
            forged.speak(&mut guard, n * 20 + 2);
        }
    }
    assert_eq!(changes, 3);
    assert!(unheard * 20 <= 3 * 500, "{} ms", unheard * 20);
    assert_eq!(guard.locked(), Some((peer.addr, peer.ssrc)));
}

#[test]
fn a_squatter_does_not_win_the_trial_of_the_signalled_source_by_a_flood() {
    for seed in 0..50 {
        let mut rng = Rng::new(seed);
        let mut guard = guard(Policy::Learn, PBX);
        let mut squatter = Talker::new("203.0.113.66:9", 66, 0);
        (0..100).for_each(|ms| drop(squatter.speak(&mut guard, ms)));
        let mut pbx = Talker::new(PBX, 1, rng.next_u16());
        let mut heard = 0;
        for ms in 100..20_000 {
            let verdict = squatter.speak(&mut guard, ms);
            assert!(heard == 0 || !takes(&verdict), "seed {seed}, {ms} ms");
            // Packets of 20 ms, a tenth of them lost.
            if ms % 20 == 0 {
                if rng.chance(0.1) {
                    pbx.packet();
                } else {
                    heard += u64::from(takes(&pbx.speak(&mut guard, ms)));
                }
            }
            if heard == 0 && ms > 300 {
                panic!("seed {seed}: not heard");
            }
        }
        assert_eq!(guard.locked(), Some((pbx.addr, pbx.ssrc)));
    }
}

#[test]
fn the_established_signalled_source_gets_its_call_back_after_every_pause() {
    let (mut guard, mut pbx) = locked(Policy::Learn);
    let mut squatter = Talker::new("203.0.113.66:9", 66, 0);
    let (mut taken, mut retaken, mut lost) = (0, 0, 0);
    for n in 2..6000_u64 {
        let verdict = squatter.speak(&mut guard, n * 20);
        taken += u32::from(matches!(verdict, Verdict::NewSource { .. }));
        // Six seconds of speech, then a pause of a second and a half.
        if n % 375 < 300 {
            lost += match pbx.speak(&mut guard, n * 20 + 1) {
                Verdict::Accept => 0,
                Verdict::Hold => 1,
                Verdict::NewSource { held, .. } => {
                    retaken += 1;
                    1 - held.len() as i64
                }
                Verdict::Reject(reason) => panic!("packet {n}: {reason:?}"),
            };
        }
    }
    assert_eq!((taken, retaken), (16, 15), "once in each pause, and back once");
    assert_eq!(lost, 0, "not one packet of the caller's");
}

#[test]
fn a_nat_that_rebinds_recovers_within_two_seconds_in_10_000_seeded_calls() {
    for seed in 0..TRIES {
        let mut rng = Rng::new(seed);
        let policy = if seed % 2 == 0 { Policy::Host } else { Policy::Learn };
        let (mut guard, mut peer) = locked(policy);
        let talk = 2 + rng.next_u64() % 50;
        (2..talk).for_each(|n| assert_eq!(peer.speak(&mut guard, n * 20), Verdict::Accept));
        // The NAT may lose what comes while it rebinds.
        let gap = rng.next_u64() % 20;
        (0..gap).for_each(|_| drop(peer.packet()));
        peer.addr = stranger(&mut rng, policy == Policy::Host).addr;
        let loss = rng.unit() * 0.1;
        let heard_last = (talk - 1) * 20;
        let back = (talk + gap..talk + 200).map(|n| n * 20).find(|&ms| {
            let mut attacker = stranger(&mut rng, policy == Policy::Host);
            let attack = attacker.speak(&mut guard, ms + 1);
            assert!(!takes(&attack), "seed {seed}");
            let verdict = if rng.chance(loss) {
                peer.packet();
                Verdict::Hold
            } else {
                peer.speak(&mut guard, ms + 2)
            };
            matches!(verdict, Verdict::NewSource { continues: true, .. })
        });
        let back = back.unwrap_or(u64::MAX);
        assert!(back <= heard_last + 2000, "seed {seed}: {back}");
        assert_eq!(guard.destination(), Some(peer.addr));
    }
}

#[test]
fn a_reinvite_locks_nobody_out_in_10_000_seeded_calls() {
    for seed in 0..TRIES {
        let mut rng = Rng::new(seed);
        let (mut guard, mut old) = locked(POLICIES[(seed % 4) as usize]);
        let mut new = stranger(&mut rng, seed % 2 == 0);
        if seed % 5 == 0 {
            new.ssrc = old.ssrc;
        }
        // The new one begins up to 400 ms after the re-INVITE, and the old one goes on for up to 400 ms.
        let (begins, ends) = (2 + rng.next_u64() % 20, 2 + rng.next_u64() % 20);
        guard.retarget(Time::ms(30), new.addr);
        let (mut old_heard, mut new_heard) = (0, 0);
        for n in 2..60 {
            if n < ends {
                old_heard += u64::from(takes(&old.speak(&mut guard, n * 20)));
            }
            if n >= begins {
                new_heard += match new.speak(&mut guard, n * 20 + 7) {
                    Verdict::Accept => 1,
                    Verdict::NewSource { held, .. } => held.len() as u64,
                    _ => 0,
                };
            }
        }
        assert_eq!(new_heard, 60 - begins, "seed {seed}: every packet of the new source");
        assert!(old_heard >= (begins + 2).min(ends) - 2, "seed {seed}: the old one until then");
    }
}
