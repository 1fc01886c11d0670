use super::*;
use crate::seq::{ExtTime, RtpTime, SeqNo};

/// The delay after two seconds of packets of 40 ms in frames of 60 ms.
fn delay_at(sample_rate: u32, channels: u8) -> Duration {
    let frame = Duration::from_millis(60);
    let mut playout = Playout::new(&[CodecSpec::PCMU], frame, frame, sample_rate, channels, 1);
    for ms in (0..2000).step_by(20) {
        let now = Time::ms(ms);
        if ms % 40 == 0 {
            let seq = 100 + ms / 40;
            let (timestamp, payload) = (10_000 + ms * 8, vec![0xff; 320]);
            let packet = Packet {
                seq: ExtSeq::first(SeqNo(0)).plus(seq),
                timestamp: ExtTime::first(RtpTime(0)).plus(timestamp),
                ticks: 320,
                codec: 0,
                noise: false,
                arrival: now,
                payload,
            };
            playout.insert(packet, now);
        }
        if ms % 60 == 0 {
            playout.frame(now);
        }
    }
    playout.delay()
}

#[test]
fn the_delay_is_the_same_whatever_the_frames_are_made_of() {
    let plain = delay_at(8000, 1);
    assert!(plain <= Duration::from_millis(60 + 60), "{plain:?}");
    for (rate, channels) in [(48_000, 1), (8000, 2), (48_000, 2)] {
        let delay = delay_at(rate, channels);
        let apart = delay.max(plain) - delay.min(plain);
        assert!(apart < Duration::from_millis(2), "{rate} Hz, {channels}: {delay:?}, {plain:?}");
    }
}
