//! What a packet may cost: tags computed, whatever comes and however many keys there are.

use proptest::prelude::*;

use super::testing::{ends, key, named, report, rtp};
use super::*;

const SUITE: Suite = Suite::AesCm128HmacSha1_80;
const NOW: Time = Time::ZERO;
const OURS: u8 = 200;
/// The tags of one packet, and of one that is not searched for.
const MOST: u64 = 8;
const FEWEST: u64 = 2;

/// The keys of a far end that has changed them for the `n`th time.
fn config(suite: Suite, n: u8, mki: &[u8]) -> (SrtpConfig, SrtpConfig) {
    ends(named(suite, 1 + n, mki), key(suite, OURS))
}

fn far(suite: Suite, n: u8) -> Srtp {
    Srtp::new(&config(suite, n, &[]).0)
}

/// An end that was told of as many changes in a moment.
fn near(suite: Suite, changes: u8, mki: &[u8]) -> Srtp {
    let mut srtp = Srtp::new(&config(suite, 0, mki).1);
    for n in 1..=changes {
        srtp.rekey(NOW, &config(suite, n, mki).1);
    }
    srtp
}

fn sealed(far: &mut Srtp, seq: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = rtp(seq, ssrc);
    far.protect_rtp(&mut packet).unwrap();
    packet
}

/// Whether it is authentic, and how many tags that took.
fn open(near: &mut Srtp, packet: &[u8], effort: Effort) -> (Result<(), Rejected>, u64) {
    let before = near.tries();
    let mut packet = packet.to_vec();
    let opened = if crate::rtp::is_rtcp(&packet) {
        near.unprotect_rtcp(NOW, &mut packet, effort)
    } else {
        near.unprotect_rtp(NOW, &mut packet, effort)
    };
    (opened, near.tries() - before)
}

#[test]
fn a_source_that_is_known_costs_one_tag_a_packet_however_many_keys_there_are() {
    for suite in Suite::ALL {
        let (mut far, mut near) = (far(suite, 0), near(suite, 0, &[]));
        assert_eq!(open(&mut near, &sealed(&mut far, 1, 7), Effort::Whole), (Ok(()), 1));
        for n in 1..=15 {
            near.rekey(NOW, &config(suite, n, &[]).1);
        }
        for seq in 2..50 {
            let effort = if seq % 2 == 0 { Effort::Known } else { Effort::Whole };
            assert_eq!(
                open(&mut near, &sealed(&mut far, seq, 7), effort),
                (Ok(()), 1),
                "{suite:?} {seq}"
            );
        }
    }
}

#[test]
fn who_goes_over_to_the_newest_key_loses_nothing_though_it_is_not_searched_for() {
    for suite in Suite::ALL {
        for changes in 1..=15 {
            let (mut first, mut newest) = (far(suite, 0), far(suite, changes));
            let mut near = near(suite, 0, &[]);
            let before = sealed(&mut first, 40_000, 7);
            open(&mut near, &before, Effort::Whole).0.unwrap();
            for n in 1..=changes {
                near.rekey(NOW, &config(suite, n, &[]).1);
            }
            for seq in 40_001..40_010 {
                let (opened, tags) = open(&mut near, &sealed(&mut newest, seq, 7), Effort::Known);
                assert_eq!(opened, Ok(()), "{suite:?}, {changes} changes, {seq}");
                assert_eq!(tags, if seq == 40_001 { 2 } else { 1 });
            }
        }
    }
}

#[test]
fn what_a_new_key_overtook_on_the_way_is_heard_though_it_is_not_searched_for() {
    for suite in Suite::ALL {
        let (mut first, mut second) = (far(suite, 0), far(suite, 1));
        let mut near = near(suite, 0, &[]);
        open(&mut near, &sealed(&mut first, 1, 7), Effort::Whole).0.unwrap();
        near.rekey(NOW, &config(suite, 1, &[]).1);
        open(&mut near, &sealed(&mut second, 3, 7), Effort::Known).0.unwrap();
        assert_eq!(open(&mut near, &sealed(&mut first, 2, 7), Effort::Known), (Ok(()), 2));
    }
}

