//! For each line with the name of a suite, one line with the nanoseconds that protecting and unprotecting a packet of 20 ms of
//! G.711 takes.
//!
//! `echo AEAD_AES_128_GCM | cargo run --release -p roomkit-media --example srtp_cost`; `benches/srtp_cost.py` asks it in turn
//! with libsrtp.

// An example is a program of its own: it may read the clock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::io::{stdin, BufRead};
use std::time::{Duration, Instant};

use roomkit_media::srtp::{Effort, MasterKey, Srtp, SrtpConfig, Suite};
use roomkit_media::time::Time;

const PACKETS: usize = 1000;
const ROUNDS: usize = 20;
const LEN: usize = 12 + 160;

fn main() {
    let mut packets: Vec<Vec<u8>> = (0..PACKETS).map(|_| Vec::with_capacity(256)).collect();
    for line in stdin().lock().lines().map_while(Result::ok) {
        let Some(suite) = Suite::named(line.trim()) else {
            eprintln!("{line}: no such suite");
            std::process::exit(1);
        };
        let (protect, unprotect) = measure(suite, &mut packets);
        let each = |span: Duration| span.as_nanos() as f64 / (PACKETS * ROUNDS) as f64;
        println!("{:.1} {:.1}", each(protect), each(unprotect));
    }
}

fn measure(suite: Suite, packets: &mut [Vec<u8>]) -> (Duration, Duration) {
    let key = |fill: u8| {
        let secret = vec![fill; suite.key_len() + suite.salt_len()];
        MasterKey::new(suite, &secret, &[], None).expect("it has the suite's length")
    };
    let (here, there) = (key(1), key(2));
    let mut sender = Srtp::new(&SrtpConfig { send: here.clone(), receive: vec![there.clone()] });
    let mut receiver = Srtp::new(&SrtpConfig { send: there, receive: vec![here] });
    let (mut protect, mut unprotect) = (Duration::ZERO, Duration::ZERO);
    let mut seq = 0u16;
    for _ in 0..ROUNDS {
        for packet in &mut *packets {
            packet.clear();
            packet.resize(LEN, 0x55);
            packet[..12].fill(0);
            packet[0] = 0x80;
            packet[2..4].copy_from_slice(&seq.to_be_bytes());
            packet[11] = 7;
            seq += 1;
        }
        let start = Instant::now();
        for packet in &mut *packets {
            sender.protect_rtp(packet).expect("it is a packet");
        }
        let half = Instant::now();
        for packet in &mut *packets {
            receiver.unprotect_rtp(Time::ZERO, packet, Effort::Whole).expect("it is authentic");
        }
        protect += half - start;
        unprotect += half.elapsed();
    }
    (protect, unprotect)
}
