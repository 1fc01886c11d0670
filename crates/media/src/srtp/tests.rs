//! Both ends of SRTP with one another, under all suites.

use proptest::prelude::*;

use super::testing::{ends, hex, key, named, report, rtp};
use super::*;
use crate::time::Duration;

const SUITE: Suite = Suite::AesCm128HmacSha1_80;
const NOW: Time = Time::ZERO;

fn pair(suite: Suite) -> (Srtp, Srtp) {
    let (here, there) = ends(key(suite, 1), key(suite, 2));
    (Srtp::new(&here), Srtp::new(&there))
}

fn seal(srtp: &mut Srtp, plain: &[u8]) -> Vec<u8> {
    let mut packet = plain.to_vec();
    srtp.protect_rtp(&mut packet).unwrap();
    packet
}

fn open(srtp: &mut Srtp, packet: &[u8]) -> Result<Vec<u8>, Rejected> {
    open_at(srtp, NOW, packet)
}

fn open_at(srtp: &mut Srtp, now: Time, packet: &[u8]) -> Result<Vec<u8>, Rejected> {
    let mut packet = packet.to_vec();
    srtp.unprotect_rtp(now, &mut packet, Effort::Whole).map(|()| packet)
}

fn open_rtcp(srtp: &mut Srtp, packet: &[u8]) -> Result<Vec<u8>, Rejected> {
    let mut packet = packet.to_vec();
    srtp.unprotect_rtcp(NOW, &mut packet, Effort::Whole).map(|()| packet)
}

#[test]
fn a_packet_as_libsrtp_protects_it() {
    let master = hex("e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6");
    let master = MasterKey::new(SUITE, &master, &[], None).unwrap();
    let (here, there) = ends(master, key(SUITE, 2));
    let plain = hex("800f1234decafbadcafebabe abababababababababababababababab");
    let sealed = seal(&mut Srtp::new(&here), &plain);
    let expected = "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb";
    assert_eq!(sealed, hex(expected));
    assert_eq!(open(&mut Srtp::new(&there), &sealed), Ok(plain));
}

#[test]
fn what_is_protected_is_longer_by_its_tag_and_hides_its_payload_but_not_its_header() {
    for suite in Suite::ALL {
        let (mut here, mut there) = pair(suite);
        let plain = rtp(1, 7);
        let sealed = seal(&mut here, &plain);
        assert_eq!(sealed.len(), plain.len() + suite.rtp_tag_len(), "{suite:?}");
        assert_eq!(sealed[..12], plain[..12]);
        assert_ne!(sealed[12..172], plain[12..]);
        assert_eq!(open(&mut there, &sealed), Ok(plain));

        let plain = report(7);
        let mut sealed = plain.clone();
        here.protect_rtcp(&mut sealed).unwrap();
        assert_eq!(sealed.len(), plain.len() + 4 + suite.rtcp_tag_len(), "{suite:?}");
        assert_eq!(sealed[..8], plain[..8]);
        assert_ne!(sealed[8..plain.len()], plain[8..]);
        assert_eq!(open_rtcp(&mut there, &sealed), Ok(plain));
    }
}

#[test]
fn rfc3711_3_1_csrcs_and_extension_are_authenticated_and_not_encrypted() {
    let head = "b2 88 fffe ffffff60 deadbeef 00000001 00000002 bede0001 107f0000";
    let plain = hex(&format!("{head} 0102030405 000003"));
    for suite in Suite::ALL {
        let (mut here, mut there) = pair(suite);
        let sealed = seal(&mut here, &plain);
        assert_eq!(sealed[..28], hex(head));
        assert_ne!(sealed[28..36], plain[28..]);
        for at in 12..28 {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&mut there, &changed).is_err(), "{suite:?} {at}");
        }
        assert_eq!(open(&mut there, &sealed), Ok(plain.clone()));
    }
}

#[test]
fn an_empty_payload_is_protected_as_well() {
    for suite in Suite::ALL {
        let (mut here, mut there) = pair(suite);
        let plain = &rtp(1, 7)[..12];
        let sealed = seal(&mut here, plain);
        assert_eq!(open(&mut there, &sealed).as_deref(), Ok(plain));
        let plain = &report(7)[..8];
        let mut sealed = plain.to_vec();
        here.protect_rtcp(&mut sealed).unwrap();
        assert_eq!(open_rtcp(&mut there, &sealed).as_deref(), Ok(plain));
    }
}

