"""A GStreamer call on one rtpbin session, in a process of its own.

Run by the system's Python, where Debian's bindings are, and told what to do on standard input:

    digit 5 200     press 5 for 200 ms, after the keys before (RFC 4733: * is 10, # is 11, A to D
                    are 12 to 15)
    stats           write what rtpbin knows of all sources
    quit

On standard output it writes one JSON object per line, with `what` naming it. Audio that it receives
is decoded into the file given; audio that it sends comes from a WAV file, at whose end rtpbin says
goodbye by RTCP.
"""

import argparse
import itertools
import json
import os
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gio, GLib, Gst  # noqa: E402

CODECS = {
    "PCMU": "rtppcmudepay ! mulawdec",
    "PCMA": "rtppcmadepay ! alawdec",
    "L16": "rtpL16depay ! audioconvert",
    "G722": "rtpg722depay ! avdec_g722",
    "OPUS": "rtpopusdepay ! opusdec",
}
PAYLOADERS = {
    "PCMU": "mulawenc ! rtppcmupay",
    "PCMA": "alawenc ! rtppcmapay",
    "L16": "audioconvert ! rtpL16pay",
    "G722": "avenc_g722 ! rtpg722pay",
    "OPUS": "opusenc frame-size=20 ! rtpopuspay",
}


# Milliseconds between two keys that are pressed one after the other.
PAUSE = 50
# A suite of SRTP: cipher, and authentication of RTP and of RTCP.
SUITES = {
    "AES_CM_128_HMAC_SHA1_80": ("aes-128-icm", "hmac-sha1-80", "hmac-sha1-80"),
    "AES_CM_128_HMAC_SHA1_32": ("aes-128-icm", "hmac-sha1-32", "hmac-sha1-80"),
    "AES_256_CM_HMAC_SHA1_80": ("aes-256-icm", "hmac-sha1-80", "hmac-sha1-80"),
    "AES_256_CM_HMAC_SHA1_32": ("aes-256-icm", "hmac-sha1-32", "hmac-sha1-80"),
    "AEAD_AES_128_GCM": ("aes-128-gcm", "null", "null"),
    "AEAD_AES_256_GCM": ("aes-256-gcm", "null", "null"),
}


def say(what, **values):
    # Threads of GStreamer say things at once: a line and its end are written together.
    sys.stdout.write(json.dumps({"what": what, **values}) + "\n")
    sys.stdout.flush()


