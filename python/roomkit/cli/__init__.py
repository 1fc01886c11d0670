"""The `roomkit` command: `demo`, `serve`, `call` and `sdp`.

Only `argparse` is imported here; each command loads what it needs when it runs, so that `--help`
and a typing mistake are answered at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from roomkit.cli import arguments

__all__ = ["main"]

_COMMANDS = {name: f"roomkit.cli.{name}" for name in ("demo", "serve", "call", "sdp")}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0 done, 1 failed, 2 wrong arguments, 130 stopped.

    `argv`: without the program's name; None: those of the process. Wrong arguments raise
    `SystemExit(2)` after saying on stderr what was wrong and what would be right.
    """
    options = _parser().parse_args(argv)
    try:
        code: int = import_module(_COMMANDS[options.command]).run(options)
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        if getattr(error, "name", None) != "roomkit._native":
            raise
        print(
            f"roomkit: the native media core is missing ({error}); pip install 'roomkit[rtp]'"
            " builds it",
            file=sys.stderr,
        )
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="roomkit",
        description="Voice over RTP for Python programs: see it work, serve a PBX, try a peer.",
        epilog="roomkit COMMAND --help tells more.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _demo(commands)
    _serve(commands)
    _call(commands)
    _sdp(commands)
    return parser


def _demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="a whole call on this machine, judged at the end",
        description=(
            "A voice application answers on loopback; a caller in a second process listens, speaks,"
            " dials and interrupts. Real RTP over UDP between them. Takes about 30 seconds. Writes"
            " what both heard as WAV, every packet, and a picture of the call."
        ),
        epilog="Exit code 0: the caller heard, sample for sample, what was said. 1: it did not.",
    )
    demo.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where the files go (default: a new folder ./roomkit-demo-DATE-TIME)",
    )
    demo.add_argument(
        "--codec",
        type=_demo_codec,
        default="PCMU",
        metavar="CODEC",
        help="PCMU (the default), PCMA or L16/8000",
    )
    demo.add_argument(
        "--loss",
        type=arguments.percent,
        default=0.0,
        metavar="PERCENT",
        help="lose this share of packets on the way, to see concealment at work (0 to 50)",
    )
    _plain(demo)


def _serve(commands: Any) -> None:
    serve = commands.add_parser(
        "serve",
        help="answer a PBX, gateway or softphone with an application",
        description=(
            "Answers one RTP stream with an application until Ctrl-C or until the far end leaves."
            " Without --remote the far end is learned from the first stream that proves valid."
        ),
        epilog=(
            "applications: echo sends back what it hears; parrot repeats each sentence; menu is an"
            " answering machine with digits and barge-in; package.module:function is your own,"
            " async def function(call), with a roomkit.Call."
        ),
    )
    _addresses(serve, "0.0.0.0:10000")
    serve.add_argument(
        "--app",
        type=arguments.app,
        default="echo",
        metavar="APP",
        help="echo (the default), parrot, menu, or package.module:function",
    )
    serve.add_argument(
        "--record", type=arguments.output_file, metavar="WAV", help="record what is heard"
    )
    _plain(serve)


def _call(commands: Any) -> None:
    call = commands.add_parser(
        "call",
        help="send speech and digits to a peer and record what comes back",
        description=(
            "Sends RTP to a peer. --play, --dtmf and --wait may be given several times and are done"
            " in the order given; then it goes on listening until Ctrl-C, until --seconds are over,"
            " or until the far end leaves."
        ),
        epilog=(
            "example: roomkit call --remote 192.0.2.10:20000 --wait 5 --dtmf 1 --wait 3"
            " --play in.wav --dtmf '#' --record out.wav"
        ),
    )
    _addresses(call, None)
    for name, kind, metavar, meaning in (
        ("--play", arguments.sound, "WAV", "play this file"),
        ("--dtmf", arguments.digits, "DIGITS", "press these keys: 0-9 * # A-D; a comma pauses"),
        ("--wait", arguments.seconds, "SECONDS", "wait so long before the next"),
    ):
        call.add_argument(
            name,
            type=kind,
            action=_Script,
            dest="script",
            default=[],
            metavar=metavar,
            help=meaning,
        )
    call.add_argument(
        "--record", type=arguments.output_file, metavar="WAV", help="record what is heard"
    )
    call.add_argument(
        "--seconds", type=arguments.seconds, metavar="SECONDS", help="hang up after so long"
    )
    _plain(call)


def _sdp(commands: Any) -> None:
    sdp = commands.add_parser(
        "sdp",
        help="say what would be made of a gateway's SDP offer",
        description=(
            "Reads an SDP offer and says, without a call, what would be agreed on and what would"
            " not, or which line is wrong."
        ),
        epilog="Exit code 0: a call can be made of it. 1: it cannot.",
    )
    sdp.add_argument("file", type=Path, metavar="FILE", help="the offer; - reads it from stdin")
    sdp.add_argument(
        "--codec",
        type=arguments.codec,
        action="append",
        metavar="CODEC",
        help="take this one only; several in the order of preference",
    )


def _addresses(parser: argparse.ArgumentParser, local: str | None) -> None:
    parser.add_argument(
        "--local",
        type=arguments.local_address,
        default=local,
        metavar="HOST:PORT",
        help=f"where to receive (default: {local or 'any free port'})",
    )
    parser.add_argument(
        "--remote",
        type=arguments.address,
        required=local is None,
        metavar="HOST:PORT",
        help="where the far end receives" + (" (default: learned)" if local else ""),
    )
    parser.add_argument(
        "--codec",
        type=arguments.codec,
        default="PCMU",
        metavar="CODEC",
        help=(
            "PCMU (the default), PCMA, G722, opus, L16/RATE[/CHANNELS], with @TYPE for another"
            " payload type"
        ),
    )
    parser.add_argument(
        "--preset",
        type=arguments.preset,
        metavar="NAME",
        help=(
            "the options of a kind of peer that sends no SDP, such as asterisk-external-media; the"
            " payload type of --codec picks what is sent"
        ),
    )
    parser.add_argument(
        "--rtcp-interval",
        type=arguments.seconds,
        default=5.0,
        metavar="SECONDS",
        help="between RTCP reports (default: 5)",
    )


def _plain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plain", action="store_true", help="lines of text instead of the live view"
    )


def _demo_codec(text: str) -> str:
    chosen = arguments.codec(text)
    if chosen.sample_rate != 8000 or chosen.channels != 1:
        raise argparse.ArgumentTypeError(
            f"{text!r}: the demo's speech has 8000 Hz and one channel; PCMU, PCMA or L16/8000 is"
            " expected"
        )
    return text.upper()


class _Script(argparse.Action):
    """Keeps the order in which the steps of a call were given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        step = ((option_string or "--play")[2:], values)
        namespace.script = [*namespace.script, step]


class _Version(argparse.Action):
    """The version, looked up only when asked for."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"roomkit {version('roomkit')}")
        except PackageNotFoundError:
            print("roomkit (not installed)")
        parser.exit()
