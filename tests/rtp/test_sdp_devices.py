"""Offers of devices that say too much, or say it wrong: a call is made all the same."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from roomkit.rtp import Codec, RTPOptions, RTPSession
from roomkit.rtp.sdp import Agreement, Negotiation, SDPError, SessionDescription
from rtp.sdp_corpus import DEVICES, Device, text
from rtp.test_signalling import call, heard

OURS = ("203.0.113.1", 4000)
HEAD = ("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0")


def offer(*lines: str, m: str = "audio 5004 RTP/AVP 0 8") -> str:
    return text(*HEAD, f"m={m}", *lines)


def agreed(sdp: str, **options: Any) -> Agreement:
    return Negotiation(**options).receive_offer(sdp)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_each_device_gets_its_answer_with_every_line_in_its_place(device: Device) -> None:
    negotiation = Negotiation(**device.options)
    agreement = negotiation.receive_offer(device.offer)
    assert agreement.codec.rtpmap == device.codec
    assert agreement.remote_addr is not None
    RTPOptions(**agreement.options())
    answer = SessionDescription.parse(str(negotiation.answer(OURS)))
    media = tuple(f"{each.kind} {each.port} {' '.join(each.formats)}" for each in answer.media)
    assert media == device.media
    secured = [each.protocol for each in answer.media if each.port]
    assert (agreement.srtp is not None) == (secured == ["RTP/SAVP"])


async def test_they_make_running_sessions() -> None:
    for device in DEVICES:
        sdp = device.offer.replace("192.0.2.1", "127.0.0.1")
        options: Any = {"local_addr": ("127.0.0.1", 0), **device.options}
        async with RTPSession.from_offer(sdp, **options) as session:
            assert session.codec.rtpmap == device.codec, device
            assert session.answer.count("m=") == len(device.media), device


@pytest.mark.parametrize("written", ["opus/48000", "OPUS/48000/1", "Opus/48000/2", "opus"])
@pytest.mark.parametrize("ours", [None, ["opus"], ["PCMU", Codec("opus", 111, bitrate=24_000)]])
def test_opus_is_opus_in_offers_and_answers_however_it_is_written(written: str, ours: Any) -> None:
    options = {} if ours is None else {"codecs": ours}
    sdp = offer(f"a=rtpmap:96 {written}", m="audio 5004 RTP/AVP 96")
    assert agreed(sdp, **options).codec.rtpmap == "opus/48000/2"
    negotiation = Negotiation(**options)
    negotiation.offer(OURS)
    codec = negotiation.receive_answer(sdp).codec
    assert (codec.rtpmap, codec.wire_type) == ("opus/48000/2", 96)


@pytest.mark.parametrize("written", ["opus/16000", "opus/48000/3", "G722/48000", "PCMU/16000"])
def test_what_may_mean_several_things_is_not_taken(written: str) -> None:
    sdp = offer(f"a=rtpmap:96 {written}", m="audio 5004 RTP/AVP 96")
    with pytest.raises(SDPError, match=f"no codec in common: it has {written}"):
        agreed(sdp)


def test_rfc_3551_section_4_5_2_g722_counts_8000_whatever_was_written() -> None:
    agreement = agreed(offer("a=rtpmap:9 G722/16000", m="audio 5004 RTP/AVP 9"))
    assert (agreement.codec.clock_rate, agreement.codec.sample_rate) == (8000, 16000)
    negotiation = Negotiation(codecs=["G722"])
    negotiation.offer(OURS)
    answer = offer("a=rtpmap:9 G722/16000", m="audio 5004 RTP/AVP 9")
    assert negotiation.receive_answer(answer).codec.rtpmap == "G722/8000"


def test_the_call_goes_on_with_the_line_that_it_has() -> None:
    negotiation = Negotiation(sdp_security="off")
    pair = ("m=audio 6000 RTP/AVP 8", "m=audio 5004 RTP/AVP 0")
    negotiation.receive_offer(text(*HEAD, "m=audio 0 RTP/AVP 8", pair[1]))
    negotiation.answer(OURS)
    again = negotiation.receive_offer(text(*HEAD, *pair))
    assert again.codec.name == "PCMU", "the first is spoken of anew, the second is the call's"
    negotiation.answer(OURS)
    moved = negotiation.receive_offer(text(*HEAD, pair[0], "m=audio 0 RTP/AVP 0"))
    assert moved.codec.name == "PCMA"
    assert [each.port for each in negotiation.answer(OURS).media] == [4000, 0]


def test_where_no_line_fits_the_first_is_named_with_the_others() -> None:
    sdp = text(*HEAD, "m=audio 5004 RTP/AVP 18", "m=audio 5006 RTP/SAVP 0", "m=audio 1 TCP x")
    with pytest.raises(SDPError, match="no codec in common.*; nor does the audio of line 7, 8 fit"):
        agreed(sdp)


def test_a_line_that_cannot_be_read_is_named_where_it_is_missed() -> None:
    with pytest.raises(SDPError, match="nothing known;.*; line 7 cannot be read: clock rate 'x'"):
        agreed(offer("a=rtpmap:96 opus/x", m="audio 5004 RTP/AVP 96"))
    for c in ("c=IN IP4 192.0.2.256", "c=IN IP4"):
        with pytest.raises(SDPError, match=f"line 3: '{c}': ") as caught:
            agreed(text("v=0", "o=- 1 1 IN IP4 192.0.2.1", c, "m=audio 5004 RTP/AVP 0"))
        assert caught.value.line_number == 3


# --- an offer without audio ----------------------------------------------------------------------

FAX = ("m=image 5006 udptl t38", "a=T38FaxVersion:0", "a=T38MaxBitRate:14400")


@pytest.mark.parametrize(
    "lines",
    [
        (),
        FAX,
        ("m=video 5008 RTP/AVP 96", "a=rtpmap:96 VP8/90000"),
        (*FAX, "m=video 5008 RTP/AVP 96"),
        ("m=application 5008 UDP/BFCP *",),
        (*FAX, "m=audio 0 RTP/AVP 0"),
    ],
    ids=["nothing", "T.38", "video", "T.38 and video", "slides", "T.38 in the place of audio"],
)
def test_rfc_3261_section_21_4_26_without_audio_a_call_is_left_as_it_is(
    lines: tuple[str, ...],
) -> None:
    negotiation = Negotiation()
    negotiation.receive_offer(offer())
    answer = negotiation.answer(OURS)
    holds = negotiation.agreement
    with pytest.raises(SDPError) as caught:
        negotiation.receive_offer(text(*HEAD, *lines))
    if not any("audio" in line for line in lines):
        assert "there is no line 'm=audio'" in str(caught.value)
        assert "488" in str(caught.value)
    assert not negotiation.has_offer
    assert negotiation.agreement == holds
    negotiation.receive_offer(offer())
    assert negotiation.answer(OURS) == answer


async def test_a_running_call_goes_on_through_a_fax_that_is_refused() -> None:
    async with call({"codecs": ["PCMA"]}) as (alice, bob):
        options, answer = bob.options, bob.answer
        with pytest.raises(SDPError, match="no line 'm=audio'.*488"):
            await bob.update(sdp=text(*HEAD, *FAX))
        assert (bob.options, bob.answer) == (options, answer)
        for speaker, listener in ((alice, bob), (bob, alice)):
            assert len(await heard(speaker, listener)) >= 18


def test_audio_that_is_given_up_beside_a_fax_ends_and_may_come_back() -> None:
    """RFC 3264 §8.2: the line of the call has port 0."""
    negotiation = Negotiation()
    negotiation.receive_offer(offer())
    negotiation.answer(OURS)
    over = negotiation.receive_offer(text(*HEAD, "m=audio 0 RTP/AVP 0", *FAX))
    assert over.ended
    assert [each.port for each in negotiation.answer(OURS).media] == [0, 0]
    back = negotiation.receive_offer(text(*HEAD, "m=audio 5004 RTP/AVP 0", "m=image 0 udptl t38"))
    assert not back.ended
    assert [each.port for each in negotiation.answer(OURS).media] == [4000, 0]


def test_hints_that_cannot_be_read_are_told_once_and_only_at_debug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        agreed(offer("a=rtcp:x", "a=ptime:x"))
    assert [record.levelname for record in caplog.records] == ["DEBUG", "DEBUG"]
