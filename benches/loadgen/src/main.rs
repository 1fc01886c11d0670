//! The network side of the benches: traffic as precise as the machine allows, and what a plain program costs.
//!
//! ```text
//! loadgen echo CALLS WARMUP_S SECONDS       calls that expect their audio back; counts, times, reads the server's CPU
//! loadgen receive FLOWS FILE                records when the kernel received each packet
//! loadgen flood CALLS SECONDS RATE          calls whose ports strangers flood, at RATE datagrams a second
//! loadgen worst KIND CALLS SECONDS BITS SINK calls beside one that is flooded with the worst datagrams, at BITS a second
//! loadgen floor-echo CALLS                  the plain echo server that others are compared with
//! loadgen floor-timers                      bare timer loops that send: how exact pacing can be on this machine
//! ```
//!
//! Each mode prints one line with its ports, then reads one line of what it has to know from its standard input (the
//! mode's file says what), and ends when it is done or when its standard input ends. The last line printed is the
//! result, as JSON. Linux only: it needs the kernel's receive timestamps.

mod clock;
mod echo;
mod flood;
mod floor;
mod receive;
mod timers;
mod udp;
mod worst;

use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["echo", calls, warmup, seconds] => {
            echo::run(number(calls) as usize, number(warmup), number(seconds))
        }
        ["receive", flows, file] => receive::run(number(flows) as usize, file),
        ["flood", calls, seconds, rate] => {
            flood::run(number(calls) as usize, number(seconds), number(rate))
        }
        ["worst", kind, calls, seconds, bits, sink] => {
            let calls = number(calls) as usize;
            worst::run(kind, calls, number(seconds), number(bits), number(sink) == 1)
        }
        ["floor-echo", calls] => floor::run(number(calls) as usize),
        ["floor-timers"] => timers::run(),
        _ => {
            eprintln!("loadgen: unknown arguments {words:?}; the modes are at the top of main.rs");
            std::process::exit(2)
        }
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word:?}: a number is expected"))
}

/// Tells the bench which ports are bound here.
fn print_ports(ports: impl Iterator<Item = u16>) -> io::Result<()> {
    let line: Vec<String> = ports.map(|port| port.to_string()).collect();
    println!("{}", line.join(" "));
    io::stdout().flush()
}

/// Reads the one line of numbers that the bench has to say.
fn read_numbers() -> io::Result<Vec<u64>> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.split_whitespace().map(number).collect())
}

/// Returns when the bench closes our standard input, or has ended itself.
fn wait_for_end_of_input() {
    for line in io::stdin().lock().lines() {
        if line.is_err() {
            return;
        }
    }
}
