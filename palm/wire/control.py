"""Control words between core values and protobuf: what links and jobs say to each other."""

from __future__ import annotations

from palm.core.message import Control as ControlWord
from palm.core.message import Exposed, Hello, Leave, Over, Peer, Ping, Pong, Pull, Refused, Welcome
from palm.errors import BadFrame
from palm.wire import palm_pb2 as pb
from palm.wire.frame import Body, pack

_LONGEST_TEXT = 1_024
_MOST_JOBS = 65_536
_MOST_CREDIT = 4_096
MOST_EXPOSED = 16_384
"""Sequences in one word; who has more says several."""


def encode_control(word: ControlWord) -> bytes:
    """The envelope, prefix and all."""
    match word:
        case Ping():
            body = pb.Control(ping=pb.Ping(number=word.number, open_jobs=word.open_jobs, next_job=word.next_job))
        case Pong():
            body = pb.Control(pong=pb.Pong(**word._asdict()))
        case Hello():
            body = pb.Control(hello=pb.Hello(**word._asdict()))
        case Welcome():
            body = pb.Control(welcome=pb.Welcome(version=word.version))
        case Refused():
            body = pb.Control(refused=pb.Refused(why=word.why, text=word.text[:_LONGEST_TEXT]))
        case Over():
            body = pb.Control(over=pb.Over(incarnation=word.incarnation, pipeline=str(word.number)))
        case Pull():
            body = pb.Control(pull=pb.Pull(**word._asdict()))
        case Leave():
            body = pb.Control(leave=pb.Leave())
        case Exposed():
            body = pb.Control(
                exposed=pb.Exposed(
                    incarnation=word.incarnation,
                    pipeline=str(word.number),
                    server=word.server,
                    instance=word.instance,
                    sequence=word.sequences[:MOST_EXPOSED],
                    suspect=word.suspect,
                )
            )
    return pack(Body.CONTROL, body.SerializeToString())


def decode_control(raw: bytes) -> ControlWord:
    control = pb.Control.FromString(raw)
    match control.WhichOneof("body"):
        case "ping":
            ping = control.ping
            return Ping(
                ping.number,
                tuple(ping.open_jobs[:_MOST_JOBS]),
                ping.next_job if len(ping.open_jobs) <= _MOST_JOBS else 0,
            )
        case "pong":
            pong = control.pong
            return Pong(
                pong.number,
                pong.in_flight,
                pong.handled,
                pong.failed,
                pong.duplicates,
                pong.busy_us,
                pong.busy_in[:128],
                pong.draining,
                pong.bad_frames,
                pong.uptime_us,
            )
        case "hello":
            hello = control.hello
            return Hello(hello.version, Peer(hello.expects[:64]), hello.cluster[:128], hello.name[:128])
        case "welcome":
            return Welcome(control.welcome.version)
        case "refused":
            try:
                why = pb.Refused.Why.Name(control.refused.why)
            except ValueError as error:
                raise BadFrame("a refusal for a reason that this release does not know") from error
            return Refused(why, control.refused.text[:_LONGEST_TEXT])
        case "pull":
            return Pull(control.pull.term, min(control.pull.credit, _MOST_CREDIT), control.pull.has)
        case "leave":
            return Leave()
        case "over":
            return Over(control.over.incarnation, _job_number(control.over.pipeline))
        case "exposed":
            exposed = control.exposed
            return Exposed(
                exposed.incarnation,
                _job_number(exposed.pipeline),
                exposed.server[:128],
                Peer(exposed.instance[:64]),
                tuple(exposed.sequence[:MOST_EXPOSED]),
                exposed.suspect,
            )
    raise BadFrame("a control word that this release does not know")


def _job_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise BadFrame("a word about a job without its number")
    return int(text)