class Call:
    def __init__(self, options):
        self.options = options
        self.keys = []
        self.rest = b""
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.Pipeline.new("call")
        self.rtpbin = self.make("rtpbin", "rtpbin")
        self.rtpbin.set_property("latency", options.latency)
        self.rtpbin.connect("request-pt-map", self.pt_map)
        self.rtpbin.connect("pad-added", self.pad_added)
        if options.suite:
            self.secure()
        self.rtpbin.connect("on-bye-ssrc", lambda _bin, _id, ssrc: say("bye", ssrc=ssrc))
        # One socket each way and port, as telephones do (symmetric RTP, RFC 4961).
        self.rtp_socket = self.socket(options.port)
        self.rtcp_socket = self.socket(options.port + 1)
        self.receive()
        if options.play:
            self.send()
        self.rtcp()
        session = self.rtpbin.emit("get-internal-session", 0)
        session.set_property("rtcp-min-interval", int(options.rtcp_interval * Gst.SECOND))
        session.set_property("bandwidth", 64000.0)
        self.session = session
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message", self.message)
        GLib.io_add_watch(
            sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, self.read
        )

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        say("running")
        self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)
        say("ended")

    # --- the pipeline --------------------------------------------------------------------------

    def make(self, factory, name=None, **properties):
        element = Gst.ElementFactory.make(factory, name)
        if element is None:
            raise SystemExit(f"GStreamer has no element {factory}")
        for key, value in properties.items():
            element.set_property(key.replace("_", "-"), value)
        self.pipeline.add(element)
        return element

    def join(self, source, source_pad, sink, sink_pad):
        if not source.link_pads(source_pad, sink, sink_pad):
            raise SystemExit(f"cannot link {source.name}.{source_pad} to {sink.name}.{sink_pad}")

    def socket(self, port):
        socket = Gio.Socket.new(
            Gio.SocketFamily.IPV4, Gio.SocketType.DATAGRAM, Gio.SocketProtocol.UDP
        )
        address = Gio.InetSocketAddress.new_from_string("127.0.0.1", port)
        socket.bind(address, False)
        return socket

    def caps(self, payload_type):
        if payload_type == self.options.dtmf_payload_type:
            encoding, more = "TELEPHONE-EVENT", ""
        else:
            encoding, more = self.options.codec, ",channels=1"
        return Gst.Caps.from_string(
            f"application/x-rtp,media=audio,payload={payload_type},"
            f"clock-rate={self.options.clock_rate},encoding-name={encoding}{more}"
        )

    def secure(self):
        """Puts srtpenc and srtpdec between rtpbin's sessions and the network."""
        cipher, rtp_auth, rtcp_auth = SUITES[self.options.suite]
        encoder = Gst.ElementFactory.make("srtpenc", "encoder")
        decoder = Gst.ElementFactory.make("srtpdec", "decoder")
        for pad in ("rtp_sink_0", "rtcp_sink_0"):  # rtpbin takes those that are there
            encoder.request_pad_simple(pad)
        for name, value in (
            ("rtp-cipher", cipher),
            ("rtcp-cipher", cipher),
            ("rtp-auth", rtp_auth),
            ("rtcp-auth", rtcp_auth),
        ):
            Gst.util_set_object_arg(encoder, name, value)
        encoder.set_property("key", Gst.Buffer.new_wrapped(bytes.fromhex(self.options.send_key)))
        if self.options.mki:
            encoder.set_property("mki", Gst.Buffer.new_wrapped(bytes.fromhex(self.options.mki)))
        keys = Gst.Caps.from_string(
            f"application/x-srtp,srtp-key=(buffer){self.options.receive_key},"
            f"srtp-cipher=(string){cipher},srtcp-cipher=(string){cipher},"
            f"srtp-auth=(string){rtp_auth},srtcp-auth=(string){rtcp_auth}"
            + (f",mki=(buffer){self.options.mki}" if self.options.mki else "")
        )
        decoder.connect("request-key", lambda _decoder, _ssrc: keys)
        for signal, element in (
            ("request-rtp-encoder", encoder),
            ("request-rtcp-encoder", encoder),
            ("request-rtp-decoder", decoder),
            ("request-rtcp-decoder", decoder),
        ):
            self.rtpbin.connect(signal, lambda _bin, _session, element=element: element)

    def pt_map(self, _bin, _session, payload_type):
        return self.caps(payload_type)

    def receive(self):
        source = self.make("udpsrc", socket=self.rtp_socket, close_socket=False)
        caps = self.caps(self.options.payload_type)
        if self.options.suite:
            caps = Gst.Caps.from_string(caps.to_string().replace("x-rtp", "x-srtp"))
        source.set_property("caps", caps)
        self.join(source, "src", self.rtpbin, "recv_rtp_sink_0")

    def rtcp(self):
        source = self.make("udpsrc", socket=self.rtcp_socket, close_socket=False)
        kind = "x-srtcp" if self.options.suite else "x-rtcp"
        source.set_property("caps", Gst.Caps.from_string(f"application/{kind}"))
        self.join(source, "src", self.rtpbin, "recv_rtcp_sink_0")
        sink = self.make(
            "udpsink",
            host="127.0.0.1",
            port=self.options.remote + 1,
            sync=False,
            socket=self.rtcp_socket,
            close_socket=False,
        )
        sink.set_property("async", False)
        self.join(self.rtpbin, "send_rtcp_src_0", sink, "sink")

    def send(self):
        payloader = (
            f"filesrc location={self.options.play} ! wavparse ! audioconvert ! audioresample !"
            f" audio/x-raw,format=S16LE,rate={self.options.rate},channels=1 !"
            f" {PAYLOADERS[self.options.codec]} name=pay pt={self.options.payload_type}"
        )
        audio = Gst.parse_bin_from_description(payloader, True)
        self.pipeline.add(audio)
        self.payloader = audio.get_by_name("pay")
        self.ptimes = itertools.cycle(map(int, self.options.ptimes.split(",")))
        self.next_ptime()
        if "," in self.options.ptimes:
            GLib.timeout_add(200, self.next_ptime)
        self.digits = self.make(
            "rtpdtmfsrc",
            pt=self.options.dtmf_payload_type,
            clock_rate=self.options.clock_rate,
        )
        mux = self.make("rtpdtmfmux")
        queue = self.make("queue")
        self.join(self.digits, "src", mux, "priority_sink_%u")
        self.join(audio, "src", mux, "sink_%u")
        self.join(mux, "src", queue, "sink")
        self.join(queue, "src", self.rtpbin, "send_rtp_sink_0")
        sink = self.make(
            "udpsink",
            host="127.0.0.1",
            port=self.options.remote,
            socket=self.rtp_socket,
            close_socket=False,
        )
        sink.set_property("async", False)
        self.join(self.rtpbin, "send_rtp_src_0", sink, "sink")

    def next_ptime(self):
        nanoseconds = next(self.ptimes) * Gst.MSECOND
        self.payloader.set_property("min-ptime", nanoseconds)
        self.payloader.set_property("max-ptime", nanoseconds)
        return True

    def pad_added(self, _bin, pad):
        name = pad.get_name()
        if not name.startswith("recv_rtp_src_"):
            return
        payload_type = int(name.rsplit("_", 1)[1])
        say("stream", ssrc=int(name.split("_")[4]), payload_type=payload_type)
        if payload_type == self.options.dtmf_payload_type:
            description = "rtpdtmfdepay unit-time=0 ! fakesink sync=false async=false"
        else:
            # Unbuffered: whoever started this reads along.
            description = (
                f"{CODECS[self.options.codec]} ! audioconvert ! audio/x-raw,format=S16LE,"
                f"channels=1 ! filesink location={self.options.record} buffer-mode=unbuffered"
                " sync=false async=false"
            )
        sink = Gst.parse_bin_from_description(description, True)
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))

    # --- events --------------------------------------------------------------------------------

    def message(self, _bus, message):
        structure = message.get_structure()
        if message.type == Gst.MessageType.ERROR:
            error, debug = message.parse_error()
            say("error", message=error.message, debug=debug)
            self.loop.quit()
        elif message.type == Gst.MessageType.EOS:
            say("eos")
        elif structure is not None and structure.get_name() in (
            "dtmf-event",
            "dtmf-event-processed",
        ):
            say(
                structure.get_name(),
                **{key: structure.get_value(key) for key in keys(structure) if key != "last-stop"},
            )

    def read(self, fd, _condition):
        # Not by sys.stdin, which keeps further lines to itself.
        data = os.read(fd, 65536)
        *lines, self.rest = (self.rest + data).split(b"\n")
        if not data:
            lines = [b"quit"]
        return all(self.command(line.decode()) for line in lines)

    def command(self, line):
        word, *arguments = line.split() or ["quit"]
        if word == "digit":
            self.keys.append(tuple(map(int, arguments)))
            if len(self.keys) == 1:
                self.press()
        elif word == "stats":
            stats = self.session.get_property("stats")
            sources = stats.get_value("source-stats")
            say("stats", sources=[plain(source) for source in sources], **plain(stats))
        elif word == "quit":
            self.loop.quit()
            return False
        return True

    def press(self):
        number, duration = self.keys[0]
        self.dtmf(f"type=1,method=1,start=true,number={number},volume=10")
        GLib.timeout_add(duration, self.release)
        return False

    def release(self):
        self.dtmf("type=1,method=1,start=false")
        del self.keys[0]
        if self.keys:
            GLib.timeout_add(PAUSE, self.press)
        return False

    def dtmf(self, fields):
        structure = Gst.Structure.from_string(
            "dtmf-event," + ",".join(typed(field) for field in fields.split(","))
        )[0]
        event = Gst.Event.new_custom(Gst.EventType.CUSTOM_UPSTREAM, structure)
        if not self.digits.get_static_pad("src").send_event(event):
            say("error", message=f"rtpdtmfsrc refuses {fields}")


