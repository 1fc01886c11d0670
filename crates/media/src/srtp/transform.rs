//! What is done to one packet under known session keys, in place. Which key and which index it has is decided elsewhere.
//!
//! ```text
//! counter mode   RTP    header │ encrypted payload │ MKI │ tag
//!                RTCP   8 octets │ encrypted │ E, index │ MKI │ tag
//! GCM            RTP    header │ encrypted payload, tag │ MKI
//!                RTCP   8 octets │ encrypted, tag │ E, index │ MKI
//! ```
//!
//! The tag covers everything before it but the MKI (RFC 3711 §3.1, §3.4; RFC 7714 §7, §9).

use aes::{Aes128Enc, Aes256Enc};
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{AesGcm, Nonce, Tag};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use zeroize::Zeroizing;

use super::kdf::{derive, Label};
use super::keys::MasterKey;
use super::keystream::Aes;
use crate::seq::Ssrc;

/// Octets of the index with its E bit (RFC 3711 §3.4).
pub(super) const INDEX_LEN: usize = 4;
/// Octets of an RTCP packet that stay readable: up to its SSRC.
pub(super) const RTCP_HEADER_LEN: usize = 8;
/// The E bit: this packet is encrypted.
pub(super) const ENCRYPTED: u32 = 1 << 31;
/// Octets of a session key for HMAC-SHA1 (RFC 3711 §5.2).
const MAC_KEY_LEN: usize = 20;

/// The packet is not what the key says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadTag;

/// The session keys of one master key.
pub(super) struct Transform {
    rtp: Protection,
    rtcp: Protection,
}

/// Those of RTP or of RTCP.
enum Protection {
    CounterMode { aes: Aes, salt: Zeroizing<[u8; 14]>, mac: Hmac<Sha1>, tag_len: usize },
    Gcm { gcm: Gcm, salt: Zeroizing<[u8; 12]> },
}

enum Gcm {
    Short(Box<AesGcm<Aes128Enc, U12>>),
    Long(Box<AesGcm<Aes256Enc, U12>>),
}

impl Transform {
    pub(super) fn new(master: &MasterKey) -> Transform {
        use Label::*;
        let suite = master.suite();
        Transform {
            rtp: Protection::new(
                master,
                [RtpEncryption, RtpAuthentication, RtpSalt],
                suite.rtp_tag_len(),
            ),
            rtcp: Protection::new(
                master,
                [RtcpEncryption, RtcpAuthentication, RtcpSalt],
                suite.rtcp_tag_len(),
            ),
        }
    }

    /// Encrypts an RTP packet with a header of `header` octets, and appends MKI and tag.
    pub(super) fn seal_rtp(
        &self,
        packet: &mut Vec<u8>,
        header: usize,
        ssrc: Ssrc,
        index: u64,
        mki: &[u8],
    ) {
        match &self.rtp {
            Protection::CounterMode { aes, salt, mac, tag_len } => {
                aes.apply_keystream(&counter_iv(salt, ssrc, index), &mut packet[header..]);
                let tag = mac_of(mac, &[packet, &roc(index)]).finalize().into_bytes();
                packet.extend_from_slice(mki);
                packet.extend_from_slice(&tag[..*tag_len]);
            }
            Protection::Gcm { gcm, salt } => {
                let (head, payload) = packet.split_at_mut(header);
                let tag = gcm.seal(&rtp_nonce(salt, ssrc, index), head, payload);
                packet.extend_from_slice(&tag);
                packet.extend_from_slice(mki);
            }
        }
    }

    /// The reverse. The packet is changed only if its tag is right. It holds header, tag and MKI: the caller has checked.
    pub(super) fn open_rtp(
        &self,
        packet: &mut Vec<u8>,
        header: usize,
        ssrc: Ssrc,
        index: u64,
        mki_len: usize,
    ) -> Result<(), BadTag> {
        match &self.rtp {
            Protection::CounterMode { aes, salt, mac, tag_len } => {
                let end = packet.len() - tag_len - mki_len;
                let (body, tag) = (&packet[..end], &packet[end + mki_len..]);
                let expected = mac_of(mac, &[body, &roc(index)]);
                // Compared in constant time.
                expected.verify_truncated_left(tag).map_err(|_| BadTag)?;
                packet.truncate(end);
                aes.apply_keystream(&counter_iv(salt, ssrc, index), &mut packet[header..]);
            }
            Protection::Gcm { gcm, salt } => {
                let tag_end = packet.len() - mki_len;
                let (head, rest) = packet[..tag_end].split_at_mut(header);
                let payload = gcm.open(&rtp_nonce(salt, ssrc, index), head, rest)?;
                packet.truncate(header + payload);
            }
        }
        Ok(())
    }

