"""One clear ValueError per wrong option: the parameter, the value, what fits."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import math
from itertools import pairwise
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkit.rtp import SRTP, RTPExtra, RTPOptions, RTPSession, RTPWishes
from roomkit.rtp.codecs import PCMA, PCMU, Codec
from roomkit.rtp.rules import rule_of
from roomkit.voice.backends.rtp import RTPVoiceBackend

WRONG: list[tuple[str, Any]] = [
    ("local_addr", ("0.0.0.0", 70000)),
    ("local_addr", "0.0.0.0:0"),
    ("remote_addr", ("192.0.2.1", 0)),
    ("remote_addr", ("", 5004)),
    ("payload_type", 3),
    ("payload_type", True),
    ("clock_rate", 0),
    ("clock_rate", 16000),
    ("dtmf_payload_type", 0),
    ("dtmf_payload_type", 8),
    ("dtmf_payload_type", 72),
    ("dtmf_payload_type", 128),
    ("dtmf_payload_type", "101"),
    ("rtcp_interval", 0),
    ("rtcp_interval", -5.0),
    ("rtcp_interval", math.inf),
    ("rtcp_interval", math.nan),
    ("rtcp_interval", True),
    ("rtcp_interval", None),
    ("codecs", []),
    ("ptime_ms", 0),
    ("ptime_ms", 15),
    ("ptime_ms", 20.5),
    ("ptime_ms", True),
    ("sample_rate", 7999),
    ("sample_rate", 0),
    ("channels", 3),
    ("channels", True),
    ("jitter_ms", -1),
    ("jitter_ms", 501),
    ("lead_ms", 0),
    ("lead_ms", 60_001),
    ("inbound_ms", 99),
    ("source_policy", "anyone"),
    ("source_policy", None),
    ("symmetric", 1),
    ("learn_window", 0),
    ("learn_window", math.inf),
    ("probation", 1),
    ("probation", 51),
    ("source_rate", 49),
    ("source_rate", True),
    ("session_rate", 100_001),
    ("remote_ssrc", -1),
    ("remote_ssrc", 2**32),
    ("rtcp", True),
    ("rtcp", "on"),
    ("rtp_timeout", 0),
    ("rtp_timeout", math.inf),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_named_with_what_fits(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}: ") as caught:
        RTPOptions(**{name: value})
    assert "fits" in str(caught.value) or "is" in str(caught.value)


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_session_refuses_the_same(name: str, value: Any) -> None:
    arguments = {"remote_addr": ("192.0.2.1", 5004), name: value}
    with pytest.raises(ValueError, match=f"^{name}: "):
        RTPSession(**arguments)


def test_the_defaults_are_those_of_the_page_and_receive_either_law() -> None:
    options = RTPOptions()
    assert options.active == (PCMU, PCMA)
    assert (options.local_addr, options.remote_addr) == (("0.0.0.0", 0), None)
    assert (options.payload_type, options.clock_rate) == (0, 8000)
    assert (options.dtmf_payload_type, options.rtcp_interval) == (101, 5.0)


@pytest.mark.parametrize("kind", [RTPSession, RTPVoiceBackend])
def test_every_option_is_taken_by_name_with_the_same_default(kind: type) -> None:
    parameters = inspect.signature(kind).parameters
    by_name = {name for name in parameters if name != "extra"} - {"shared", "log_transcripts"}
    options = {
        option.name: option.default for option in dataclasses.fields(RTPOptions) if option.init
    }
    assert by_name | set(RTPExtra.__annotations__) == set(options)
    for name in by_name:
        assert parameters[name].default == options[name], name
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    with pytest.raises(TypeError, match="^jitter: there is no such option; jitter_ms is$"):
        kind(jitter=60)


def test_an_option_has_one_type_wherever_it_is_written() -> None:
    """It is written twice, since no type can be made of another: here is what holds them together.
    Its default must pass its own rule, and its documentation stand beside it."""
    options = {option.name: option for option in dataclasses.fields(RTPOptions) if option.init}
    body = ast.parse(inspect.getsource(RTPOptions)).body[0]
    assert isinstance(body, ast.ClassDef)
    documented = {
        ast.unparse(field.target)
        for field, text in pairwise(body.body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
    assert set(options) <= documented
    for name, kind in RTPWishes.__annotations__.items():
        assert kind.__forward_arg__ == options[name].type, name
    for name, option in options.items():
        assert rule_of(option).check(option.default, name) == option.default


ANOTHER: dict[str, Any] = {
    "local_addr": ("127.0.0.2", 0),
    "remote_addr": ("192.0.2.7", 5006),
    "preset": "asterisk-external-media",
    "codecs": ["G722"],
    "dtmf_types": {8000: 97},
    "dtmf_send_types": {8000: 97},
    "comfort_noise_types": {8000: 97},
    "comfort_noise_send_types": {8000: 97},
    "port_range": (20000, 20100),
    "sample_rate": 16000,
    "ptime_ms": 30,
    "remote_rtcp_addr": ("192.0.2.7", 5009),
    "srtp": SRTP(send_key=bytes(range(30)), receive_key=bytes(range(30, 60))),
    "payload_type": 8,
    "clock_rate": 48000,
    "dtmf_payload_type": 97,
    "learn_window": 3.0,
    "rtcp_timeout": 9.0,
    "channels": 2,
    "remote_ssrc": 7,
    "symmetric": True,
}
"""Values that are not the default, where none can be made from it."""

ABOVE_THE_CORE = {"dtmf_method", "sdp_security", "advertised_host"}
"""What Python does with them, the core need not know."""


@pytest.mark.parametrize(
    "name", [option.name for option in dataclasses.fields(RTPOptions) if option.init]
)
def test_every_option_reaches_the_core(name: str) -> None:
    """An option that was checked, documented and then forgotten would change nothing."""

    def native(**options: Any) -> dict[str, Any]:
        made = RTPOptions(**options)
        # Addresses come with their names resolved.
        return made.native(made.local_addr, made.remote_addr, made.remote_rtcp_addr, shared=False)

    beside: dict[str, Any] = {"payload_type": 96} if name == "clock_rate" else {}
    default = getattr(RTPOptions(), name)
    if name in ANOTHER:
        value = ANOTHER[name]
    elif isinstance(default, bool):
        value = not default
    elif isinstance(default, (int, float)):
        value = default + 1
    elif isinstance(default, str):
        fitting = get_args(get_type_hints(RTPOptions)[name])
        value = next(each for each in fitting if each != default)
    else:
        value = "192.0.2.9"
    changed = native(**beside, **{name: value}) != native(**beside)
    assert changed == (name not in ABOVE_THE_CORE)


def test_a_session_without_a_peer_is_refused_unless_it_learns_one() -> None:
    with pytest.raises(ValueError, match=r"^remote_addr: None.*source_policy='learn'"):
        RTPSession()
    assert RTPSession(source_policy="learn").options.remote_addr is None


def test_separate_rtcp_needs_a_port_above() -> None:
    with pytest.raises(ValueError, match=r"^local_addr: port 65535"):
        RTPOptions(local_addr=("127.0.0.1", 65535))
    assert RTPOptions(local_addr=("127.0.0.1", 65535), rtcp="mux").local_addr[1] == 65535


def test_replacing_one_option_keeps_what_follows_from_the_others() -> None:
    options = RTPOptions(payload_type=10, sample_rate=16000)
    changed = dataclasses.replace(options, remote_addr=("192.0.2.1", 5004))
    assert changed.active == options.active
    assert changed.remote_addr == ("192.0.2.1", 5004)
    assert (changed.frame_rate, changed.frame_channels) == (16000, 2)


def test_the_core_gets_numbers_of_the_right_kind_only() -> None:
    options = RTPOptions(codecs=[Codec("L16", 96, 48000, 2), "PCMA"], rtcp_interval=5, channels=1)
    native = options.native(("127.0.0.1", 0), None, None, shared=False)
    assert [codec["payload_type"] for codec in native["codecs"]] == [96, 8]
    assert (native["sample_rate"], native["channels"]) == (48000, 1)
    assert isinstance(native["rtcp_interval"], float)
    json.dumps(native)  # plain values throughout


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)


@given(
    name=st.sampled_from([f.name for f in dataclasses.fields(RTPOptions) if f.init]),
    value=json_like,
)
def test_whatever_comes_fits_or_is_a_value_error_that_names_it(name: str, value: Any) -> None:
    def complaint() -> str | None:
        try:
            RTPOptions(**{name: value})
        except ValueError as error:
            return str(error)
        return None

    said = complaint()
    assert said is None or name.removesuffix("s") in said


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"sample_rate": 11025}, "sample_rate: 11025; .* ptime_ms=40 fits"),
        ({"sample_rate": 22050, "ptime_ms": 10}, "sample_rate: 22050; .* ptime_ms=20 or 40 or 60"),
        ({"codecs": [Codec("L16", 96, 11025)]}, "ptime_ms: 20; L16/11025 .* ptime_ms=40 fits"),
    ],
)
def test_a_frame_is_a_whole_number_of_samples(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        RTPOptions(**options)


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 50, 60])
@pytest.mark.parametrize("rate", [8000, 12000, 16000, 24000, 32000, 44100, 48000, 96000, 192000])
def test_l16_has_whole_frames_of_every_length_at_every_usual_rate(rate: int, ptime_ms: int) -> None:
    options = RTPOptions(codecs=[Codec("L16", 96, rate, 2)], ptime_ms=ptime_ms)
    assert options.packet_octets == 12 + rate * 4 * ptime_ms // 1000


async def test_a_name_that_no_option_has_is_told_with_the_one_that_is_near() -> None:
    offer = "v=0\no=- 1 1 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 40000 RTP/AVP 0\n"
    wrong: dict[str, Any] = {"jitter": 60}
    told = "^jitter: there is no such option; jitter_ms is$"
    with pytest.raises(TypeError, match=told):
        RTPSession(remote_addr=("127.0.0.1", 9), **wrong)
    with pytest.raises(TypeError, match=told):
        RTPVoiceBackend(**wrong)
    with pytest.raises(TypeError, match=told):
        RTPSession.from_offer(offer, **wrong)
    with pytest.raises(TypeError, match=told):
        RTPSession.for_offer(**wrong)
    async with RTPSession(local_addr=("127.0.0.1", 0), remote_addr=("127.0.0.1", 9)) as session:
        with pytest.raises(TypeError, match=told):
            await session.update(**wrong)
        with pytest.raises(TypeError, match=told):
            await session.update(sdp=offer, **wrong)
    with pytest.raises(TypeError, match="^zzzz: there is no such option$"):
        RTPSession(remote_addr=("127.0.0.1", 9), zzzz=1)  # type: ignore[call-arg]
