//! Statistics as a dict: every count by its name in the core, every span in ms.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use roomkit_media::stats::Stats;
use roomkit_media::time::Duration;
use roomkit_net::{SendCount, Snapshot, SocketStats};

pub fn stats_dict<'py>(py: Python<'py>, snapshot: &Snapshot) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    macro_rules! set {
        ($($name:ident),* $(,)?) => { $(dict.set_item(stringify!($name), $name)?;)* };
    }
    macro_rules! set_ms {
        ($($name:ident),* $(,)?) => { $(dict.set_item(concat!(stringify!($name), "_ms"), $name.ms())?;)* };
    }
    // Taken apart by name, so that a count that is added there and forgotten here does not compile.
    let Stats {
        packets_sent,
        octets_sent,
        keepalives_sent,
        keepalives_received,
        packets_received,
        octets_received,
        packets_expected,
        packets_lost,
        jitter,
        round_trip,
        remote_lost,
        remote_fraction_lost,
        remote_jitter,
        remote_packets_sent,
        remote_octets_sent,
        remote_discard_fraction,
        remote_burst_density,
        remote_burst_duration,
        remote_end_delay,
        remote_buffer,
        remote_buffer_most,
        remote_signal_dbm0,
        remote_noise_dbm0,
        remote_r_factor,
        remote_mos,
        r_factor,
        mos,
        mos_listening,
        burst_density,
        gap_density,
        burst_duration,
        gap_duration,
        burst_ratio,
        signal_dbm0,
        noise_dbm0,
        rtcp_sent,
        rtcp_received,
        frames_received,
        frames_concealed,
        frames_silence,
        frames_comfort_noise,
        frames_given_back,
        frames_put_in,
        packets_recovered,
        buffered,
        buffer_target,
        buffer_delay,
        discarded,
        late,
        duplicate,
        overflow,
        undecodable,
        comfort_noise_invalid,
        malformed,
        oversized,
        unwanted,
        unknown_payload_type,
        stranger,
        stranger_host,
        stranger_address,
        stranger_ssrc,
        stranger_meanwhile,
        stranger_too_late,
        stranger_unproven,
        rate_limited,
        doubtful,
        looped,
        reflected,
        rtcp_malformed,
        rtcp_stranger,
        rtcp_rate_limited,
        srtp_bad_tag,
        srtp_replayed,
        srtp_malformed,
        srtp_unkeyed,
        srtp_unencrypted,
        srtp_overflow,
        srtp_rate_limited,
        srtp_unsent,
        dtmf_invalid,
        digits_received,
        digits_merged,
        digits_sent,
        source_changes,
        unheard,
        frames_skipped,
        worst_lateness,
    } = snapshot.media;
    set!(packets_sent, octets_sent, packets_received, octets_received);
    set!(keepalives_sent, keepalives_received, unwanted);
    set!(packets_expected, packets_lost, remote_lost, remote_fraction_lost);
    set!(remote_packets_sent, remote_octets_sent, remote_discard_fraction, remote_burst_density);
    set!(remote_signal_dbm0, remote_noise_dbm0, remote_r_factor, remote_mos);
    set!(r_factor, mos, mos_listening, burst_density, gap_density, burst_ratio);
    set!(signal_dbm0, noise_dbm0);
    set_ms!(remote_burst_duration, remote_end_delay, burst_duration, gap_duration);
    set_ms!(remote_buffer, remote_buffer_most);
    set!(rtcp_sent, rtcp_received, frames_received, frames_concealed, frames_silence);
    set!(frames_comfort_noise, comfort_noise_invalid, packets_recovered);
    set!(frames_given_back, frames_put_in, late, duplicate, overflow, undecodable, malformed);
    set!(oversized);
    set!(stranger_host, stranger_address, stranger_ssrc, stranger_meanwhile, stranger_unproven);
    set!(stranger_too_late, rate_limited);
    set!(
        unknown_payload_type,
        stranger,
        doubtful,
        looped,
        reflected,
        rtcp_malformed,
        rtcp_stranger
    );
    set!(rtcp_rate_limited);
    set!(dtmf_invalid, digits_received, digits_merged, digits_sent, source_changes, frames_skipped);
    set!(srtp_bad_tag, srtp_replayed, srtp_malformed, srtp_unkeyed, srtp_unencrypted);
    set!(srtp_overflow, srtp_rate_limited, srtp_unsent, unheard, discarded);
    set_ms!(jitter, round_trip, remote_jitter, buffered, buffer_target, buffer_delay);
    set_ms!(worst_lateness);
    let SocketStats { sent, unmatched, kernel_drops, receive_errors, dscp_refused } =
        snapshot.socket;
    set!(dscp_refused);
    let SendCount {
        sent: datagrams_sent,
        dropped: send_dropped,
        errors: send_errors,
        unreachable: send_unreachable,
        denied: send_denied,
        refused: send_refused,
        too_long: send_too_long,
    } = sent;
    set!(send_unreachable, send_denied, send_refused, send_too_long);
    set!(unmatched, kernel_drops, receive_errors, datagrams_sent, send_dropped, send_errors);
    let inbound_dropped = snapshot.items_dropped;
    set!(inbound_dropped);
    Ok(dict)
}

/// A span in ms, or None where there is none yet.
trait Milliseconds {
    type Value;
    fn ms(self) -> Self::Value;
}

impl Milliseconds for Duration {
    type Value = f64;
    fn ms(self) -> f64 {
        self.as_nanos() as f64 / 1e6
    }
}

impl Milliseconds for Option<Duration> {
    type Value = Option<f64>;
    fn ms(self) -> Option<f64> {
        self.map(Duration::ms)
    }
}
