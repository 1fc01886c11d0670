//! Calls that expect their audio back.
//!
//! After its ports it reads `PID PORT…`: whose CPU time is to be read, and where each call sends to. Each call sends a
//! G.711 packet every 20 ms at a phase of its own, as calls from a network do. Every packet carries its number in codes
//! that survive decoding and encoding, so that an echo is told from comfort noise or concealment.

use crate::clock;
use crate::udp::{bind_pairs, Collector};
use std::io;
use std::net::UdpSocket;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const FRAME_NS: u64 = 20_000_000;
/// RTP header and 160 samples.
const PACKET: usize = 172;
/// Packets that follow the measured ones, one second of them: a server may give its last packets out only when more
/// come, and that is not to be counted as loss.
const TAIL: usize = 50;
/// How long after the last packet echoes are waited for.
const DRAIN_NS: u64 = 500_000_000;

pub fn run(calls: usize, warmup_s: u64, seconds: u64) -> io::Result<()> {
    let pairs = bind_pairs(calls)?;
    crate::print_ports(pairs.iter().map(|pair| pair.port))?;
    let told = crate::read_numbers()?;
    if told.is_empty() {
        // Only sockets that receive were wanted.
        return Ok(());
    }
    assert_eq!(told.len(), calls + 1, "a process id and a port per call are expected");
    let pid = told[0] as i32;
    let mut receivers = Vec::new();
    for (pair, &port) in pairs.iter().zip(&told[1..]) {
        pair.rtp.connect(("127.0.0.1", port as u16))?;
        receivers.push(pair.rtp.try_clone()?);
    }
    let warmup = (warmup_s * 50) as usize;
    let measured = warmup..warmup + (seconds * 50) as usize;
    let frames = measured.end + TAIL;
    let sent: Vec<AtomicU64> = (0..calls * frames).map(|_| AtomicU64::new(0)).collect();
    let done = AtomicBool::new(false);

    let senders: Vec<&UdpSocket> = pairs.iter().map(|pair| &pair.rtp).collect();
    let (sending, mut heard) = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(receivers, &sent, frames, &measured, &done));
        let sending = send(&senders, &sent, frames, &measured, pid);
        clock::sleep_until(clock::now() + DRAIN_NS);
        done.store(true, Ordering::SeqCst);
        (sending, receiver.join().expect("the receiver does not panic"))
    });
    let Sending { mut late, cpu, refused } = sending;
    let Some((server_cpu, own_cpu)) = cpu else {
        return Err(io::Error::other(format!("process {pid} ended before the load did")));
    };
    let seconds_of = |ns: u64| ns as f64 / 1e9;
    let heard = match &mut heard {
        Ok(heard) => heard,
        Err(error) => return Err(io::Error::new(error.kind(), error.to_string())),
    };
    println!(
        "{{\"calls\":{calls},\"seconds\":{seconds},\"sent\":{},\"echoed\":{},\"doubled\":{},\"foreign\":{},\
         \"refused\":{refused},\"server_cpu_s\":{},\"own_cpu_s\":{},\"latency_us\":{},\"send_late_us\":{}}}",
        calls * measured.len(),
        heard.echoed,
        heard.doubled,
        heard.foreign,
        seconds_of(server_cpu),
        seconds_of(own_cpu),
        clock::summary(&mut heard.latency_us),
        clock::summary(&mut late),
    );
    Ok(())
}

struct Sending {
    /// How late each packet left, in µs: whether this generator keeps up.
    late: Vec<u32>,
    /// CPU time of the server and of this process, in ns, from the first measured packet to the last; `None`: the
    /// server is gone.
    cpu: Option<(u64, u64)>,
    refused: u64,
}

