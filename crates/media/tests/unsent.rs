//! What the system did not let leave was not sent, in statistics and in reports.

mod common;

use common::{good, voice, Call};
use roomkit_media::session::Port;
use roomkit_media::srtp::{MasterKey, SrtpConfig, Suite};
use roomkit_media::time::Time;

#[test]
fn rfc3550_6_4_1_a_report_counts_what_was_transmitted() {
    for secured in [false, true] {
        let mut call = Call::between(
            good(),
            1,
            |config| {
                let key = |fill| {
                    let suite = Suite::named("AES_CM_128_HMAC_SHA1_80").unwrap();
                    let secret = vec![fill; suite.key_len() + suite.salt_len()];
                    MasterKey::new(suite, &secret, &[], None).unwrap()
                };
                let keys = SrtpConfig { send: key(1), receive: vec![key(2)] };
                config.srtp = secured.then_some(keys);
            },
            |_| {},
        );
        call.a.play(1, voice(8_000, 8000), 8000);
        call.run(Time::ms(500));
        let (packets, reports) = (call.a.rtp_datagrams(), call.a.rtcp().len() as u64);
        for datagram in &packets[..10] {
            call.a.session.unsent(datagram);
        }
        let stats = call.a.session.stats();
        assert_eq!(stats.packets_sent, packets.len() as u64 - 10, "secured: {secured}");
        assert_eq!(stats.octets_sent, 160 * stats.packets_sent, "secured: {secured}");
        assert_eq!(stats.rtcp_sent, reports);
    }
}

impl common::End {
    fn rtp_datagrams(&self) -> Vec<Vec<u8>> {
        let rtp = self.sent.iter().filter(|(_, datagram)| datagram.port == Port::Rtp);
        rtp.map(|(_, datagram)| datagram.bytes.clone()).collect()
    }
}
