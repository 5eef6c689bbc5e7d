"""info, convert and verify: the files themselves."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..store.errors import AtlasCorruptError
from ..store.registry import find_bundle
from .base import Command
from .options import PATH, json_option
from .sources import open_atlas


@click.command(
    cls=Command,
    epilog="""
    styleatlas info avatars
    styleatlas info ffhq.pkl
    """,
)
@click.argument("file", metavar="ATLAS|CHECKPOINT")
@json_option
def info(file: str, as_json: bool) -> None:
    """What an atlas or a generator's checkpoint is, and what it holds.

    A checkpoint is read, but no network is built and nothing in it is run.
    """
    from ..store.describe import atlas_record
    from ..store.file import is_other_file
    from ..store.records import text_table

    if find_bundle(file) is None and is_other_file(file):
        from ..engine.checkpoints.describe import checkpoint_record
        from ..engine.checkpoints.read import read_checkpoint

        record = checkpoint_record(Path(file), read_checkpoint(Path(file)))
    else:
        record = atlas_record(open_atlas(file))
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    layers = record.pop("layers")
    for key, value in record.items():
        text = json.dumps(value) if isinstance(value, dict) else value
        click.echo(f"{key:<16}{text}")
    click.echo("\n" + text_table(layers))


@click.command(
    cls=Command,
    epilog="""
    styleatlas convert ffhq.pkl ffhq.safetensors
    """,
)
@click.argument("checkpoint", type=PATH)
@click.argument("output", metavar="OUT.safetensors", type=PATH)
def convert(checkpoint: Path, output: Path) -> None:
    """Write the generator of any CHECKPOINT as safetensors, with the numbers that rebuild it.

    Reads NVIDIA's pickles of StyleGAN2 and StyleGAN3, legacy TensorFlow pickles and rosinality's
    files, and runs nothing in them. The weights, and so the atlases drawn with them, stay the same.
    """
    from ..engine.checkpoints.native import require_other_file, write_generator
    from ..engine.checkpoints.read import read_checkpoint

    require_other_file(checkpoint, output)
    read = read_checkpoint(checkpoint)
    write_generator(output, read)
    config = read.config
    click.echo(f"{output}: {read.family}, {config.resolution} px, {len(read.tensors)} tensors")


@click.command(
    cls=Command,
    epilog="""
    styleatlas verify avatars
    """,
)
@click.argument("atlas")
@json_option
def verify(atlas: str, as_json: bool) -> None:
    """Prove every checksum of an atlas; exit 1 if one fails."""
    from ..store.atlas import atlas_path
    from ..store.file import verify as prove

    checks = prove(atlas_path(atlas))
    if as_json:
        click.echo(json.dumps([vars(check) for check in checks], indent=2))
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}  {check.detail}")
    failed = [check for check in checks if not check.ok]
    if failed:
        raise AtlasCorruptError(f"{atlas}: {failed[0].detail}")
