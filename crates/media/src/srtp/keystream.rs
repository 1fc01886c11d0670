//! AES of either key length, as the maker of key streams (RFC 3711 §4.1.1).

use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use aes::{Aes128Enc, Aes256Enc};
use ctr::{flavors::Ctr128BE, CtrCore};

/// AES with its expanded key, which is wiped when it is dropped.
pub(super) enum Aes {
    Short(Box<Aes128Enc>),
    Long(Box<Aes256Enc>),
}

impl Aes {
    /// With a key of 16 or 32 octets; no suite has another.
    pub(super) fn new(key: &[u8]) -> Aes {
        if key.len() == 16 {
            Aes::Short(Box::new(Aes128Enc::new_from_slice(key).expect("16 octets")))
        } else {
            Aes::Long(Box::new(Aes256Enc::new_from_slice(key).expect("32 octets")))
        }
    }

    /// XORs `data` with the key stream that begins at `iv`. A datagram has 2¹² blocks at most, so that the counter stays
    /// within the last two octets, which are its own (RFC 3711 §4.1.1).
    pub(super) fn apply_keystream(&self, iv: &[u8; 16], data: &mut [u8]) {
        let iv = &(*iv).into();
        match self {
            Aes::Short(aes) => {
                CtrCore::<_, Ctr128BE>::inner_iv_init(&**aes, iv)
                    .apply_keystream_partial(data.into());
            }
            Aes::Long(aes) => {
                CtrCore::<_, Ctr128BE>::inner_iv_init(&**aes, iv)
                    .apply_keystream_partial(data.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::testing::hex;

    /// The first three blocks of a key stream, and three from the one before its counter carries on.
    fn stream(key: &str) -> (Vec<u8>, Vec<u8>) {
        let mut iv = [0; 16];
        iv.copy_from_slice(&hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000"));
        let mut stream = vec![0; 16 * 0xff02];
        Aes::new(&hex(key)).apply_keystream(&iv, &mut stream);
        (stream[..48].to_vec(), stream[16 * 0xfeff..].to_vec())
    }

    #[test]
    fn rfc3711_b2_key_stream_with_128_bits() {
        let (first, last) = stream("2b7e151628aed2a6abf7158809cf4f3c");
        assert_eq!(
            first,
            hex("e03ead0935c95e80e166b16dd92b4eb4 d23513162b02d0f72a43a2fe4a5f97ab
                 41e95b3bb0a2e8dd477901e4fca894c0")
        );
        assert_eq!(
            last,
            hex("ec8cdf7398607cb0f2d21675ea9ea1e4 362b7c3c6773516318a077d7fc5073ae
                 6a2cc3787889374fbeb4c81b17ba6c44")
        );
    }

    #[test]
    fn rfc6188_7_1_key_stream_with_256_bits() {
        let key = "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98";
        let (first, last) = stream(key);
        assert_eq!(
            first,
            hex("92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac
                 63c4868b7096d88421b563b8c94c9a31")
        );
        assert_eq!(
            last,
            hex("cea518c90fd91ced9cbb18c078a54711 3dbc4814f4da5f00a08772b63c6a046d
                 6eb246913062a16891433e97dd01a57f")
        );
    }
}
