//! Any datagram, read as RTP: what is read lies within the datagram, and its header can be written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomkit_media::rtp::{is_rtcp, RtpHeader, RtpPacket, HEADER_LEN};

fuzz_target!(|datagram: &[u8]| {
    let rtcp = is_rtcp(datagram);
    let Ok(packet) = RtpPacket::parse(datagram) else { return };

    let extension = packet.extension.map_or(0, |extension| 4 + extension.data.len());
    let before = HEADER_LEN + packet.csrcs.iter().count() * 4 + extension;
    let after = datagram.len() - before - packet.payload.len();
    assert_eq!(&datagram[before..datagram.len() - after], packet.payload);
    // Padding that is announced where there is nothing that could count it is none.
    if datagram[0] & 0x20 != 0 && datagram.len() > before {
        assert_eq!(after, usize::from(*datagram.last().unwrap()));
    } else {
        assert_eq!(after, 0);
    }
    assert_eq!(rtcp, packet.marker && (64..=95).contains(&packet.payload_type));

    let RtpPacket { marker, payload_type, seq, timestamp, ssrc, .. } = packet;
    let mut header = Vec::new();
    RtpHeader { marker, payload_type, seq, timestamp, ssrc }.write(&mut header);
    assert_eq!(header[0], 0x80);
    assert_eq!(header[1..], datagram[1..HEADER_LEN]);
});
