//! Calls that speak and listen while strangers flood their ports.
//!
//! After its ports it reads the servers' ports, one per call (the same again where calls share one). The calls then speak
//! 20 ms packets of G.711 for a second longer on either side of the flood, packet `n` being 160 times the octet `n % 200`.
//! The flood is sent every millisecond, from other hosts of loopback, from other ports of the calls' own host and, as if the
//! addresses were forged, from the calls' own: RTP of random sources, steady streams, digits, goodbyes, and noise.

use crate::clock;
use crate::udp::{bind_pairs, Collector};
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;

const MS: u64 = 1_000_000;
const PTIME: u64 = 20 * MS;
/// The calls speak so long before and after.
const CALM: u64 = 1000 * MS;
const BATCH: usize = 64;

pub fn run(calls: usize, seconds: u64, rate: u64) -> io::Result<()> {
    let pairs = bind_pairs(calls)?;
    crate::print_ports(pairs.iter().map(|pair| pair.port))?;
    let servers: Vec<u16> = crate::read_numbers()?.iter().map(|port| *port as u16).collect();
    assert_eq!(servers.len(), calls, "one port of a server per call");

    let begin = clock::now() + 50 * MS;
    let end = begin + 2 * CALM + seconds * 1000 * MS;
    let flooded = Arc::new(AtomicU64::new(0));
    let flood = thread::spawn({
        let (servers, flooded) = (servers.clone(), flooded.clone());
        let forged = clones(pairs.iter().map(|pair| &pair.rtp))?;
        move || flood(&servers, &forged, begin + CALM, seconds * 1000, rate, &flooded)
    });
    let sockets = clones(pairs.iter().map(|pair| &pair.rtp))?;
    let speaking = clones(sockets.iter())?;
    let speak = thread::spawn(move || speak(&speaking, &servers, begin, end));

    clock::promptly();
    let mut collector = Collector::new(sockets)?;
    let (mut heard, mut last) = (vec![0u64; calls], vec![0u64; calls]);
    let mut lateness: Vec<u32> = Vec::new();
    while clock::now() < end {
        collector.look(|call, arrival, _| {
            heard[call] += 1;
            if last[call] != 0 {
                let interval = arrival.saturating_sub(last[call]);
                lateness.push((interval.abs_diff(PTIME) / 1000) as u32);
            }
            last[call] = arrival;
        })?;
    }
    let spoken = speak.join().expect("the speaking thread")?;
    flood.join().expect("the flooding thread")?;
    let flooded = flooded.load(Ordering::SeqCst);
    println!(
        "{{\"spoken\":{spoken},\"flooded\":{flooded},\"heard\":{heard:?},\"interval_error_us\":{}}}",
        clock::summary(&mut lateness)
    );
    Ok(())
}

fn clones<'a>(sockets: impl Iterator<Item = &'a UdpSocket>) -> io::Result<Vec<UdpSocket>> {
    sockets.map(UdpSocket::try_clone).collect()
}

/// How many packets each call spoke.
fn speak(sockets: &[UdpSocket], servers: &[u16], begin: u64, end: u64) -> io::Result<u64> {
    clock::promptly();
    let mut packet = [0; 172];
    let mut n = 0;
    while begin + n * PTIME < end {
        clock::sleep_until(begin + n * PTIME);
        for (call, (socket, port)) in sockets.iter().zip(servers).enumerate() {
            header(&mut packet, 0, 0x1000 + call as u32, n as u16, n as u32 * 160);
            packet[12..].fill((n % 200) as u8);
            socket.send_to(&packet, ("127.0.0.1", *port))?;
        }
        n += 1;
    }
    Ok(n)
}

fn header(packet: &mut [u8], payload_type: u8, ssrc: u32, seq: u16, timestamp: u32) {
    packet[..2].copy_from_slice(&[0x80, payload_type]);
    packet[2..4].copy_from_slice(&seq.to_be_bytes());
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
}

fn flood(
    servers: &[u16],
    forged: &[UdpSocket],
    begin: u64,
    milliseconds: u64,
    rate: u64,
    sent: &AtomicU64,
) -> io::Result<()> {
    let hosts = ["127.0.0.66", "127.0.0.67", "127.0.0.68", "127.0.0.1", "127.0.0.1", "127.0.0.1"];
    let sockets: Vec<UdpSocket> =
        hosts.iter().map(|host| UdpSocket::bind((*host, 0))).collect::<io::Result<_>>()?;
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        // xorshift64: what matters is that it is fast and never the same.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let (mut owed, mut n) = (0, 0u64);
    for ms in 0..milliseconds {
        clock::sleep_until(begin + ms * MS);
        owed += rate;
        while owed >= 1000 {
            let batch = ((owed / 1000) as usize).min(BATCH);
            let call = next() as usize % servers.len();
            // One in seven from the address of the call's own peer.
            let socket = sockets.get(next() as usize % (hosts.len() + 1)).unwrap_or(&forged[call]);
            let port = servers[call];
            let packets: Vec<Vec<u8>> = (0..batch)
                .map(|_| {
                    n += 1;
                    blow(n, &mut next)
                })
                .collect();
            sent.fetch_add(send(socket, port, &packets), Ordering::SeqCst);
            owed -= batch as u64 * 1000;
        }
    }
    Ok(())
}

fn blow(n: u64, next: &mut impl FnMut() -> u64) -> Vec<u8> {
    let mut packet = vec![0x55; 172];
    let (ssrc, seq, timestamp) = (next() as u32, next() as u16, next() as u32);
    match n % 8 {
        0..=3 => header(&mut packet, 0, ssrc, seq, timestamp),
        // A steady stream, that would be a source.
        4 => header(&mut packet, 0, 0x6666, (n / 8) as u16, (n / 8) as u32 * 160),
        5 => {
            header(&mut packet, 101, ssrc, seq, timestamp);
            packet.truncate(16);
            packet[12..].copy_from_slice(&[5, 0x8a, 3, 0x20]);
        }
        6 => {
            packet.truncate(16);
            packet[..4].copy_from_slice(&[0x80, 201, 0, 1]);
            packet[8..12].copy_from_slice(&[0x81, 203, 0, 1]);
        }
        _ => packet.truncate(next() as usize % 172),
    }
    packet
}

/// Sends them all, and counts those that the kernel took.
fn send(socket: &UdpSocket, port: u16, packets: &[Vec<u8>]) -> u64 {
    let mut name = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let mut parts: Vec<libc::iovec> = packets
        .iter()
        .map(|packet| libc::iovec {
            iov_base: packet.as_ptr().cast_mut().cast(),
            iov_len: packet.len(),
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: a mmsghdr is plain data; its pointers are set next.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = (&raw mut name).cast();
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    // SAFETY: every message points to the name, to its part and through that to its packet, all of which outlive the call.
    let taken = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, 0)
    };
    taken.max(0) as u64
}
