//! How late a thread wakes from a 5 ms timer while other processes spin on every core, with and without each measure
//! that [`roomkit_net::wait`] can take.
//!
//! ```text
//! cargo run --release -p roomkit-net --example wake_lateness -- [rounds] [spinning processes] [work in µs]
//! ```
//!
//! The spinners are processes of their own, as a busy Python program is not, but its worker processes are: they share
//! nothing with the timer but the cores. The timer's thread works a little after each wake, as a media thread does.

use roomkit_media::time::{Duration, Time};
use roomkit_net::clock::{self, Grid};
use roomkit_net::prompt::{schedule_promptly, Measures};
use roomkit_net::wait::Waiter;
use std::process::{Child, Command};

const STEP: Duration = Duration::from_millis(5);
const SPIN: &str = "--spin";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == SPIN) {
        return spin(Duration::from_secs(number(&arguments, 1, 60)));
    }
    let rounds = number(&arguments, 0, 5);
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let spinners = number(&arguments, 1, cores);
    let work = Duration::from_micros(number(&arguments, 2, 100));

    let none =
        Measures { exact_timers: false, short_slice: false, high_priority: false, realtime: false };
    let exact = Measures { exact_timers: true, ..none };
    let slice = Measures { short_slice: true, ..exact };
    let rows = [
        ("bare timer", none, false),
        ("exact timers", exact, false),
        ("exact timers, parked", exact, true),
        ("and a short slice", slice, false),
        ("and a short slice, parked", slice, true),
        ("and high priority", Measures { high_priority: true, ..exact }, false),
        (
            "slice and priority (unprivileged: slice)",
            Measures { realtime: false, ..Measures::default() },
            false,
        ),
        ("real-time (the default, where allowed)", Measures::default(), false),
    ];
    println!("{spinners} spinning processes, {work:?} of work every {STEP:?}; lateness in µs");
    let _spinning = Spinners::start(spinners, rows.len() as u64 * (rounds + 1));
    // Row after row, a second each, round after round: what else the machine does falls on all of them.
    let mut late: Vec<Vec<Duration>> = vec![Vec::new(); rows.len()];
    for _ in 0..rounds {
        for ((_, measures, parked), late) in rows.into_iter().zip(&mut late) {
            // A thread of its own: what it asks of the scheduler ends with it.
            let row = std::thread::spawn(move || lateness(measures, parked, work));
            late.extend(row.join().expect("the timer thread does not panic"));
        }
    }
    for ((name, ..), mut late) in rows.into_iter().zip(late) {
        late.sort_unstable();
        let at = |share: f64| {
            let index = (late.len() as f64 * share) as usize;
            late[index.min(late.len() - 1)].as_micros()
        };
        let (p50, p99, p999, max) = (at(0.5), at(0.99), at(0.999), at(1.0));
        println!("{name:34} p50 {p50:6}  p99 {p99:6}  p99.9 {p999:6}  max {max:6}");
    }
}

/// How late each wake of a second was.
fn lateness(measures: Measures, parked: bool, work: Duration) -> Vec<Duration> {
    schedule_promptly(measures);
    let waiter = Waiter::new(parked);
    let grid = Grid::new(STEP);
    let wakes = 1000 / STEP.as_millis() as u64;
    let start = grid.index(clock::now()) + 2;
    (start..start + wakes)
        .map(|index| {
            let deadline = grid.point(index);
            waiter.wait(Some(deadline));
            let woken = clock::now();
            busy_until(woken + work);
            woken - deadline
        })
        .collect()
}

fn busy_until(end: Time) {
    while clock::now() < end {
        std::hint::spin_loop();
    }
}

fn spin(span: Duration) {
    busy_until(clock::now() + span);
}

/// Processes that end with the measurement, and by themselves if it is killed.
struct Spinners(Vec<Child>);

impl Spinners {
    fn start(count: u64, seconds: u64) -> Spinners {
        let program = std::env::current_exe().expect("the example knows where it is");
        let start = || Command::new(&program).args([SPIN, &seconds.to_string()]).spawn();
        Spinners((0..count).map(|_| start().expect("a spinner starts")).collect())
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn number(arguments: &[String], index: usize, default: u64) -> u64 {
    arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default)
}
