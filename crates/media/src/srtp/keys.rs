//! Master keys: what signalling agrees on. No key is ever printed, and each is wiped from memory when it is dropped.

use core::fmt;

use zeroize::Zeroizing;

use super::suite::Suite;

/// Packets of RTP that one master key may protect (RFC 3711 §9.2).
const MOST_RTP: u64 = 1 << 48;
/// Octets of the longest MKI (RFC 4568 §6.1).
const LONGEST_MKI: usize = 128;
/// Keys of the far end that are valid at the same time; more are a mistake.
const MOST_KEYS: usize = 8;

/// A master key with its salt, its name in packets and its lifetime.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    suite: Suite,
    /// Key and salt, one behind the other.
    secret: Zeroizing<Vec<u8>>,
    mki: Vec<u8>,
    lifetime: u64,
}

/// The keys of a session both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtpConfig {
    /// With which we send.
    pub send: MasterKey,
    /// With which the far end sends: one, or several that an MKI each tells apart.
    pub receive: Vec<MasterKey>,
}

/// Keys that cannot be: the program's fault. It tells lengths and names, and nothing of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(pub String);

impl MasterKey {
    /// From key and salt, one behind the other. An empty `mki` is none; without a lifetime it is the longest there is.
    pub fn new(
        suite: Suite,
        key_and_salt: &[u8],
        mki: &[u8],
        lifetime: Option<u64>,
    ) -> Result<MasterKey, KeyError> {
        let (key, salt) = (suite.key_len(), suite.salt_len());
        if key_and_salt.len() != key + salt {
            return Err(KeyError(format!(
                "{} octets; {} has {} of key and {} of salt",
                key_and_salt.len(),
                suite.name(),
                key,
                salt
            )));
        }
        if mki.len() > LONGEST_MKI {
            return Err(KeyError(format!("an MKI of {} octets; up to 128 fit", mki.len())));
        }
        let lifetime = lifetime.unwrap_or(MOST_RTP);
        if !(1..=MOST_RTP).contains(&lifetime) {
            return Err(KeyError(format!("a lifetime of {lifetime} packets; 1 to 2^48 fit")));
        }
        let secret = Zeroizing::new(key_and_salt.to_vec());
        Ok(MasterKey { suite, secret, mki: mki.to_vec(), lifetime })
    }

    /// What it is for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Its name in every packet (RFC 3711 §3.1); empty if it has none.
    pub fn mki(&self) -> &[u8] {
        &self.mki
    }

    /// Packets that may be sent with it.
    pub fn lifetime(&self) -> u64 {
        self.lifetime
    }

    /// Whether it makes the same key streams as another, whatever it is called and however long it lives.
    pub(super) fn same_secret(&self, other: &MasterKey) -> bool {
        self.suite == other.suite && self.secret == other.secret
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.secret[..self.suite.key_len()]
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.secret[self.suite.key_len()..]
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl SrtpConfig {
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), KeyError> {
        let receive = &self.receive;
        if !(1..=MOST_KEYS).contains(&receive.len()) {
            return Err(KeyError(format!("{} receive keys; 1 to 8 fit", receive.len())));
        }
        // Otherwise our own packets, sent back by anybody, would pass for the far end's.
        if receive.iter().any(|key| key.secret == self.send.secret) {
            return Err(KeyError("one key both ways; two different ones fit".into()));
        }
        let first = receive[0].mki.len();
        for (n, key) in receive.iter().enumerate() {
            let told_apart = !key.mki.is_empty()
                && key.mki.len() == first
                && receive[..n].iter().all(|earlier| earlier.mki != key.mki);
            if receive.len() > 1 && !told_apart {
                return Err(KeyError(
                    "several receive keys; an MKI for each fits, all of one length and none twice"
                        .into(),
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fill: u8, mki: &[u8]) -> MasterKey {
        MasterKey::new(Suite::AesCm128HmacSha1_80, &[fill; 30], mki, None).unwrap()
    }

    #[test]
    fn a_key_of_another_length_is_refused_with_the_lengths_and_without_the_key() {
        for suite in Suite::ALL {
            let fits = suite.key_len() + suite.salt_len();
            assert!(MasterKey::new(suite, &vec![0xee; fits], &[], None).is_ok());
            for wrong in [0, fits - 1, fits + 1] {
                let error = MasterKey::new(suite, &vec![0xee; wrong], &[], None).unwrap_err();
                assert!(error.0.starts_with(&format!("{wrong} octets")), "{error}");
                assert!(!error.0.contains("238") && !error.0.contains("ee"), "{error}");
            }
        }
        let suite = Suite::AesCm128HmacSha1_80;
        assert!(MasterKey::new(suite, &[1; 30], &[0; 128], Some(1 << 48)).is_ok());
        assert!(MasterKey::new(suite, &[1; 30], &[0; 129], None).is_err());
        assert!(MasterKey::new(suite, &[1; 30], &[], Some(0)).is_err());
        assert!(MasterKey::new(suite, &[1; 30], &[], Some((1 << 48) + 1)).is_err());
    }

    #[test]
    fn no_key_is_printed() {
        let config = SrtpConfig { send: key(0xab, b"x"), receive: vec![key(0xcd, b"y")] };
        let text = format!("{config:?} {config:#?}");
        for secret in ["171", "205", "ab", "cd", "AB"] {
            assert!(!text.contains(secret), "{text}");
        }
    }

    #[test]
    fn rfc4568_6_1_several_receive_keys_need_an_mki_each() {
        let with = |receive| SrtpConfig { send: key(9, b""), receive }.check();
        assert!(with(vec![key(1, b"")]).is_ok());
        assert!(with(vec![key(1, b"a"), key(2, b"b")]).is_ok());
        assert!(with(vec![]).is_err());
        assert!(with(vec![key(1, b"a"), key(2, b"")]).is_err());
        assert!(with(vec![key(1, b"a"), key(2, b"a")]).is_err());
        assert!(with(vec![key(1, b"a"), key(2, b"bb")]).is_err());
        assert!(with((0..9).map(|n| key(n + 20, &[n])).collect()).is_err());
    }

    #[test]
    fn one_key_both_ways_is_refused() {
        let error = SrtpConfig { send: key(1, b""), receive: vec![key(1, b"")] }.check();
        assert!(error.is_err_and(|error| error.0.contains("both ways")));
    }
}