#[test]
fn an_mki_leaves_one_key_to_try_and_a_source_is_found_under_each_of_them_unsearched() {
    let keys: Vec<_> = (0..8).map(|n| named(SUITE, 1 + n, &[n])).collect();
    let mut near = Srtp::new(&SrtpConfig { send: key(SUITE, OURS), receive: keys.clone() });
    let far = |send| Srtp::new(&SrtpConfig { send, receive: vec![key(SUITE, OURS)] });
    let mut far: Vec<Srtp> = keys.into_iter().map(far).collect();
    for (n, far) in far.iter_mut().enumerate() {
        let (opened, tags) = open(&mut near, &sealed(far, n as u16, 7), Effort::Whole);
        assert_eq!((opened, tags), (Ok(()), 1));
    }
    for seq in 10..100 {
        let packet = sealed(&mut far[usize::from(seq) * 5 % 8], seq, 7);
        assert_eq!(open(&mut near, &packet, Effort::Known), (Ok(()), 1));
    }
}

#[test]
fn a_new_source_under_any_of_the_old_keys_is_found_within_a_few_packets() {
    for suite in Suite::ALL {
        for age in 0..=15 {
            let mut near = near(suite, 15, &[]);
            let mut far = far(suite, 15 - age);
            let mut heard = (0..).map(|n| {
                let (opened, tags) =
                    open(&mut near, &sealed(&mut far, 40_000 + n, 7), Effort::Whole);
                assert!(tags <= MOST, "{tags}");
                opened.is_ok()
            });
            let lost = heard.by_ref().take(20).take_while(|heard| !heard).count();
            assert!(lost <= if age <= 3 { 0 } else { 12 }, "{suite:?}, key {age}: {lost} lost");
            assert!(heard.take(100).all(|heard| heard), "and from then on at once");
        }
    }
}

#[test]
fn what_is_not_searched_for_and_not_known_costs_nothing() {
    let mut near = near(SUITE, 10, &[]);
    let mut far = far(SUITE, 10);
    let packet = sealed(&mut far, 1, 7);
    assert_eq!(open(&mut near, &packet, Effort::Known), (Err(Rejected::NotSearched), 0));
    let mut compound = report(7);
    far.protect_rtcp(&mut compound).unwrap();
    assert_eq!(open(&mut near, &compound, Effort::Known), (Err(Rejected::NotSearched), 0));
    assert_eq!(open(&mut near, &packet, Effort::Whole).0, Ok(()), "nothing has changed");
    assert_eq!(open(&mut near, &compound, Effort::Known), (Ok(()), 1), "now it is known");
}

proptest! {
    #[test]
    fn whatever_comes_the_tags_are_bounded_and_the_far_end_is_heard_after_it(
        suite in prop::sample::select(&Suite::ALL[..]),
        changes in 0u8..40,
        mki in prop::collection::vec(any::<u8>(), 0..3),
        spoken in prop::collection::vec(0u8..40, 0..6),
        blows in prop::collection::vec((any::<bool>(), 0u32..3, any::<u16>(), 0usize..2048, any::<bool>()), 1..60),
    ) {
        let mut near = near(suite, 0, &mki);
        for n in 1..=changes {
            near.rekey(NOW, &config(suite, n, &mki).1);
            // Sources that are known under some of the keys.
            if spoken.contains(&n) {
                let mut far = Srtp::new(&config(suite, n, &mki).0);
                open(&mut near, &sealed(&mut far, u16::from(n), 1), Effort::Whole).0.unwrap();
            }
        }
        for (rtcp, ssrc, seq, len, whole) in blows {
            let mut packet = if rtcp { report(ssrc) } else { rtp(seq, ssrc) };
            packet.resize(packet.len() + len, seq as u8);
            // As if they named a key, and were encrypted.
            packet.extend([0x80, 0, 0, 1]);
            packet.extend(&mki);
            packet.extend(vec![7; suite.rtp_tag_len()]);
            packet.extend(&mki);
            let effort = if whole { Effort::Whole } else { Effort::Known };
            let (opened, tags) = open(&mut near, &packet, effort);
            prop_assert!(opened.is_err());
            prop_assert!(tags <= if whole { MOST } else { FEWEST }, "{} tags", tags);
        }
        let mut far = Srtp::new(&config(suite, changes, &mki).0);
        for seq in 100..103 {
            prop_assert_eq!(open(&mut near, &sealed(&mut far, seq, 9), Effort::Whole).0, Ok(()));
        }
    }
}