#[test]
fn rfc3711_3_3_2_a_packet_is_taken_once() {
    for suite in Suite::ALL {
        let (mut here, mut there) = pair(suite);
        let sealed = seal(&mut here, &rtp(5, 7));
        assert!(open(&mut there, &sealed).is_ok());
        assert_eq!(open(&mut there, &sealed), Err(Rejected::Replayed));
        let mut sealed = report(7);
        here.protect_rtcp(&mut sealed).unwrap();
        assert!(open_rtcp(&mut there, &sealed).is_ok());
        assert_eq!(open_rtcp(&mut there, &sealed), Err(Rejected::Replayed));
    }
}

#[test]
fn plain_packets_are_not_authentic() {
    let (_, mut there) = pair(SUITE);
    assert_eq!(open(&mut there, &rtp(1, 7)), Err(Rejected::BadTag));
    // The last word of the report reads as an index without the E bit, or as one with it.
    assert!(open_rtcp(&mut there, &report(7)).is_err());
}

#[test]
fn rfc3711_3_4_rtcp_whose_e_bit_is_not_set_is_refused() {
    for suite in Suite::ALL {
        let (mut here, mut there) = pair(suite);
        let mut sealed = report(7);
        here.protect_rtcp(&mut sealed).unwrap();
        let word = sealed.len() - 4 - if suite.is_aead() { 0 } else { suite.rtcp_tag_len() };
        sealed[word] ^= 0x80;
        assert_eq!(open_rtcp(&mut there, &sealed), Err(Rejected::Unencrypted));
        sealed[word] ^= 0x80;
        assert!(open_rtcp(&mut there, &sealed).is_ok());
    }
}

#[test]
fn what_is_too_short_or_no_packet_is_malformed() {
    for suite in Suite::ALL {
        let (mut here, mut there) = pair(suite);
        let sealed = seal(&mut here, &rtp(1, 7));
        let shortest = 12 + suite.rtp_tag_len();
        for len in 0..shortest {
            assert_eq!(open(&mut there, &sealed[..len]), Err(Rejected::Malformed), "{len}");
        }
        assert_eq!(open(&mut there, &sealed[..shortest]), Err(Rejected::BadTag));
        let mut sealed = report(7);
        here.protect_rtcp(&mut sealed).unwrap();
        for len in 0..12 + suite.rtcp_tag_len() {
            assert_eq!(open_rtcp(&mut there, &sealed[..len]), Err(Rejected::Malformed), "{len}");
        }
        let mut version = seal(&mut here, &rtp(2, 7));
        version[0] = 0x40;
        assert_eq!(open(&mut there, &version), Err(Rejected::Malformed));
    }
}

#[test]
fn rfc3711_3_3_1_the_rollover_counter_goes_on_across_the_turn_with_loss_and_reordering() {
    for suite in Suite::ALL {
        let (mut here, mut there) = pair(suite);
        let mut sealed: Vec<_> =
            (0..40u16).map(|n| seal(&mut here, &rtp(65_520_u16.wrapping_add(n), 7))).collect();
        // The turn is between 15 and 16.
        sealed.swap(14, 17);
        sealed.swap(15, 16);
        sealed.remove(18);
        sealed.remove(13);
        for (n, packet) in sealed.iter().enumerate() {
            assert!(open(&mut there, packet).is_ok(), "{suite:?} {n}");
        }
        // And once more around: 22 minutes at 50 packets a second, of which most are lost.
        for n in (30_000..=60_000).step_by(30_000).chain([65_530, 4]) {
            assert!(open(&mut there, &seal(&mut here, &rtp(n, 7))).is_ok(), "{suite:?} {n}");
        }
        assert!(open(&mut there, &seal(&mut here, &rtp(10, 7))).is_ok());
    }
}

#[test]
fn a_source_that_turned_before_its_first_packet_came_is_understood() {
    let (mut here, mut there) = pair(SUITE);
    let _lost = seal(&mut here, &rtp(65_535, 7));
    assert!(open(&mut there, &seal(&mut here, &rtp(0, 7))).is_ok());
    assert!(open(&mut there, &seal(&mut here, &rtp(1, 7))).is_ok());
}

