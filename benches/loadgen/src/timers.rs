//! The floor of pacing: a bare timer loop per flow, which sends one packet every 20 ms and does nothing else.
//!
//! It binds nothing that others need to know, so its line of ports is empty; then it reads `SECONDS PORT…`. Each flow is
//! a thread that sleeps to absolute deadlines at a phase of its own, with timers as exact as the kernel's.

use crate::clock;
use std::io;
use std::net::UdpSocket;

const FRAME_NS: u64 = 20_000_000;

pub fn run() -> io::Result<()> {
    crate::print_ports(std::iter::empty())?;
    let told = crate::read_numbers()?;
    let frames = told[0] * 50;
    let flows = told.len() as u64 - 1;
    let begin = clock::now() + 2 * FRAME_NS;
    let threads: Vec<_> = (0..flows)
        .zip(&told[1..])
        .map(|(flow, &port)| {
            let first = begin + flow * FRAME_NS / flows;
            std::thread::spawn(move || send(port as u16, first, frames))
        })
        .collect();
    for thread in threads {
        thread.join().expect("a timer loop does not panic")?;
    }
    println!("{{\"own_cpu_s\":{}}}", clock::own_cpu() as f64 / 1e9);
    Ok(())
}

fn send(port: u16, first: u64, frames: u64) -> io::Result<()> {
    clock::exact_timers();
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(("127.0.0.1", port))?;
    let mut packet = [0xffu8; 172];
    packet[0] = 0x80;
    packet[1] = 0;
    for frame in 0..frames {
        packet[2..4].copy_from_slice(&(frame as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&((frame * 160) as u32).to_be_bytes());
        clock::sleep_until(first + frame * FRAME_NS);
        // A refused packet shows as lost at the receiver.
        let _ = socket.send(&packet);
    }
    Ok(())
}
