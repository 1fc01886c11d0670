//! Any dial string: read whole or refused, and sent in packets that a receiver takes for what was dialled.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomkit_media::dtmf::{
    parse_dial, EventHeader, EventPayload, InbandDetector, Method, Receiver, Sender, Signal,
};
use roomkit_media::seq::{ExtSeq, ExtTime, RtpTime, SeqNo};
use roomkit_media::time::{Duration, Time};

const FRAME: u32 = 160;
/// What is looked at of a string that takes longer to send: ten minutes.
const FRAMES: u32 = 30_000;

fuzz_target!(|input: (u16, u16, bool, u8, &str)| {
    let (held, gap, tones, cancel_at, text) = input;
    let ms = |n: u16| Duration::from_millis(u64::from(n) % 500);
    let method = if tones { Method::Tone } else { Method::Event };
    let Ok(signals) = parse_dial(text, ms(held), ms(gap), method) else { return };
    let dialled: Vec<_> = signals
        .iter()
        .filter_map(|signal| match signal {
            Signal::Digit { digit, .. } => Some(*digit),
            Signal::Pause(_) => None,
        })
        .collect();
    assert_eq!(signals.len(), text.chars().count());

    let mut sender = Sender::new(8000);
    sender.dial(1, &signals).expect("128 fit");
    let mut receiver = Receiver::new(8000);
    let mut seq = ExtSeq::first(SeqNo(0));
    let mut detector = InbandDetector::new(8000, 1).expect("8 kHz fits");
    let (mut heard, mut ends) = (Vec::new(), Vec::new());
    for n in 0..FRAMES {
        let now = Time::ms(u64::from(n) * 20);
        // A few are cancelled on the way.
        if cancel_at < 64 && n == u32::from(cancel_at) * 8 {
            sender.cancel(1);
        }
        if let Some(packet) = sender.next(RtpTime(n * FRAME), FRAME) {
            let payload = EventPayload::parse(&packet.payload).expect("it has four bytes");
            let timestamp = ExtTime::first(packet.timestamp);
            seq = seq.plus(1);
            receiver.receive(now, EventHeader { seq, timestamp, marker: packet.marker }, &payload);
        }
        let mut pcm = [0; FRAME as usize];
        sender.fill(&mut pcm, 8000, 1);
        detector.process(&pcm);
        heard.extend(core::iter::from_fn(|| receiver.poll(now)).map(|received| received.digit));
        heard.extend(core::iter::from_fn(|| detector.poll()).map(|tone| tone.digit));
        ends.extend(core::iter::from_fn(|| sender.poll()));
        if !ends.is_empty() && !sender.is_active() && n > 20 && sender.queued() == 0 {
            break;
        }
    }
    for n in 0..20 {
        let pcm = [0; FRAME as usize];
        detector.process(&pcm);
        heard.extend(core::iter::from_fn(|| receiver.poll(Time::secs(1000 + n))).map(|r| r.digit));
        heard.extend(core::iter::from_fn(|| detector.poll()).map(|tone| tone.digit));
    }
    assert_eq!(ends.len(), 1, "a batch is told once");
    if ends[0].cancelled {
        // The digit that was cut short may be too short to be heard.
        assert!(dialled.starts_with(&heard), "{heard:?} of {dialled:?}");
    } else {
        assert_eq!(heard, dialled);
    }
});