#[test]
fn rfc3711_3_1_the_mki_says_which_key_it_is() {
    for suite in Suite::ALL {
        let (one, two) = (named(suite, 1, b"\0\x01"), named(suite, 2, b"\0\x02"));
        let sender = |send| Srtp::new(&SrtpConfig { send, receive: vec![key(suite, 9)] });
        let mut there =
            Srtp::new(&SrtpConfig { send: key(suite, 8), receive: vec![one.clone(), two.clone()] });
        let (mut first, mut second) = (sender(one), sender(two));
        let mut other = sender(named(suite, 1, b"\0\x03"));
        for seq in 0..3 {
            assert_eq!(open(&mut there, &seal(&mut first, &rtp(seq, 7))), Ok(rtp(seq, 7)));
            assert_eq!(open(&mut there, &seal(&mut second, &rtp(seq, 7))), Ok(rtp(seq, 7)));
            let stranger = seal(&mut other, &rtp(seq, 7));
            assert_eq!(open(&mut there, &stranger), Err(Rejected::UnknownKey));
            for end in [&mut first, &mut second] {
                let mut sealed = report(7);
                end.protect_rtcp(&mut sealed).unwrap();
                assert_eq!(open_rtcp(&mut there, &sealed), Ok(report(7)));
            }
        }
    }
}

#[test]
fn sources_are_bounded_and_those_that_are_known_stay() {
    let (mut here, mut there) = pair(SUITE);
    // Our own SSRCs are few; the many of the far end are made by several senders.
    for ssrc in 0..256 {
        let mut here = Srtp::new(&ends(key(SUITE, 1), key(SUITE, 2)).0);
        assert!(open(&mut there, &seal(&mut here, &rtp(1, ssrc))).is_ok());
    }
    let stranger = seal(&mut here, &rtp(1, 256));
    assert_eq!(open(&mut there, &stranger), Err(Rejected::TooManySources));
    assert_eq!(open(&mut there, &seal(&mut here, &rtp(1, 0))), Err(Rejected::Replayed));
    assert!(open(&mut there, &seal(&mut here, &rtp(2, 0))).is_ok());
}

mod rekey {
    use super::*;

    const NEW: Suite = Suite::AeadAes256Gcm;

    fn at(ms: u64) -> Time {
        NOW + Duration::from_millis(ms)
    }

    /// Both ends under one pair of keys, and the pair that they go over to.
    fn changing() -> (Srtp, Srtp, SrtpConfig, SrtpConfig) {
        let (here, there) = pair(SUITE);
        let (new_here, new_there) = ends(key(NEW, 3), key(NEW, 4));
        (here, there, new_here, new_there)
    }

    #[test]
    fn no_packet_is_lost_whoever_changes_first() {
        let (mut here, mut there, new_here, new_there) = changing();
        assert!(open(&mut there, &seal(&mut here, &rtp(1, 7))).is_ok());
        let late = seal(&mut here, &rtp(2, 7));
        there.rekey(at(0), &new_there);
        assert!(open_at(&mut there, at(20), &seal(&mut here, &rtp(3, 7))).is_ok());
        here.rekey(at(30), &new_here);
        assert!(open_at(&mut there, at(40), &seal(&mut here, &rtp(4, 7))).is_ok());
        assert!(open_at(&mut there, at(60), &late).is_ok(), "overtaken by the new key");
        assert_eq!(open_at(&mut there, at(60), &late), Err(Rejected::Replayed));
    }

    #[test]
    fn an_old_key_is_good_for_two_seconds_after_the_new_one_came_and_no_longer() {
        let (mut here, mut there, new_here, new_there) = changing();
        let old: Vec<_> = (1..4).map(|seq| seal(&mut here, &rtp(seq, 7))).collect();
        there.rekey(at(0), &new_there);
        here.rekey(at(0), &new_here);
        assert!(open_at(&mut there, at(20_000), &seal(&mut here, &rtp(4, 7))).is_ok());
        assert!(open_at(&mut there, at(21_999), &old[0]).is_ok());
        assert_eq!(open_at(&mut there, at(22_000), &old[1]), Err(Rejected::BadTag));
    }

    #[test]
    fn an_old_key_is_good_for_32_seconds_if_the_new_one_never_comes() {
        let (mut here, mut there, _, new_there) = changing();
        there.rekey(at(0), &new_there);
        assert!(open_at(&mut there, at(31_999), &seal(&mut here, &rtp(1, 7))).is_ok());
        let late = seal(&mut here, &rtp(2, 7));
        assert_eq!(open_at(&mut there, at(32_000), &late), Err(Rejected::BadTag));
    }

    #[test]
    fn rfc3711_3_3_1_the_rollover_counter_is_carried_over_or_begun_anew_by_the_far_end() {
        let (mut here, mut there, new_here, new_there) = changing();
        for seq in [65_535, 0, 1] {
            assert!(open(&mut there, &seal(&mut here, &rtp(seq, 7))).is_ok());
        }
        there.rekey(at(0), &new_there);
        here.rekey(at(0), &new_here);
        assert!(open(&mut there, &seal(&mut here, &rtp(2, 7))).is_ok(), "carried over");

        let (mut here, mut there, new_here, new_there) = changing();
        for seq in [65_535, 0, 1] {
            assert!(open(&mut there, &seal(&mut here, &rtp(seq, 7))).is_ok());
        }
        there.rekey(at(0), &new_there);
        let mut here = Srtp::new(&new_here);
        assert!(open(&mut there, &seal(&mut here, &rtp(2, 7))).is_ok(), "begun anew");
        assert!(open(&mut there, &seal(&mut here, &rtp(3, 7))).is_ok());
    }