    /// Encrypts an RTCP packet, and appends index, MKI and tag.
    pub(super) fn seal_rtcp(&self, packet: &mut Vec<u8>, ssrc: Ssrc, index: u32, mki: &[u8]) {
        let word = (index | ENCRYPTED).to_be_bytes();
        match &self.rtcp {
            Protection::CounterMode { aes, salt, mac, tag_len } => {
                let iv = counter_iv(salt, ssrc, index.into());
                aes.apply_keystream(&iv, &mut packet[RTCP_HEADER_LEN..]);
                packet.extend_from_slice(&word);
                let tag = mac_of(mac, &[packet]).finalize().into_bytes();
                packet.extend_from_slice(mki);
                packet.extend_from_slice(&tag[..*tag_len]);
            }
            Protection::Gcm { gcm, salt } => {
                let (head, body) = packet.split_at_mut(RTCP_HEADER_LEN);
                let tag = gcm.seal(&rtcp_nonce(salt, ssrc, index), &rtcp_aad(head, word), body);
                packet.extend_from_slice(&tag);
                packet.extend_from_slice(&word);
                packet.extend_from_slice(mki);
            }
        }
    }

    /// The reverse, for a packet with the E bit set.
    pub(super) fn open_rtcp(
        &self,
        packet: &mut Vec<u8>,
        ssrc: Ssrc,
        index: u32,
        mki_len: usize,
    ) -> Result<(), BadTag> {
        match &self.rtcp {
            Protection::CounterMode { aes, salt, mac, tag_len } => {
                let end = packet.len() - tag_len - mki_len;
                let (body, tag) = (&packet[..end], &packet[end + mki_len..]);
                mac_of(mac, &[body]).verify_truncated_left(tag).map_err(|_| BadTag)?;
                packet.truncate(end - INDEX_LEN);
                let iv = counter_iv(salt, ssrc, index.into());
                aes.apply_keystream(&iv, &mut packet[RTCP_HEADER_LEN..]);
            }
            Protection::Gcm { gcm, salt } => {
                let word = (index | ENCRYPTED).to_be_bytes();
                let tag_end = packet.len() - mki_len - INDEX_LEN;
                let (head, rest) = packet[..tag_end].split_at_mut(RTCP_HEADER_LEN);
                let aad = rtcp_aad(head, word);
                let body = gcm.open(&rtcp_nonce(salt, ssrc, index), &aad, rest)?;
                packet.truncate(RTCP_HEADER_LEN + body);
            }
        }
        Ok(())
    }
}

impl Protection {
    fn new(master: &MasterKey, [key, mac, salt]: [Label; 3], tag_len: usize) -> Protection {
        let suite = master.suite();
        let key = derive(master, key, suite.key_len());
        let salt = derive(master, salt, suite.salt_len());
        let mac = derive(master, mac, MAC_KEY_LEN);
        if suite.is_aead() {
            Protection::gcm(&key, &salt)
        } else {
            Protection::counter_mode(&key, &salt, &mac, tag_len)
        }
    }

    fn counter_mode(key: &[u8], salt: &[u8], mac: &[u8], tag_len: usize) -> Protection {
        Protection::CounterMode {
            aes: Aes::new(key),
            salt: fixed(salt),
            mac: Hmac::new_from_slice(mac).expect("any length is right"),
            tag_len,
        }
    }

    fn gcm(key: &[u8], salt: &[u8]) -> Protection {
        let gcm = if key.len() == 16 {
            Gcm::Short(Box::new(AesGcm::new_from_slice(key).expect("16 octets")))
        } else {
            Gcm::Long(Box::new(AesGcm::new_from_slice(key).expect("32 octets")))
        };
        Protection::Gcm { gcm, salt: fixed(salt) }
    }
}

/// Octets of a GCM tag; no suite has a shorter one (RFC 7714 §13).
const GCM_TAG_LEN: usize = 16;

impl Gcm {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Tag {
        let nonce = &Nonce::from(*nonce);
        match self {
            Gcm::Short(gcm) => gcm.encrypt_inout_detached(nonce, aad, data.into()),
            Gcm::Long(gcm) => gcm.encrypt_inout_detached(nonce, aad, data.into()),
        }
        .expect("a datagram is shorter than 64 GB")
    }

    /// Opens what holds data and, behind it, the tag; says how long the data is.
    fn open(&self, nonce: &[u8; 12], aad: &[u8], sealed: &mut [u8]) -> Result<usize, BadTag> {
        let nonce = &Nonce::from(*nonce);
        let len = sealed.len().checked_sub(GCM_TAG_LEN).ok_or(BadTag)?;
        let (data, tag) = sealed.split_at_mut(len);
        let tag = &Tag::try_from(&*tag).map_err(|_| BadTag)?;
        // Nothing is decrypted before the tag has been compared, in constant time.
        match self {
            Gcm::Short(gcm) => gcm.decrypt_inout_detached(nonce, aad, data.into(), tag),
            Gcm::Long(gcm) => gcm.decrypt_inout_detached(nonce, aad, data.into(), tag),
        }
        .map_err(|_| BadTag)?;
        Ok(len)
    }
}

