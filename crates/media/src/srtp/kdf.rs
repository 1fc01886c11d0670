//! From a master key to the session keys (RFC 3711 §4.3), with a key derivation rate of zero: they are derived once.

use zeroize::Zeroizing;

use super::keys::MasterKey;
use super::keystream::Aes;

/// What a session key is for (RFC 3711 §4.3.1, §4.3.2).
#[derive(Clone, Copy, Debug)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// `len` octets of key material for `label`.
pub(super) fn derive(master: &MasterKey, label: Label, len: usize) -> Zeroizing<Vec<u8>> {
    // x = key_id XOR master_salt, then two octets of counter. The salts of GCM are two octets shorter than those of counter
    // mode, and stand at the left (RFC 7714 §11).
    let mut iv = Zeroizing::new([0; 16]);
    iv[..master.salt().len()].copy_from_slice(master.salt());
    iv[7] ^= label as u8;
    let mut material = Zeroizing::new(vec![0; len]);
    Aes::new(master.key()).apply_keystream(&iv, &mut material);
    material
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::suite::Suite;
    use crate::srtp::testing::hex;

    fn derived(suite: Suite, secret: &str, label: Label, len: usize) -> Vec<u8> {
        derive(&MasterKey::new(suite, &hex(secret), &[], None).unwrap(), label, len).to_vec()
    }

    #[test]
    fn rfc3711_b3_key_derivation_with_128_bits() {
        let master = "e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6";
        let derived = |label, len| derived(Suite::AesCm128HmacSha1_80, master, label, len);
        assert_eq!(derived(Label::RtpEncryption, 16), hex("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(derived(Label::RtpSalt, 14), hex("30cbbc08863d8c85d49db34a9ae1"));
        assert_eq!(
            derived(Label::RtpAuthentication, 94),
            hex("cebe321f6ff7716b6fd4ab49af256a156d38baa48f0a0acf3c34e2359e6cdbcee049646c43d9327a
                 d175578ef72270986371c10c9a369ac2f94a8c5fbcdddc256d6e919a48b610ef17c2041e47403576
                 6b68642c59bbfc2f34db60dbdfb2")
        );
    }

    #[test]
    fn rfc6188_7_2_key_derivation_with_256_bits() {
        let master = "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6
                      3b04803de51ee7c96423ab5b78d2";
        let derived = |label, len| derived(Suite::Aes256CmHmacSha1_80, master, label, len);
        assert_eq!(
            derived(Label::RtpEncryption, 32),
            hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4")
        );
        assert_eq!(derived(Label::RtpSalt, 14), hex("fa31791685ca444a9e07c6c64e93"));
        assert_eq!(
            derived(Label::RtpAuthentication, 20),
            hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05")
        );
    }
}
