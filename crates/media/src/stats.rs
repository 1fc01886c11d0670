//! What a session counts. Everything the network can do wrong has a counter here, named by its reason.

use crate::time::Duration;

/// One session's statistics at one moment. Counts never go back; packets and octets are RTP payload as in RFC 3550 §6.4.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// RTP packets sent, digits included.
    pub packets_sent: u64,
    /// Payload octets sent.
    pub octets_sent: u64,
    /// Keep-alives sent, RTP or RTCP, of which those of RTP count as packets too (RFC 6263).
    pub keepalives_sent: u64,
    /// Keep-alives received: datagrams and RTP packets without any payload. The packets count as packets too.
    pub keepalives_received: u64,
    /// RTP packets of the trusted source.
    pub packets_received: u64,
    /// Payload octets of the trusted source.
    pub octets_received: u64,
    /// Packets expected of the present source by its sequence numbers (RFC 3550 §A.3).
    pub packets_expected: u64,
    /// Packets of the present source that are missing; negative when duplicates outnumber losses (RFC 3550 §A.3).
    pub packets_lost: i64,
    /// Interarrival jitter (RFC 3550 §A.8).
    pub jitter: Duration,
    /// Round trip, from the newest report of the far end that carries one (RFC 3550 §6.4.1).
    pub round_trip: Option<Duration>,
    /// What the far end lost of ours in all, as it reports it.
    pub remote_lost: Option<i32>,
    /// What the far end lost of ours since its report before, as a fraction.
    pub remote_fraction_lost: Option<f32>,
    /// The far end's interarrival jitter.
    pub remote_jitter: Option<Duration>,
    /// RTP packets that the far end says it has sent, modulo 2³².
    pub remote_packets_sent: Option<u32>,
    /// Payload octets of them.
    pub remote_octets_sent: Option<u32>,
    /// Packets of ours that came too late for it, as a fraction (RFC 3611 §4.7.1).
    pub remote_discard_fraction: Option<f32>,
    /// Lost within bursts, as a fraction (RFC 3611 §4.7.2).
    pub remote_burst_density: Option<f32>,
    /// The mean length of those bursts.
    pub remote_burst_duration: Option<Duration>,
    /// The delay within the far end, both ways (RFC 3611 §4.7.3).
    pub remote_end_delay: Option<Duration>,
    /// How long its jitter buffer holds what comes in time (RFC 3611 §4.7.7).
    pub remote_buffer: Option<Duration>,
    /// How long it would hold the earliest packet that it takes.
    pub remote_buffer_most: Option<Duration>,
    /// The level of our speech there, in dBm0.
    pub remote_signal_dbm0: Option<f32>,
    /// The level of our noise there, in dBm0.
    pub remote_noise_dbm0: Option<f32>,
    /// The rating R (G.107) of what the far end hears: its own, or by its reports of loss.
    pub remote_r_factor: Option<f32>,
    /// The score of that rating, 1 to 4.5.
    pub remote_mos: Option<f32>,

    /// The rating R (G.107) of what is heard here, 0 to 93.2.
    pub r_factor: Option<f32>,
    /// The score of that rating, 1 to 4.5: of a conversation, with the delay.
    pub mos: Option<f32>,
    /// The same for a listener, without the delay.
    pub mos_listening: Option<f32>,
    /// Missing within bursts of loss, as a fraction (RFC 3611 §4.7.2).
    pub burst_density: f32,
    /// Missing within the gaps between them.
    pub gap_density: f32,
    /// The mean length of bursts.
    pub burst_duration: Duration,
    /// The mean length of gaps.
    pub gap_duration: Duration,
    /// How much longer losses last than random ones would (G.107 §7.4).
    pub burst_ratio: f32,
    /// The level of the far end's speech, in dBm0.
    pub signal_dbm0: Option<f32>,
    /// The level of its pauses, in dBm0.
    pub noise_dbm0: Option<f32>,
    /// RTCP compounds sent.
    pub rtcp_sent: u64,
    /// RTCP compounds accepted.
    pub rtcp_received: u64,

    /// Frames delivered that are mostly received audio.
    pub frames_received: u64,
    /// Frames delivered that conceal a loss. What is concealed before a pause is known for one counts as silence.
    pub frames_concealed: u64,
    /// Frames delivered that are silence of the sender's.
    pub frames_silence: u64,
    /// Frames delivered that are noise, as the sender described its own (RFC 3389).
    pub frames_comfort_noise: u64,
    /// Times that at most a frame was left out to return to the target delay.
    pub frames_given_back: u64,
    /// Times that at most a frame was put in to return to the target delay.
    pub frames_put_in: u64,
    /// Packets lost whose audio was recovered from a copy in the packet after (RFC 7587 §3.3); counted as lost as well.
    pub packets_recovered: u64,
    /// Audio that waits in the jitter buffer.
    pub buffered: Duration,
    /// The delay the jitter buffer aims at.
    pub buffer_target: Duration,
    /// The delay it has now: how long after its arrival audio is played that came without delay.
    pub buffer_delay: Duration,
    /// Packets that came, and too late or too many at once to be heard (RFC 3611 §4.7.1).
    pub discarded: u64,

    /// Audio packets that came when something newer had been played.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Packets skipped since too much waited.
    pub overflow: u64,
    /// Payloads that no codec could decode.
    pub undecodable: u64,
    /// Payloads of comfort noise that describe none: far too long, or of a reserved index (RFC 3389 §3).
    pub comfort_noise_invalid: u64,
    /// Datagrams that are neither RTP nor RTCP, from an address that might be heard.
    pub malformed: u64,
    /// RTP that is longer than 200 ms of its call's codecs may be, and RTCP above 2048 octets.
    pub oversized: u64,
    /// Packets of audio and digits that came although we said that we do not receive (RFC 3264 §5.1).
    pub unwanted: u64,
    /// Packets of a payload type nobody agreed on.
    pub unknown_payload_type: u64,
    /// Packets of somebody who is not trusted: the sum of the reasons below.
    pub stranger: u64,
    /// Of them, those from another host than the signalled one, which the policy asks for.
    pub stranger_host: u64,
    /// Those from another address than the signalled one, which the policy asks for.
    pub stranger_address: u64,
    /// Those of another SSRC than the announced one.
    pub stranger_ssrc: u64,
    /// Those that came while the trusted source speaks.
    pub stranger_meanwhile: u64,
    /// Those that came from an address that might have been learned, when the time for it was over.
    pub stranger_too_late: u64,
    /// Those whose source did not go on to prove itself, or found too many others doing so.
    pub stranger_unproven: u64,
    /// Packets of the trusted source beyond the rate that is taken.
    pub rate_limited: u64,
    /// Jumps in sequence that no second packet confirmed (RFC 3550 §A.1).
    pub doubtful: u64,
    /// What came under our own SSRC and is no reflection: a collision or a loop (RFC 3550 §8.2).
    pub looped: u64,
    /// Our own packets and reports that the far end sent back within two seconds: an echo test, whose audio is heard.
    pub reflected: u64,
    /// RTCP that is malformed (RFC 3550 §A.2), or of very many packets.
    pub rtcp_malformed: u64,
    /// RTCP of somebody who is not trusted.
    pub rtcp_stranger: u64,
    /// RTCP of the trusted source beyond the rate that is taken, of which goodbyes alone are acted on.
    pub rtcp_rate_limited: u64,
    /// RTP and RTCP that is not authentic: forged, damaged, or not encrypted where it should be.
    pub srtp_bad_tag: u64,
    /// SRTP and SRTCP that came before, or so late that nobody can tell (RFC 3711 §3.3.2).
    pub srtp_replayed: u64,
    /// What is too short to be SRTP or SRTCP, or no RTP at all.
    pub srtp_malformed: u64,
    /// Packets whose MKI names no valid key.
    pub srtp_unkeyed: u64,
    /// SRTCP that says it is not encrypted.
    pub srtp_unencrypted: u64,
    /// Authentic packets of one source too many.
    pub srtp_overflow: u64,
    /// RTP and RTCP of unknown sources that was not authenticated, since so much from its address was forged of late.
    pub srtp_rate_limited: u64,
    /// Packets of ours that were not sent because the key has served its lifetime (RFC 3711 §9.2).
    pub srtp_unsent: u64,
    /// Event payloads that are too short, of no known digit or of no duration.
    pub dtmf_invalid: u64,
    /// Digits received.
    pub digits_received: u64,
    /// Reports of a press that another one had told: its tones beside its events, or what the program has of signalling.
    pub digits_merged: u64,
    /// Digits sent.
    pub digits_sent: u64,
    /// Times the source changed: a new SSRC, address or restart that proved itself.
    pub source_changes: u64,

    /// Times that packets came for 2 s and not one frame of them was heard.
    pub unheard: u64,

    /// Frame deadlines that passed unserved because the machine was away for too long.
    pub frames_skipped: u64,
    /// The latest that a frame was served after its deadline.
    pub worst_lateness: Duration,
}