def typed(field):
    key, value = field.split("=")
    return f"{key}=({'boolean' if value in ('true', 'false') else 'int'}){value}"


def keys(structure):
    return [structure.nth_field_name(index) for index in range(structure.n_fields())]


def plain(structure):
    """The numbers, texts and truth values of a structure."""
    found = {}
    for key in keys(structure):
        try:
            value = structure.get_value(key)
        except TypeError:  # a type that the bindings do not know
            continue
        if isinstance(value, int | float | str):
            found[key] = value
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--remote", type=int, required=True)
    parser.add_argument("--codec", choices=CODECS, default="PCMU")
    parser.add_argument("--rate", type=int, default=8000)
    parser.add_argument("--clock-rate", type=int, default=8000)
    parser.add_argument("--payload-type", type=int, default=0)
    parser.add_argument("--dtmf-payload-type", type=int, default=101)
    parser.add_argument("--rtcp-interval", type=float, default=0.5)
    parser.add_argument("--latency", type=int, default=500)
    parser.add_argument("--suite", choices=SUITES)
    parser.add_argument("--send-key", help="key and salt, hexadecimal")
    parser.add_argument("--receive-key")
    parser.add_argument("--mki", help="hexadecimal")
    parser.add_argument("--ptimes", default="20", help="ms, each for 200 ms in turn")
    parser.add_argument("--play")
    parser.add_argument("--record", required=True)
    options = parser.parse_args()
    Gst.init(None)
    Call(options).run()


if __name__ == "__main__":
    main()