    #[test]
    fn keys_that_are_given_again_forget_nothing() {
        let (mut here, mut there) = pair(SUITE);
        let (_, same) = ends(key(SUITE, 1), key(SUITE, 2));
        let first = seal(&mut here, &rtp(1, 7));
        assert!(open(&mut there, &first).is_ok());
        there.rekey(at(0), &same);
        assert_eq!(open(&mut there, &first), Err(Rejected::Replayed));
        let (_, other) = ends(key(SUITE, 5), key(SUITE, 6));
        there.rekey(at(10), &other);
        assert_eq!(open(&mut there, &first), Err(Rejected::Replayed), "on its way out");
        there.rekey(at(20), &same);
        assert_eq!(open(&mut there, &first), Err(Rejected::Replayed), "and back");
        assert!(open_at(&mut there, at(60_000), &seal(&mut here, &rtp(2, 7))).is_ok(), "for good");
    }

    #[test]
    fn however_often_keys_change_few_are_held() {
        let (_, mut there) = pair(SUITE);
        for fill in 10..60 {
            there.rekey(NOW, &ends(key(SUITE, fill), key(SUITE, 2)).1);
        }
        let (mut first, _) = pair(SUITE);
        assert_eq!(open(&mut there, &seal(&mut first, &rtp(1, 7))), Err(Rejected::BadTag));
        let mut recent = Srtp::new(&ends(key(SUITE, 50), key(SUITE, 2)).0);
        // Not all of them are tried for each packet: see `cost`.
        assert!((1..9).any(|seq| open(&mut there, &seal(&mut recent, &rtp(seq, 7))).is_ok()));
    }
}

fn suites() -> impl Strategy<Value = Suite> {
    prop::sample::select(&Suite::ALL[..])
}

proptest! {
    #[test]
    fn whatever_is_protected_is_given_back(
        suite in suites(),
        first in 0u8..64,
        mki in prop::collection::vec(any::<u8>(), 0..6),
        body in prop::collection::vec(any::<u8>(), 11..300),
    ) {
        let (here, there) = ends(named(suite, 1, &mki), named(suite, 2, &mki));
        let (mut here, mut there) = (Srtp::new(&here), Srtp::new(&there));
        let plain = [&[0x80 | first][..], &body].concat();
        let mut packet = plain.clone();
        // Its CSRCs or its extension may run past its end; then it is not sent.
        if here.protect_rtp(&mut packet).is_ok() {
            prop_assert_eq!(packet.len(), plain.len() + suite.rtp_tag_len() + mki.len());
            prop_assert_eq!(open(&mut there, &packet), Ok(plain));
        }
        let plain = [&[0x80 | first, 201][..], &body].concat();
        let mut packet = plain.clone();
        here.protect_rtcp(&mut packet).unwrap();
        prop_assert_eq!(open_rtcp(&mut there, &packet), Ok(plain));
    }

    #[test]
    fn one_bit_changed_anywhere_is_refused_and_changes_nothing(
        suite in suites(), rtcp: bool, at: prop::sample::Index, mki in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let (here, there) = ends(named(suite, 1, &mki), key(suite, 2));
        let (mut here, mut there) = (Srtp::new(&here), Srtp::new(&there));
        let mut sealed = if rtcp { report(7) } else { rtp(9, 7) };
        if rtcp { here.protect_rtcp(&mut sealed) } else { here.protect_rtp(&mut sealed) }.unwrap();
        let bit = at.index(sealed.len() * 8);
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let mut open = |packet: &[u8]| if rtcp { open_rtcp(&mut there, packet) } else { open(&mut there, packet) };
        prop_assert!(open(&changed).is_err());
        prop_assert!(open(&sealed).is_ok(), "the genuine one is still welcome");
    }

    #[test]
    fn packets_in_any_order_within_the_window_are_taken_once_each_across_the_turn(
        suite in suites(),
        start in 65_400u16..=65_535,
        order in Just((0..100u16).collect::<Vec<_>>()).prop_shuffle(),
        lost in prop::collection::btree_set(0u16..100, 0..30),
    ) {
        let (mut here, mut there) = pair(suite);
        // One that came before tells the turn; a stream that nobody has heard of has none.
        let begun = seal(&mut here, &rtp(start, 7));
        prop_assert!(open(&mut there, &begun).is_ok());
        let sealed: Vec<_> =
            (1..=100u16).map(|n| seal(&mut here, &rtp(start.wrapping_add(n), 7))).collect();
        for n in order.into_iter().filter(|n| !lost.contains(n)) {
            let plain = rtp(start.wrapping_add(n + 1), 7);
            prop_assert_eq!(open(&mut there, &sealed[usize::from(n)]), Ok(plain));
            prop_assert_eq!(open(&mut there, &sealed[usize::from(n)]), Err(Rejected::Replayed));
        }
    }

    #[test]
    fn any_bytes_are_refused(bytes: Vec<u8>, suite in suites()) {
        let (_, mut there) = pair(suite);
        prop_assert!(open(&mut there, &bytes).is_err());
        prop_assert!(open_rtcp(&mut there, &bytes).is_err());
    }
}

