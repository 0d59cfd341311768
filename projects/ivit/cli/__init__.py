# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The command ``ivit``: one module for each of its commands."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

# What each command does; `check-env` is in the module `check_env`.
COMMANDS = {
    'data': 'look at data before training on it',
    'train': 'train a detector, segmentor or classifier from a config',
    'test': 'test a trained one',
    'predict': 'predict images, a folder or a video with a finished run',
    'export': 'write a trained one as an ONNX file and prove it',
    'flops': "count the parameters, MACs and FLOPs of a config's model",
    'benchmark': 'time backbones or attentions and take their memory',
    'publish': "make of a training's checkpoint a file to give to others",
    'convert': "rename the weights in the FLatten authors' files, and back",
    'study': 'do a study on the embedded data',
    'demo': 'train a small Mask R-CNN and write a report about it',
    'check-env': 'say whether this environment can run ivit',
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the first argument names.

    Args:
        argv: The arguments; those of this process by default.
    """
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog='ivit',
        usage='%(prog)s [-h] COMMAND ...',
        description='Linear-attention vision backbones for OpenMMLab.',
        epilog='commands:\n'
        + '\n'.join(f'  {name:{width}}  {COMMANDS[name]}' for name in COMMANDS)
        + '\n\n`ivit COMMAND --help` says what a command takes.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('command', metavar='COMMAND')
    argv = sys.argv[1:] if argv is None else argv
    command = parser.parse_args(argv[:1]).command
    if command not in COMMANDS:
        nearest = difflib.get_close_matches(command, COMMANDS, 1)
        parser.error(
            f'there is no command {command!r}; '
            + (
                f'did you mean {nearest[0]!r}?'
                if nearest
                else f'the commands are {", ".join(COMMANDS)}'
            )
        )
    module = import_module(f'.{command.replace("-", "_")}', __package__)
    module.main(argv[1:])
