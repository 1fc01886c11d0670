//! After any operations a clean stream is heard within a second, and a clean press in it is told exactly once, and not as one
//! of those that were masked.

use roomkit_media::session::{Direction, Event, FrameKind, Output};
use roomkit_media::time::{Duration, Time};

use super::setup::{codecs, peer, ssrc_of, Setup};
use super::{Operation, Run};

impl Run {
    /// Of the source that is trusted, after a time of clean audio.
    pub(super) fn end_cleanly(&mut self, setup: Setup) {
        let Some((addr, ssrc)) = self.session.source() else { return };
        let Some(from) = (0..4).find(|&from| (peer(from), ssrc_of(from)) == (addr, ssrc)) else {
            return;
        };
        // Where so little is taken of a source, no press is whole; and a far end whose indices are used up sends none.
        if setup.policy & 64 != 0 || self.far.is_some() || self.session.deadline() == Time::FAR {
            return;
        }
        self.perform(&Operation::Mask(false));
        self.perform(&Operation::Mute(false));
        self.config.receive_codecs = codecs().to_vec();
        self.config.direction = Direction::SendRecv;
        // Signalling says where it is: it may have said otherwise in between.
        self.config.remote = Some(addr);
        self.session.update(self.now, &self.config).expect("a configuration that fits");
        let frame = Duration::from_millis(20);
        let (mut told, mut heard, mut made_up) = (0, 0, 0);
        // A press that was signalled otherwise is forgotten after a second.
        for n in 0..100u16 {
            self.outputs.clear();
            self.seq = self.seq.plus(1);
            let packets = n.wrapping_sub(70);
            if packets < 7 {
                let end = if packets >= 4 { 0x8a } else { 0x0a };
                let [high, low] = ((packets + 1).min(5) * 160).to_be_bytes();
                let start = self.timestamp;
                self.receive_rtp(from, packets == 0, 101, start, &[5, end, high, low]);
            } else {
                self.timestamp = self.timestamp.plus(if packets == 7 { 8 * 160 } else { 160 });
                self.receive_rtp(from, false, 0, self.timestamp, &[0xff; 160]);
            }
            self.wait(frame);
            let digit = |output: &&Output| {
                let Output::Event(Event::Digit { masked, .. }) = output else { return false };
                assert!(packets >= 100 || !masked, "masking has ended long ago");
                true
            };
            if packets < 100 {
                told += self.outputs.iter().filter(digit).count();
            } else if n >= 50 {
                for output in &self.outputs {
                    let Output::Frame(frame) = output else { continue };
                    let received = frame.kind == FrameKind::Received;
                    (heard, made_up) =
                        (heard + u32::from(received), made_up + u32::from(!received));
                }
            }
        }
        // Where delay lacks or too much waits, some frames are put in or joined.
        assert!(heard > made_up, "{heard} frames heard and {made_up} made up");
        assert_eq!(told, 1, "a clean press");
    }
}
