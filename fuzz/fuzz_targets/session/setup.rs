//! Configurations of what fits together, and who the far end may be.

use std::net::SocketAddr;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use roomkit_media::codec::opus::Settings;
use roomkit_media::codec::CodecSpec;
use roomkit_media::seq::Ssrc;
use roomkit_media::session::{Direction, Fill, NoiseType, RtcpMode, SessionConfig};
use roomkit_media::source::Policy;
use roomkit_media::srtp::{MasterKey, SrtpConfig, Suite};
use roomkit_media::time::Duration;

/// A configuration, of what fits together.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) codec: u8,
    pub(super) ptime: u8,
    pub(super) rate: u8,
    pub(super) stereo: bool,
    pub(super) rtcp: u8,
    pub(super) policy: u8,
    pub(super) signalled: Option<u8>,
    pub(super) expects_ssrc: bool,
    pub(super) jitter_ms: u8,
    pub(super) timeout: bool,
    pub(super) fill: u8,
    pub(super) takes_noise: bool,
    pub(super) secured: Option<u8>,
    pub(super) inband: bool,
    pub(super) extended_reports: bool,
}

fn noise_types() -> Vec<NoiseType> {
    vec![NoiseType::STATIC, NoiseType { payload_type: 98, clock_rate: 16_000 }]
}

pub(super) const FILLS: [Fill; 3] = [Fill::None, Fill::Silence, Fill::ComfortNoise];

pub(super) const DIRECTIONS: [Direction; 4] =
    [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];

pub(super) fn codecs() -> [CodecSpec; 6] {
    let opus = Settings { complexity: 0, dtx: true, ..Settings::default() };
    [
        CodecSpec::PCMU,
        CodecSpec::PCMA,
        CodecSpec::G722,
        CodecSpec::l16(96, 16_000, 1),
        CodecSpec::l16(97, 48_000, 2),
        CodecSpec::opus(111, 16_000, 1, opus),
    ]
}

pub(super) fn ptime_of(which: u8) -> Duration {
    Duration::from_millis([10, 20, 30, 40, 60][usize::from(which) % 5])
}

pub(super) fn config(setup: Setup) -> SessionConfig {
    let codecs = codecs();
    let codec = codecs[usize::from(setup.codec) % codecs.len()];
    SessionConfig {
        send_codec: codec,
        receive_codecs: codecs.to_vec(),
        ptime: ptime_of(setup.ptime),
        rtcp: [RtcpMode::Separate, RtcpMode::Mux, RtcpMode::Off][usize::from(setup.rtcp) % 3],
        policy: [Policy::Strict, Policy::Host, Policy::Learn, Policy::Follow]
            [usize::from(setup.policy) % 4],
        symmetric: [None, Some(true), Some(false), None][usize::from(setup.policy / 4) % 4],
        learn_window: (setup.policy & 16 != 0).then_some(Duration::from_millis(300)),
        probation: if setup.policy & 32 != 0 { 2 } else { 5 },
        source_rate: if setup.policy & 64 != 0 { 20 } else { 400 },
        remote_ssrc: setup.expects_ssrc.then(|| ssrc_of(0)),
        rtcp_interval: Duration::from_millis(250),
        jitter_delay: Duration::from_millis(u64::from(setup.jitter_ms)),
        receive_noise: noise_types(),
        send_noise: if setup.takes_noise { noise_types() } else { vec![] },
        fill: FILLS[usize::from(setup.fill) % FILLS.len()],
        keepalive: (setup.fill >= 128).then_some(Duration::from_secs(1)),
        rtp_timeout: setup.timeout.then_some(Duration::from_millis(500)),
        rtp_timeout_on_hold: setup.timeout.then_some(Duration::from_millis(900)),
        rtcp_timeout: setup.timeout.then_some(Duration::from_millis(700)),
        srtp: setup.secured.map(|secret| keys(secret).0),
        dtmf_inband: setup.inband,
        extended_reports: setup.extended_reports,
        sample_rate: [8_000, 16_000, 24_000, 48_000][usize::from(setup.rate) % 4],
        channels: 1 + u8::from(setup.stereo),
        ..SessionConfig::pcmu(setup.signalled.map(peer))
    }
}

/// Ours and the far end's, of any suite.
pub(super) fn keys(secret: u8) -> (SrtpConfig, SrtpConfig) {
    let suite = Suite::ALL[usize::from(secret) % Suite::ALL.len()];
    let key = |first: u8| {
        let mut octets = vec![secret; suite.key_len() + suite.salt_len()];
        octets[0] = first;
        MasterKey::new(suite, &octets, &[], None).expect("octets of the right number")
    };
    let (here, there) = (key(1), key(2));
    let ours = SrtpConfig { send: here.clone(), receive: vec![there.clone()] };
    (ours, SrtpConfig { send: there, receive: vec![here] })
}

/// Four peers on three hosts.
pub(super) fn peer(which: u8) -> SocketAddr {
    let (host, port) = [(1, 20_000), (1, 30_000), (2, 20_000), (3, 20_001)][usize::from(which) % 4];
    SocketAddr::from(([192, 0, 2, host], port))
}

/// Each peer's stream, and the peers on one host share theirs.
pub(super) fn ssrc_of(which: u8) -> Ssrc {
    Ssrc([7, 7, 8, 9][usize::from(which) % 4])
}
