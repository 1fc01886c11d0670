//! What failed authentication costs who tries it. A packet that is refused has cost a tag or more; without a price, whoever
//! sends enough of them has the machine compute tags and nothing else.
//!
//! Who is out of credit is not silenced, for addresses are easily forged: of its packets only those are tried that may be of a
//! source which is known ([`Effort::Known`](crate::srtp::Effort)). So the far end is heard in the middle of a flood from its own
//! address, and who has begun anew when the flood is over. An authentic packet costs nothing.

use std::net::SocketAddr;

use crate::source::same_address;
use crate::time::{Duration, Time};

/// Who has an account of its own, beside those that the call expects. Further ones share what is for all.
const ACCOUNTS: usize = 16;
/// What an octet costs that was authenticated in vain: 8 MB a second are free, which takes about 1 % of a core.
const OF_ONE: Duration = Duration::from_nanos(125);
/// The same for all strangers together.
const OF_ALL: Duration = Duration::from_nanos(62);
/// A tag costs as much as that of so many octets, however short the packet is.
const TAG: u64 = 128;
/// Credit that is there at once: what a far end sends in a while that has other keys than agreed on.
const CREDIT: Duration = Duration::from_millis(20);

/// The accounts of a session.
#[derive(Debug, Default)]
pub(super) struct Credits {
    expected: Account,
    strangers: Vec<(SocketAddr, Account)>,
    all_strangers: Account,
}

/// When everything is paid for.
#[derive(Clone, Copy, Debug, Default)]
struct Account(Time);

impl Account {
    fn has(self, now: Time) -> bool {
        self.0 - now < CREDIT
    }

    fn charge(&mut self, now: Time, octets: u64, price: Duration) {
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        self.0 = self.0.max(now) + price.saturating_mul(octets);
    }
}

impl Credits {
    /// Whether a packet is worth a search; `payer` is its source if that is none of those that the call expects.
    pub(super) fn has(&self, now: Time, payer: Option<SocketAddr>) -> bool {
        let Some(payer) = payer else { return self.expected.has(now) };
        let own = self.strangers.iter().find(|(addr, _)| same_address(*addr, payer));
        self.all_strangers.has(now) && own.is_none_or(|(_, account)| account.has(now))
    }

    /// A packet of so many octets was refused, and so many tags had been computed of it.
    pub(super) fn charge(
        &mut self,
        now: Time,
        payer: Option<SocketAddr>,
        tags: u64,
        octets: usize,
    ) {
        if tags == 0 {
            return;
        }
        let octets = tags * (octets as u64 + TAG);
        let Some(payer) = payer else { return self.expected.charge(now, octets, OF_ONE) };
        self.all_strangers.charge(now, octets, OF_ALL);
        let known = self.strangers.iter().position(|(addr, _)| same_address(*addr, payer));
        let at = known.or_else(|| {
            // Who has paid needs none; where nobody has, all that are new share what is for all.
            self.strangers.retain(|(_, account)| account.0 > now);
            let fits = self.strangers.len() < ACCOUNTS;
            fits.then(|| self.strangers.push((payer, Account::default())))?;
            Some(self.strangers.len() - 1)
        });
        if let Some(at) = at {
            self.strangers[at].1.charge(now, octets, OF_ONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u32) -> SocketAddr {
        SocketAddr::from(((0xc000_0200 + n).to_be_bytes(), 4000))
    }

    /// How many packets of 172 octets with one tag each are searched for in a second, of 50 000.
    fn searched(
        credits: &mut Credits,
        from: u64,
        payer: impl Fn(u64) -> Option<SocketAddr>,
    ) -> u64 {
        let mut searched = 0;
        for n in 0..50_000u64 {
            let now = Time::secs(from) + Duration::from_micros(20) * n as u32;
            if credits.has(now, payer(n)) {
                searched += 1;
                credits.charge(now, payer(n), 1, 172);
            }
        }
        searched
    }

    #[test]
    fn a_flood_has_the_octets_of_one_and_a_spray_those_of_all_and_the_accounts_are_bounded() {
        let mut credits = Credits::default();
        let of_one = 8_000_000 / 300;
        let one = searched(&mut credits, 1, |_| Some(addr(1)));
        assert!((of_one..of_one * 103 / 100).contains(&one), "{one}");
        let all = searched(&mut credits, 10, |n| Some(addr(n as u32)));
        assert!((2 * of_one - 1..2 * of_one * 103 / 100).contains(&all) || all == 50_000, "{all}");
        assert!(credits.strangers.len() <= ACCOUNTS);
    }

    #[test]
    fn who_floods_takes_nothing_of_others_and_has_credit_again_as_soon_as_it_stops() {
        let mut credits = Credits::default();
        searched(&mut credits, 1, |_| Some(addr(1)));
        let end = Time::ms(1999) + Duration::from_micros(980);
        assert!(!credits.has(end, Some(addr(1))));
        assert!(credits.has(end, Some(addr(2))) && credits.has(end, None));
        assert!(credits.has(end + Duration::from_millis(1), Some(addr(1))));
        searched(&mut credits, 3, |_| None);
        assert!(!credits.has(Time::ms(3999), None));
        assert!(credits.has(Time::ms(3999), Some(addr(1))));
    }

    #[test]
    fn the_longest_packet_with_the_most_tags_is_paid_for_in_a_moment() {
        let mut credits = Credits::default();
        credits.charge(Time::ZERO, None, 8, 65_535);
        assert!(credits.has(Time::ms(50), None));
    }
}