fn send(
    sockets: &[&UdpSocket],
    sent: &[AtomicU64],
    frames: usize,
    measured: &Range<usize>,
    pid: i32,
) -> Sending {
    clock::promptly();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut order: Vec<(u64, usize)> =
        (0..sockets.len()).map(|call| (random.next() % FRAME_NS, call)).collect();
    order.sort_unstable();
    let mut packets: Vec<[u8; PACKET]> = sockets.iter().map(|_| packet(&mut random)).collect();
    let begin = clock::now() + FRAME_NS;
    let mut late = Vec::with_capacity(sockets.len() * measured.len());
    let (mut before, mut after, mut refused) = (None, None, 0);
    for frame in 0..frames {
        if frame == measured.start {
            before = clock::cpu_of(pid).zip(Some(clock::own_cpu()));
        } else if frame == measured.end {
            after = clock::cpu_of(pid).zip(Some(clock::own_cpu()));
        }
        for &(phase, call) in &order {
            let deadline = begin + frame as u64 * FRAME_NS + phase;
            let bytes = &mut packets[call];
            number_packet(bytes, frame as u32);
            if clock::now() < deadline {
                clock::sleep_until(deadline);
            }
            let now = clock::now();
            sent[call * frames + frame].store(now, Ordering::Release);
            if measured.contains(&frame) {
                late.push(((now - deadline) / 1000) as u32);
            }
            if sockets[call].send(bytes).is_err() {
                refused += 1;
            }
        }
    }
    let cpu = before.zip(after).map(|(before, after)| (after.0 - before.0, after.1 - before.1));
    Sending { late, cpu, refused }
}

#[derive(Default)]
struct Heard {
    latency_us: Vec<u32>,
    echoed: u64,
    doubled: u64,
    /// Packets that are no echo: silence before the first audio, concealment, comfort noise.
    foreign: u64,
}

fn receive(
    sockets: Vec<UdpSocket>,
    sent: &[AtomicU64],
    frames: usize,
    measured: &Range<usize>,
    done: &AtomicBool,
) -> io::Result<Heard> {
    clock::promptly();
    let mut seen = vec![false; sent.len()];
    let mut heard = Heard::default();
    let mut collector = Collector::new(sockets)?;
    while !done.load(Ordering::SeqCst) {
        collector.look(|call, arrival, bytes| {
            let Some(frame) = number_of(bytes).map(|n| n as usize).filter(|&n| n < frames) else {
                heard.foreign += 1;
                return;
            };
            let place = call * frames + frame;
            let left = sent[place].load(Ordering::Acquire);
            if left == 0 {
                heard.foreign += 1;
            } else if std::mem::replace(&mut seen[place], true) {
                heard.doubled += 1;
            } else if measured.contains(&frame) {
                heard.echoed += 1;
                heard.latency_us.push((arrival.saturating_sub(left) / 1000) as u32);
            }
        })?;
    }
    Ok(heard)
}

/// A packet of noise, as loud as speech: no server can take it for silence. 0x7F and 0xFF, the two zeros of µ-law, are
/// the one pair of codes that does not survive decoding and encoding.
fn packet(random: &mut Random) -> [u8; PACKET] {
    let mut bytes = [0; PACKET];
    bytes[0] = 0x80;
    bytes[8..12].copy_from_slice(&(random.next() as u32).to_be_bytes());
    for code in &mut bytes[12..] {
        *code = 0x90 + (random.next() % 0x60) as u8;
    }
    bytes
}

/// Sequence number, timestamp, and the number itself in the first eight samples, four bits each.
fn number_packet(bytes: &mut [u8; PACKET], number: u32) {
    bytes[1] = if number == 0 { 0x80 } else { 0 };
    bytes[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    bytes[4..8].copy_from_slice(&(number.wrapping_mul(160)).to_be_bytes());
    for (place, code) in bytes[12..20].iter_mut().enumerate() {
        *code = 0x80 | (number >> (28 - 4 * place)) as u8 & 0x0f;
    }
}

fn number_of(bytes: &[u8]) -> Option<u32> {
    let codes = bytes.get(12..20).filter(|_| bytes.len() == PACKET)?;
    let marked = codes.iter().all(|code| code & 0xf0 == 0x80);
    marked.then(|| codes.iter().fold(0, |number, code| number << 4 | u32::from(code & 0x0f)))
}

/// xorshift64: the same phases and noise in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
