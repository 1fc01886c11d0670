//! Two ends of SRTP with somebody between them: what is protected comes back as it was and only once, what is changed or
//! made up is refused, and the far end's keys may change at any moment.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use roomkit_media::srtp::{Effort, MasterKey, Srtp, SrtpConfig, Suite};
use roomkit_media::time::{Duration, Time};

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// Protects RTP of this sequence number, SSRC and payload, and keeps it.
    Rtp { first: u8, seq: u16, ssrc: u8, payload: &'a [u8] },
    /// Protects RTCP of this SSRC, and keeps it.
    Rtcp { ssrc: u8, body: &'a [u8] },
    /// Delivers one that was kept.
    Deliver { which: u8 },
    /// Delivers it with one bit changed.
    Change { which: u8, bit: u16 },
    /// Delivers it cut short.
    Cut { which: u8, len: u16 },
    /// Delivers bytes of nobody's.
    Forge { bytes: &'a [u8], rtcp: bool },
    /// Both ends go over to another key.
    Rekey { suite: u8, fill: u8, mki: u8 },
    /// Time passes.
    Wait { ms: u16 },
}

struct Kept {
    sealed: Vec<u8>,
    plain: Vec<u8>,
    rtcp: bool,
    arrived: bool,
}

/// Keys of both ends. One may come back as long as the receiver still knows it, which is what it has to be for it to know what
/// came under it: the time is in the key, and there are fewer at a time than it holds.
fn keys(now: Time, suite: u8, fill: u8, mki: u8) -> (SrtpConfig, SrtpConfig) {
    let number = suite % Suite::ALL.len() as u8;
    let suite = Suite::ALL[usize::from(number)];
    let period = (now - Time::ZERO).as_secs() / 2;
    let key = |end: u8| {
        let mut secret = vec![0; suite.key_len() + suite.salt_len()];
        secret[..8].copy_from_slice(&period.to_be_bytes());
        // Another MKI is another key: it is not authenticated (RFC 3711 §3.1), and names nothing but the key.
        secret[8..12].copy_from_slice(&[end, fill & 1, number, mki]);
        MasterKey::new(suite, &secret, &vec![mki; usize::from(mki % 5)], None).unwrap()
    };
    let (here, there) = (key(1), key(2));
    (
        SrtpConfig { send: here.clone(), receive: vec![there.clone()] },
        SrtpConfig { send: there, receive: vec![here] },
    )
}

fn open(srtp: &mut Srtp, now: Time, bytes: &[u8], rtcp: bool) -> Option<Vec<u8>> {
    let mut packet = bytes.to_vec();
    let opened = if rtcp {
        srtp.unprotect_rtcp(now, &mut packet, Effort::Whole)
    } else {
        srtp.unprotect_rtp(now, &mut packet, Effort::Whole)
    };
    opened.ok().map(|()| packet)
}

fuzz_target!(|input: (u8, Vec<Step<'_>>)| {
    let (suite, steps) = input;
    let (here, there) = keys(Time::ZERO, suite, 1, suite);
    let (mut here, mut there) = (Srtp::new(&here), Srtp::new(&there));
    let mut now = Time::ZERO;
    let mut kept: Vec<Kept> = Vec::new();
    let mut sealed_before = BTreeSet::new();
    for step in steps {
        match step {
            Step::Rtp { first, seq, ssrc, payload } => {
                let mut plain = vec![0x80 | first & 0x3f, 0];
                plain.extend_from_slice(&seq.to_be_bytes());
                plain.extend_from_slice(&[0; 7]);
                plain.push(ssrc);
                plain.extend_from_slice(payload);
                let mut sealed = plain.clone();
                if here.protect_rtp(&mut sealed).is_ok() {
                    // The same packet twice would be one key stream twice.
                    assert!(sealed_before.insert(sealed.clone()) || plain.len() == 12);
                    kept.push(Kept { sealed, plain, rtcp: false, arrived: false });
                }
            }
            Step::Rtcp { ssrc, body } => {
                let mut plain = vec![0x80, 201, 0, 1, 0, 0, 0, ssrc];
                plain.extend_from_slice(body);
                let mut sealed = plain.clone();
                if here.protect_rtcp(&mut sealed).is_ok() {
                    assert!(sealed_before.insert(sealed.clone()));
                    kept.push(Kept { sealed, plain, rtcp: true, arrived: false });
                }
            }
            Step::Deliver { which } => {
                let count = kept.len().max(1);
                let Some(one) = kept.get_mut(usize::from(which) % count) else { continue };
                if let Some(opened) = open(&mut there, now, &one.sealed, one.rtcp) {
                    assert_eq!(opened, one.plain);
                    assert!(!one.arrived, "taken twice");
                    one.arrived = true;
                }
            }
            Step::Change { which, bit } => {
                let Some(one) = kept.get(usize::from(which) % kept.len().max(1)) else { continue };
                let mut changed = one.sealed.clone();
                let bit = usize::from(bit) % (changed.len() * 8);
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(open(&mut there, now, &changed, one.rtcp), None);
            }
            Step::Cut { which, len } => {
                let Some(one) = kept.get(usize::from(which) % kept.len().max(1)) else { continue };
                let len = usize::from(len) % one.sealed.len();
                assert_eq!(open(&mut there, now, &one.sealed[..len], one.rtcp), None);
            }
            Step::Forge { bytes, rtcp } => assert_eq!(open(&mut there, now, bytes, rtcp), None),
            Step::Rekey { suite, fill, mki } => {
                let (new_here, new_there) = keys(now, suite, fill, mki);
                here.rekey(now, &new_here);
                there.rekey(now, &new_there);
            }
            Step::Wait { ms } => now += Duration::from_millis(ms.into()),
        }
    }
});
