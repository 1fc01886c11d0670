//! Calls that move about as calls do, from a seed: no false alarm may lock the far end out of its own call.

use super::tests::{guard_of, Talker, PBX};
use super::*;
use crate::rng::Rng;

const CALLS: u64 = 10_000;
/// How long the far end may speak without being heard.
const PATIENCE: u64 = 2000;
/// How long each call goes on, in ms.
const LENGTH: u64 = 6000;

/// What reaches us, in ms of the call.
enum Arrival {
    Packet(SocketAddr, Vec<u8>),
    Retarget(SocketAddr),
}

/// A far end that speaks, over a network that jitters, reorders and loses.
struct FarEnd {
    talker: Talker,
    ptime: u64,
    jitter: u64,
    loss: f64,
    arrivals: Vec<(u64, Arrival)>,
    now: u64,
}

impl FarEnd {
    fn new(rng: &mut Rng) -> FarEnd {
        FarEnd {
            talker: Talker::new(PBX, rng.next_u32(), rng.next_u16()),
            ptime: [10, 20, 20, 30, 60][rng.next_u64() as usize % 5],
            jitter: rng.next_u64() % 40,
            loss: rng.unit() * 0.1,
            arrivals: Vec::new(),
            now: 0,
        }
    }

    fn speak_until(&mut self, rng: &mut Rng, until: u64) {
        while self.now < until {
            let bytes = self.talker.packet();
            if !rng.chance(self.loss) {
                let at = self.now + 20 + rng.next_u64() % (self.jitter + 1);
                self.arrivals.push((at, Arrival::Packet(self.talker.addr, bytes)));
            }
            self.now += self.ptime;
        }
    }

    fn pause_until(&mut self, until: u64) {
        self.now = self.now.max(until);
    }

    fn signal(&mut self, at: u64, addr: SocketAddr) {
        self.arrivals.push((at, Arrival::Retarget(addr)));
    }

    /// Plays it to a guard. How long the far end spoke at most without being heard; its pauses do not count.
    fn play(mut self, policy: Policy) -> (SourceGuard, u64) {
        self.arrivals.sort_by_key(|(at, _)| *at);
        let mut guard = guard_of(SourceConfig::new(policy, Some(PBX.parse().unwrap())));
        let (mut before, mut unheard, mut longest) = (0, 0, 0);
        for (at, arrival) in self.arrivals {
            match arrival {
                Arrival::Retarget(addr) => guard.retarget(Time::ms(at), addr),
                Arrival::Packet(from, bytes) => {
                    let packet = RtpPacket::parse(&bytes).unwrap();
                    match guard.judge(Time::ms(at), from, &packet, &bytes, false) {
                        Verdict::Accept | Verdict::NewSource { .. } => unheard = 0,
                        // More than this without a packet is a pause: three lost ones of 60 ms, and jitter.
                        Verdict::Hold | Verdict::Reject(_) => unheard += (at - before).min(240),
                    }
                    longest = longest.max(unheard);
                    before = at;
                }
            }
        }
        (guard, longest)
    }
}

/// An address of the far end's own: the same host where the policy wants that.
fn elsewhere(rng: &mut Rng, same_host: bool) -> SocketAddr {
    let host = if same_host { [192, 0, 2, 1] } else { (rng.next_u32() | 1 << 31).to_be_bytes() };
    SocketAddr::from((host, 1024 + rng.next_u16() % 60_000))
}

#[test]
fn nat_rebinding_locks_nobody_out_in_10_000_seeded_calls() {
    for seed in 0..CALLS {
        let mut rng = Rng::new(seed);
        let policy = [Policy::Host, Policy::Learn, Policy::Follow][(seed % 3) as usize];
        let mut far = FarEnd::new(&mut rng);
        // Up to three times, while it talks or in a pause of up to three seconds, there and back again as well.
        let mut last = far.talker.addr;
        while far.now < LENGTH {
            let until = far.now + 300 + rng.next_u64() % 3000;
            far.speak_until(&mut rng, until);
            if rng.chance(0.3) {
                let until = far.now + rng.next_u64() % 3000;
                far.pause_until(until);
            }
            let back = rng.chance(0.2);
            let next = if back { last } else { elsewhere(&mut rng, policy == Policy::Host) };
            last = core::mem::replace(&mut far.talker.addr, next);
        }
        let until = far.now + PATIENCE + 500;
        far.speak_until(&mut rng, until);
        let peer = far.talker;
        let (guard, unheard) = far.play(policy);
        assert!(unheard <= PATIENCE, "seed {seed}: {policy:?}, {unheard} ms");
        assert_eq!(guard.locked(), Some((peer.addr, peer.ssrc)), "seed {seed}: {policy:?}");
    }
}

#[test]
fn a_client_that_changes_networks_while_it_talks_is_followed_within_500_ms_in_10_000_seeded_calls()
{
    for seed in 0..CALLS {
        let mut rng = Rng::new(seed);
        let mut far = FarEnd::new(&mut rng);
        while far.now < LENGTH {
            let until = far.now + 300 + rng.next_u64() % 2000;
            far.speak_until(&mut rng, until);
            far.talker.addr = elsewhere(&mut rng, false);
        }
        let until = far.now + 500;
        far.speak_until(&mut rng, until);
        let (ptime, loss) = (far.ptime, far.loss);
        let (_, unheard) = far.play(Policy::Follow);
        // Packets of 60 ms need three of them, and a lost one, of which there are up to a tenth, begins a run anew.
        assert!(unheard <= 500, "seed {seed}: {unheard} ms, {ptime} ms, {loss}");
    }
}

#[test]
fn reinvites_in_any_order_lock_nobody_out_in_10_000_seeded_calls() {
    let policies = [Policy::Strict, Policy::Host, Policy::Learn, Policy::Follow];
    for seed in 0..CALLS {
        let mut rng = Rng::new(seed);
        let policy = policies[(seed % 4) as usize];
        let (mut far, mut signalled) = (FarEnd::new(&mut rng), 0);
        while far.now < LENGTH {
            let until = far.now + 500 + rng.next_u64() % 2500;
            far.speak_until(&mut rng, until);
            let same_host = rng.chance(0.5);
            let next = elsewhere(&mut rng, same_host);
            // Signalling comes up to half a second before the first packet or after it, and in order (RFC 3261 §12.2.2).
            // Now and then it repeats what is known, as a session refresh does.
            signalled = signalled.max((far.now + 20).saturating_sub(500) + rng.next_u64() % 1000);
            far.signal(signalled, next);
            if rng.chance(0.3) {
                signalled += rng.next_u64() % 500;
                far.signal(signalled, next);
            }
            far.talker.addr = next;
            if rng.chance(0.5) {
                far.talker =
                    Talker { ssrc: Ssrc(rng.next_u32()), seq: SeqNo(rng.next_u16()), addr: next };
            }
            if rng.chance(0.2) {
                let until = far.now + rng.next_u64() % 1500;
                far.pause_until(until);
            }
        }
        let until = far.now + PATIENCE + 500;
        far.speak_until(&mut rng, until);
        let peer = far.talker;
        let (guard, unheard) = far.play(policy);
        assert!(unheard <= PATIENCE, "seed {seed}: {policy:?}, {unheard} ms");
        assert_eq!(guard.locked(), Some((peer.addr, peer.ssrc)), "seed {seed}: {policy:?}");
        assert_eq!(guard.destination(), Some(peer.addr), "seed {seed}: {policy:?}");
    }
}
