//! Records when the kernel received each RTP packet.
//!
//! After its ports it reads nothing and records until its standard input ends. The file then holds 16 bytes per packet,
//! little endian: flow (u16), RTP sequence number (u16), RTP timestamp (u32), CLOCK_MONOTONIC time of arrival in ns (u64).

use crate::clock;
use crate::udp::{bind_pairs, Collector};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

pub fn run(flows: usize, file: &str) -> io::Result<()> {
    let pairs = bind_pairs(flows)?;
    crate::print_ports(pairs.iter().map(|pair| pair.port))?;
    let done = Arc::new(AtomicBool::new(false));
    std::thread::spawn({
        let done = done.clone();
        move || {
            crate::wait_for_end_of_input();
            done.store(true, Ordering::SeqCst);
        }
    });
    clock::promptly();
    // Kept in memory until the end: writing to disk could hold the reading up.
    let mut records = Vec::with_capacity(flows * 50 * 120 * 16);
    let sockets: io::Result<Vec<_>> = pairs.iter().map(|pair| pair.rtp.try_clone()).collect();
    let mut collector = Collector::new(sockets?)?;
    let mut packets = 0u64;
    while !done.load(Ordering::SeqCst) {
        collector.look(|flow, arrival, bytes| {
            if bytes.len() < 12 {
                return;
            }
            records.extend_from_slice(&(flow as u16).to_le_bytes());
            records.extend([bytes[3], bytes[2]]);
            records.extend([bytes[7], bytes[6], bytes[5], bytes[4]]);
            records.extend_from_slice(&arrival.to_le_bytes());
            packets += 1;
        })?;
    }
    std::fs::write(file, records)?;
    println!("{{\"packets\":{packets},\"own_cpu_s\":{}}}", clock::own_cpu() as f64 / 1e9);
    Ok(())
}
