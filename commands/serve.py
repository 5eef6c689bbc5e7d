"""serve: edits over HTTP."""

from __future__ import annotations

import ipaddress
import re
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..store.errors import OptionError, OutputError
from .base import DOOR, KEEPING, LIMITS, MODELS, Command
from .inputs import AtlasFile, Folder, InputFile, OutputFolder
from .options import OF_ATLAS, clip_option, generator_option, option, tuned_option
from .sink import say

if TYPE_CHECKING:
    from ..server.api.access import Access
    from ..server.works.nouns import Settings

_NEEDED = (
    "fastapi",
    "prometheus_client",
    "python_multipart",
    "socketio",
    "sse_starlette",
    "uvicorn",
    "websockets",
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LEAST_TOKEN = 16
_LEAST_BURST = 150  # requests: the page and all its files at once, twice
_GIB = 2**30


class Duration(click.ParamType):  # type: ignore[type-arg] # generic only in newer clicks
    """A time: 90s, 30m, 24h or 7d."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhd])", str(value).strip())
        if match is None or not float(match[1]):
            self.fail(f"{value!r} is no time such as 90s, 30m, 24h or 7d", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


def usage(ctx: click.Context) -> None:
    """An address that others reach needs a token."""
    given = ctx.params
    if given["token_file"] is not None and given["no_token"]:
        raise click.UsageError("--token-file and --no-token exclude each other; give one of them")
    if not (_is_loopback(given["host"]) or given["token_file"] or given["no_token"]):
        raise click.UsageError(
            f"--host {given['host']} can be reached from elsewhere; give --token-file, or "
            "--no-token for everybody to be let in"
        )


@click.command(
    cls=Command,
    usage=usage,
    epilog="""
    styleatlas serve avatars
    styleatlas serve ffhq.h5 --generator ffhq.safetensors --clip ViT-B-32.pt --device cuda:0,cuda:1
    styleatlas serve avatars --host 0.0.0.0 --token-file token --allowed-host atlas.example.org
    """,
)
@click.argument("atlas", type=AtlasFile())
@generator_option()
@tuned_option
@clip_option(OF_ATLAS)
@option(
    "--mappers",
    type=Folder(),
    metavar="DIR",
    group=MODELS,
    help="The folder of mappers; your library if not given.",
)
@option(
    "--device",
    "devices",
    metavar="D,D",
    group=MODELS,
    help="A worker for each: cpu, or cuda:0,cuda:1; the best there is if not given.",
)
@option(
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    group=MODELS,
    help="Of each worker on the CPU.",
)
@option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="H",
    group=DOOR,
    help="The address to listen at.",
)
@option(
    "--port",
    default=7860,
    show_default=True,
    type=click.IntRange(0, 65535),
    metavar="P",
    group=DOOR,
    help="0 for any that is free.",
)
@option(
    "--token-file",
    type=InputFile(),
    metavar="F",
    group=DOOR,
    help="A file whose one line is the secret that programs send; browsers get a link.",
)
@option("--no-token", is_flag=True, group=DOOR, help="Let everybody in who reaches the address.")
@option(
    "--allowed-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    group=DOOR,
    help="A name that the service is reached by, beside localhost and addresses; may be repeated.",
)
@option(
    "--root-path", default="", metavar="/P", group=DOOR, help="What a proxy takes off every path."
)
@option(
    "--trusted-proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    group=DOOR,
    help="A proxy whose word is taken for who asks (X-Forwarded-For); may be repeated.",
)
@option(
    "--folder",
    type=OutputFolder(),
    metavar="DIR",
    group=KEEPING,
    help="Where jobs, pictures and photos are kept; in your data folder if not given.",
)
@option(
    "--keep",
    type=Duration(),
    default="24h",
    show_default=True,
    group=KEEPING,
    help="How long what came of a job, and photos, are kept.",
)
@option("--log-prompts", is_flag=True, group=KEEPING, help="Write into the log what is asked for.")
@option(
    "--rate",
    type=click.FloatRange(0.1, 10_000),
    default=50,
    show_default=True,
    metavar="N",
    group=LIMITS,
    help="Requests a second of a client, in the long run.",
)
@option(
    "--jobs",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    metavar="N",
    group=LIMITS,
    help="Of a client, that wait or run.",
)
@option(
    "--queue",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    metavar="N",
    group=LIMITS,
    help="Jobs of all clients that wait.",
)
@option(
    "--deadline",
    type=Duration(),
    default="30m",
    show_default=True,
    group=LIMITS,
    help="How long a job may run.",
)
@option(
    "--disk",
    type=click.FloatRange(0.1),
    default=4,
    show_default=True,
    metavar="GIB",
    group=LIMITS,
    help="Of all that is kept; the oldest goes first.",
)
@option(
    "--memory",
    type=click.FloatRange(0.5),
    default=4,
    show_default=True,
    metavar="GIB",
    group=LIMITS,
    help="That a worker may take beyond its models.",
)
@option(
    "--drain",
    type=Duration(),
    default="30s",
    show_default=True,
    group=LIMITS,
    help="For jobs to end in when the service is stopped.",
)
def serve(atlas: str, host: str, port: int, **options: Any) -> None:
    """Edit over HTTP: a page, an API, live sessions.

    Prints the address, and where there is a token a link that lets one browser in, once. What is
    asked for is on the disk before it is answered, so that a restart goes on where it was. SIGTERM
    and Ctrl-C let jobs that run end first. The log goes to stderr, a line of JSON a request, and
    holds no prompts, no token and no names of pictures. More: docs/server.md.
    """
    _require_extra()
    from ..server.api.run import run

    access, settings = _access(options), _settings(atlas, options)
    listening = _listen(host, port)

    def announce(link: str) -> None:
        name = f"[{host}]" if ":" in host else host
        say(f"http://{name}:{listening.getsockname()[1]}{access.root_path}{link}")

    with listening:
        run(settings, access, listening, options["proxies"], options["drain"], announce)


def _require_extra() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise OptionError(
            f"serve: needs {', '.join(missing)}; install it with `pip install 'styleatlas[server]'`"
        )


def _access(options: dict[str, Any]) -> Access:
    from ..server.api.access import Access

    token = None
    if options["token_file"] is not None:
        token = _token(options["token_file"])
    root = options["root_path"].rstrip("/")
    if root and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", root):
        raise OptionError(f"--root-path {root}: must begin with / and hold names alone")
    return Access(
        token,
        tuple(name.lower() for name in options["hosts"]),
        root,
        options["rate"],
        max(_LEAST_BURST, int(4 * options["rate"])),
        log_prompts=options["log_prompts"],
    )


def _settings(atlas: str, options: dict[str, Any]) -> Settings:
    from platformdirs import user_data_path

    from ..server.works.nouns import Limits, Settings

    devices = options["devices"].split(",") if options["devices"] else (None,)
    limits = Limits(
        waiting=options["queue"],
        each=options["jobs"],
        seconds=options["deadline"],
        disk=int(options["disk"] * _GIB),
        memory=int(options["memory"] * _GIB),
    )
    return Settings(
        atlas=atlas,
        folder=options["folder"] or Path(user_data_path("styleatlas"), "server"),
        generator=options["generator"],
        clip=options["clip"],
        devices=tuple(devices),
        tuned=options["tuned"],
        mappers=options["mappers"],
        threads=options["threads"],
        keep=options["keep"],
        limits=limits,
    )


def _token(path: Path) -> str:
    """The one line of a file.

    Raises:
        OptionError: it is no secret.
    """
    try:
        text = path.read_bytes()[:4096].decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: cannot be read as a line of ASCII; write another") from error
    if not re.fullmatch(rf"[\x21-\x7e]{{{_LEAST_TOKEN},}}", text):
        raise OptionError(
            f"{path}: must hold one line of at least {_LEAST_TOKEN} letters without spaces, such "
            "as `openssl rand -hex 32` writes"
        )
    return text


def _listen(host: str, port: int) -> socket.socket:
    """A socket that is listened at.

    Raises:
        OutputError: the address is taken, or is none of this machine.
    """
    # The protocol is named, or asyncio would not switch Nagle's algorithm off on what is accepted,
    # and every answer would wait 40 ms for the client's delayed acknowledgement.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        reason = error.strerror or error
        raise OutputError(
            f"{host}:{port}: cannot be listened at ({reason}); choose another --host or --port"
        ) from error
    return listening


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
