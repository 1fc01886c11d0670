"""What the program does wrong with descriptions is said at once, and has changed nothing."""

from __future__ import annotations

from copy import copy
from typing import Any

import pytest

from roomkit.rtp import Codec
from roomkit.rtp.sdp import Negotiation
from rtp.sdp_corpus import ASTERISK

OURS = ("203.0.113.1", 4000)


def meanings(negotiation: Negotiation) -> list[str]:
    """Of the numbers of an offer."""
    encodings = negotiation.offer(OURS).media[0].encodings
    return [f"{encoding.payload_type} {encoding.rtpmap}" for encoding in encodings]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (None, "local: None; a \\(host, port\\) pair"),
        ("203.0.113.1", "local: '203.0.113.1'; a \\(host, port\\) pair"),
        (("203.0.113.1", 0), "local: port 0; an integer from 1 to 65535 fits"),
        (("here.example", 4000), "local: host 'here.example'; a numeric address fits"),
        (("0.0.0.0", 4000), "local: host '0.0.0.0' is no destination; the address of one host"),
        ((b"203.0.113.1", 4000), "local: host b'203.0.113.1'; a host name or an IP address fits"),
    ],
)
def test_an_address_that_none_can_be_reached_at_is_refused(address: Any, said: str) -> None:
    negotiation = Negotiation()
    with pytest.raises(ValueError, match=f"^{said}"):
        negotiation.offer(address)
    agreement = negotiation.receive_offer(ASTERISK)
    with pytest.raises(ValueError, match=f"^{said}"):
        negotiation.answer(address)
    if address is not None:
        with pytest.raises(ValueError, match=f"^{said.replace('local', 'rtcp')}"):
            negotiation.answer(OURS, address)
    assert negotiation.agreement is None
    negotiation.answer(OURS)
    assert negotiation.agreement == agreement


def test_an_offer_that_finds_no_numbers_has_taken_none() -> None:
    tried, untried = Negotiation(codecs=["PCMU"]), Negotiation(codecs=["PCMU"])
    every = [Codec("L16", number, 16000) for number in (*range(96, 128), *range(35, 64))]
    with pytest.raises(ValueError, match="^codecs: no payload type is left for digits at 16000 Hz"):
        tried.offer(OURS, codecs=every)
    assert meanings(tried) == meanings(untried)


def test_a_copy_goes_on_by_itself() -> None:
    negotiation = Negotiation()
    negotiation.receive_offer(ASTERISK)
    negotiation.answer(OURS)
    before = negotiation.agreement
    twin = copy(negotiation)
    offered = str(twin.offer(OURS, codecs=[Codec("L16", 100, 24000)], direction="sendonly"))
    assert negotiation.agreement == before
    assert str(negotiation.offer(OURS)) != offered
    assert negotiation.offer(OURS, codecs=[Codec("L16", 100, 32000)]).media[0].formats[0] == "100"