/// IV = (salt · 2¹⁶) XOR (SSRC · 2⁶⁴) XOR (index · 2¹⁶) (RFC 3711 §4.1.1).
fn counter_iv(salt: &[u8; 14], ssrc: Ssrc, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[4..8].copy_from_slice(&ssrc.0.to_be_bytes());
    iv[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
    for (octet, salt) in iv.iter_mut().zip(salt) {
        *octet ^= salt;
    }
    iv
}

/// Two octets of zero, SSRC, ROC and sequence number, XOR salt (RFC 7714 §8.1).
fn rtp_nonce(salt: &[u8; 12], ssrc: Ssrc, index: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(&ssrc.0.to_be_bytes());
    nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    for (octet, salt) in nonce.iter_mut().zip(salt) {
        *octet ^= salt;
    }
    nonce
}

/// Two octets of zero, SSRC, two octets of zero and the index, XOR salt (RFC 7714 §9.1). That is the same.
fn rtcp_nonce(salt: &[u8; 12], ssrc: Ssrc, index: u32) -> [u8; 12] {
    rtp_nonce(salt, ssrc, index.into())
}

/// Header, E bit and index (RFC 7714 §9.2).
fn rtcp_aad(header: &[u8], word: [u8; INDEX_LEN]) -> [u8; RTCP_HEADER_LEN + INDEX_LEN] {
    let mut aad = [0; RTCP_HEADER_LEN + INDEX_LEN];
    aad[..RTCP_HEADER_LEN].copy_from_slice(header);
    aad[RTCP_HEADER_LEN..].copy_from_slice(&word);
    aad
}

/// The rollover counter: what is authenticated of the index beside the packet itself (RFC 3711 §4.2).
fn roc(index: u64) -> [u8; 4] {
    let [_, _, a, b, c, d, _, _] = index.to_be_bytes();
    [a, b, c, d]
}

fn mac_of(mac: &Hmac<Sha1>, parts: &[&[u8]]) -> Hmac<Sha1> {
    // The key has been taken in already; a copy of that state is all it takes.
    let mut mac = mac.clone();
    for part in parts {
        mac.update(part);
    }
    mac
}

fn fixed<const N: usize>(octets: &[u8]) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    out.copy_from_slice(octets);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::testing::hex;

    const RTP: &str =
        "8040f17b8041f8d35501a0b2 47616c6c696120657374206f6d6e69732064697669736120696e20706172
                       7465732074726573";
    const RTCP: &str =
        "81c8000d4d617273 4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeef
                        deadbeefdeadbeefdeadbeef";

    /// RFC 7714 §16 and §17 give session keys, not master keys.
    fn rfc7714(key_len: u8) -> Transform {
        let key: Vec<u8> = (0..key_len).collect();
        let salt = hex("517569642070726f2071756f");
        Transform { rtp: Protection::gcm(&key, &salt), rtcp: Protection::gcm(&key, &salt) }
    }

    fn rtp_vector(key_len: u8, sealed: &str) {
        let transform = rfc7714(key_len);
        let (ssrc, index) = (Ssrc(0x5501_a0b2), 0xf17b);
        let mut packet = hex(RTP);
        transform.seal_rtp(&mut packet, 12, ssrc, index, &[]);
        assert_eq!(packet, hex(sealed));
        assert_eq!(transform.open_rtp(&mut packet, 12, ssrc, index, 0), Ok(()));
        assert_eq!(packet, hex(RTP));
    }

    fn rtcp_vector(key_len: u8, sealed: &str) {
        let transform = rfc7714(key_len);
        let (ssrc, index) = (Ssrc(0x4d61_7273), 0x5d4);
        let mut packet = hex(RTCP);
        transform.seal_rtcp(&mut packet, ssrc, index, &[]);
        assert_eq!(packet, hex(sealed));
        assert_eq!(transform.open_rtcp(&mut packet, ssrc, index, 0), Ok(()));
        assert_eq!(packet, hex(RTCP));
    }

    /// Compiles only as long as the crates' features say so.
    #[test]
    fn every_key_is_wiped_when_it_is_dropped() {
        fn wiped<T: zeroize::ZeroizeOnDrop>() {}
        wiped::<Aes128Enc>();
        wiped::<Aes256Enc>();
        wiped::<AesGcm<Aes128Enc, U12>>();
        wiped::<AesGcm<Aes256Enc, U12>>();
        wiped::<Sha1>(); // which the state of an HMAC is made of
        wiped::<Zeroizing<Vec<u8>>>();
        wiped::<Zeroizing<[u8; 14]>>();
    }

    #[test]
    fn rfc7714_16_1_srtp_with_aead_aes_128_gcm() {
        rtp_vector(
            16,
            "8040f17b8041f8d35501a0b2 f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b
             36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        );
    }

    #[test]
    fn rfc7714_16_2_srtp_with_aead_aes_256_gcm() {
        rtp_vector(
            32,
            "8040f17b8041f8d35501a0b2 32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f
             1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
        );
    }

    #[test]
    fn rfc7714_17_1_srtcp_with_aead_aes_128_gcm() {
        rtcp_vector(
            16,
            "81c8000d4d617273 63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda
             4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade 800005d4",
        );
    }

    #[test]
    fn rfc7714_17_3_srtcp_with_aead_aes_256_gcm() {
        rtcp_vector(
            32,
            "81c8000d4d617273 d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be
             8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be 800005d4",
        );
    }
}