/// A far end of one key that begins anew: an SSRC, a first sequence number and timestamp.
struct Beginning {
    srtp: Srtp,
    seq: u16,
    timestamp: u32,
}

impl Beginning {
    fn new(suite: Suite, seq: u16, timestamp: u32) -> Beginning {
        Beginning { srtp: pair(suite).0, seq, timestamp }
    }

    fn say(&mut self) -> Vec<u8> {
        let mut packet = rtp(self.seq, 7);
        packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        self.seq = self.seq.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        seal(&mut self.srtp, &packet)
    }
}

#[test]
fn a_far_end_that_begins_anew_and_forgot_that_its_sequence_turned_is_heard_again() {
    for suite in Suite::ALL {
        // Whether the sequence had turned, and where the new one begins.
        for (first, packets, again) in
            [(100, 1000, 60_000), (60_000, 1000, 100), (100, 1000, 500), (40_000, 40_000, 50_000)]
        {
            let (mut far, mut near) = (Beginning::new(suite, first, 1), pair(suite).1);
            for _ in 0..packets {
                open(&mut near, &far.say()).unwrap();
            }
            let mut far = Beginning::new(suite, again, 0x8000_0000);
            let heard: Vec<bool> = (0..200).map(|_| open(&mut near, &far.say()).is_ok()).collect();
            assert!(heard.iter().all(|heard| *heard), "{suite:?} {first} {again}: {heard:?}");
        }
    }
}

#[test]
fn nothing_that_was_said_before_a_new_beginning_is_taken_after_it_nor_begins_one() {
    for suite in [Suite::AesCm128HmacSha1_80, Suite::ALL[Suite::ALL.len() - 1]] {
        let (mut far, mut near) = (Beginning::new(suite, 60_000, 1), pair(suite).1);
        let mut recorded = vec![];
        for _ in 0..10_000 {
            let packet = far.say();
            open(&mut near, &packet).unwrap();
            recorded.push(packet);
        }
        // Whole stretches of it, from before and after the turn, while the far end pauses.
        for stretch in recorded.windows(50).step_by(333) {
            assert!(stretch.iter().all(|packet| open(&mut near, packet).is_err()));
        }
        for again in [1000, 62_000] {
            let mut far = Beginning::new(suite, again, 0x4000_0000 + u32::from(again) * 7);
            for _ in 0..100 {
                let _ = open(&mut near, &far.say());
            }
            assert!(open(&mut near, &far.say()).is_ok());
            for stretch in recorded.windows(50).step_by(333) {
                assert!(stretch.iter().all(|packet| open(&mut near, packet).is_err()), "{again}");
            }
            assert!(open(&mut near, &far.say()).is_ok());
        }
    }
}

#[test]
fn numbers_that_step_back_alone_are_heard_again_within_half_a_second() {
    for first in [100u16, 2000, 30_000, 50_000, 64_000, 65_400] {
        for packets in [60u32, 200, 1000] {
            for back in [3u16, 50, 99, 500, 3000, 40_000] {
                let suite = Suite::AesCm128HmacSha1_80;
                let (mut far, mut near) = (Beginning::new(suite, first, 1), pair(suite).1);
                for _ in 0..packets {
                    open(&mut near, &far.say()).unwrap();
                }
                far = Beginning { srtp: pair(suite).0, seq: far.seq.wrapping_sub(back), ..far };
                let heard = (0..200).take_while(|_| open(&mut near, &far.say()).is_err()).count();
                assert!(heard <= 30, "from {first}, {packets}, back {back}: {heard}");
            }
        }
    }
}
