//! Floods of what costs most, on real sockets: each datagram is counted by its reason, and the calls beside it go on.

use super::*;

/// What is too long, of too many packets, too short, or of a source that is made up: of each so many.
const EACH: usize = 3_000;

fn blows(n: usize) -> [(bool, Vec<u8>); 5] {
    let audio = |ssrc: u32, octets: usize| {
        let mut bytes = [&[0x80, 0, 0, n as u8, 0, 0, 0, 0][..], &ssrc.to_be_bytes()].concat();
        bytes.resize(octets, 0x55);
        bytes
    };
    let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
    [
        (false, audio(9, 60_000)),
        (false, audio(n as u32 * 7919, 172)),
        (false, vec![0x80; 1 + n % 11]),
        (true, [&report[..], &[0x80, 210, 0, 0].repeat(15_000)].concat()),
        (true, [&report[..], &[0x80, 210, 0, 0].repeat(500)].concat()),
    ]
}

#[test]
fn a_flood_of_the_worst_is_counted_by_its_reasons_and_the_call_beside_it_is_whole() {
    for mut program in Program::both_paths() {
        let (a, b) = program.pair();
        let flooder = UdpSocket::bind((home(), 0)).unwrap();
        // As if its address were forged; and two more calls under the same flood, which have their turns.
        let victims: Vec<Session> =
            (0..3).map(|_| program.open(options(Some(flooder.local_addr().unwrap())))).collect();
        assert_eq!(a.outbound().push(&speech(8000), 8000, 1, 1, true), Ok(16_000));
        let targets: Vec<_> =
            victims.iter().map(|v| [v.local_addr(), v.rtcp_addr().unwrap()]).collect();
        let sent = std::thread::spawn(move || {
            let mut sent = 0;
            for n in 0..EACH / 3 {
                for (rtcp, bytes) in blows(n) {
                    for target in &targets {
                        let took = flooder.send_to(&bytes, target[usize::from(rtcp)]);
                        sent += u64::from(took.is_ok());
                    }
                }
            }
            (sent, flooder, targets)
        });
        program.wait(&b, "all of the call", |items| received(items) >= 49);
        let (sent, flooder, targets) = sent.join().unwrap();
        let counted = |session: &Session| {
            let Snapshot { media, socket, .. } = session.snapshot();
            // Of the candidates that still wait to prove themselves a packet each is held.
            media.oversized
                + media.stranger
                + media.malformed
                + media.rtcp_malformed
                + socket.kernel_drops
        };
        let give_up = Instant::now() + LONG;
        let all = || victims.iter().map(counted).sum::<u64>();
        let mut later = 0;
        while all() + 4 * 16 * 3 < sent {
            assert!(Instant::now() < give_up, "{} of {sent}", all());
            // The kernel says how many it dropped with the next one that it has room for.
            for target in targets.iter().flatten() {
                later += u64::from(flooder.send_to(&[0x80], target).is_ok());
            }
            std::thread::yield_now();
        }
        assert!(all() <= sent + later);
        for victim in &victims {
            let counts = victim.snapshot().media;
            assert!(counts.oversized > 0 && counts.malformed > 0 && counts.stranger > 0);
            assert!(counts.rtcp_malformed > 0, "{counts:?}");
            assert_eq!((counts.packets_received, counts.rtcp_received), (0, 0));
        }
        let counts = b.snapshot().media;
        assert_eq!((counts.packets_received, counts.packets_lost), (50, 0));
    }
}

#[test]
fn a_flood_on_a_shared_port_leaves_the_calls_there_whole() {
    let mut program = Program::new(EngineOptions::default());
    let far: Vec<Session> = (0..3).map(|_| program.open(options(None))).collect();
    let first = program.open(OpenOptions { shared: true, ..options(Some(far[0].local_addr())) });
    let local = first.local_addr();
    let join = |remote| OpenOptions { local, shared: true, ..options(Some(remote)) };
    let near =
        [first, program.open(join(far[1].local_addr())), program.open(join(far[2].local_addr()))];
    for session in &far {
        session.retarget(local).unwrap();
        assert_eq!(session.outbound().push(&speech(8000), 8000, 1, 1, true), Ok(16_000));
    }
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sent = 0;
            for n in 0..200 {
                for (_, bytes) in blows(n) {
                    sent += u64::from(stranger.send_to(&bytes, local).is_ok());
                }
                // No more than the buffer holds, which would not ask whose a datagram is.
                let give_up = Instant::now() + LONG;
                let taken = |socket: SocketStats| socket.unmatched + socket.kernel_drops;
                while taken(near[0].snapshot().socket) + 5 < sent && Instant::now() < give_up {
                    std::thread::yield_now();
                }
            }
        });
        for session in &near {
            program.wait(session, "all of its call", |items| received(items) >= 49);
        }
    });
    for session in &near {
        let counts = session.snapshot();
        let lost = (counts.media.packets_lost, counts.socket.kernel_drops);
        assert_eq!((counts.media.packets_received, lost), (50, (0, 0)));
    }
    assert!(near[0].snapshot().socket.unmatched > 0, "strangers are for none of them");
}

#[test]
fn what_is_too_long_for_a_call_is_counted_and_what_its_codec_may_send_is_heard() {
    use roomkit_media::codec::CodecSpec;
    for mut program in Program::both_paths() {
        let far = UdpSocket::bind((home(), 0)).unwrap();
        let mut stereo = options(Some(far.local_addr().unwrap()));
        stereo.session.receive_codecs = vec![CodecSpec::l16(96, 48_000, 2)];
        let session = program.open(stereo);
        for (n, octets) in [11_520, 11_520, 50_000, 38_400].into_iter().enumerate() {
            let n = n as u32;
            let timestamp = (n * 2880).to_be_bytes();
            let head = [&[0x80, 96, 0, n as u8][..], &timestamp, &[0, 0, 0, 9]].concat();
            let packet = [head, vec![7; octets]].concat();
            far.send_to(&packet, session.local_addr()).unwrap();
        }
        program.wait(&session, "60 ms of it", |items| received(items) >= 3);
        let give_up = Instant::now() + LONG;
        while session.snapshot().media.packets_received < 3 {
            assert!(Instant::now() < give_up);
            std::thread::yield_now();
        }
        let counts = session.snapshot().media;
        assert_eq!((counts.packets_received, counts.oversized), (3, 1));
    }
}
