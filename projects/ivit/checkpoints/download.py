# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Download checkpoints and check them."""

import os
import re
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from torch import hub

from .files import find_fault, load_from_local

CHUNK = 1 << 20  # bytes
TIMEOUT = 60  # seconds without a byte
# The hash that save_hashed writes into a name. It has a letter: digits alone
# may be a date.
HASH_IN_NAME = re.compile(r'-(?=\d*[a-f])([0-9a-f]{8,64})\.\w+$')


def load_from_http(filename: str, map_location: Any = None) -> Any:
    """Load a checkpoint from a web address and check it.

    It takes the place of mmengine's loader. Of several processes only the
    first one downloads.

    Args:
        filename: An address, ``http://`` or ``https://``.
        map_location: See ``torch.load``.

    Raises:
        ValueError: If the download fails (see :func:`download`) or the file
            cannot be read.
    """
    try:
        if is_main_process():
            download(filename)
    finally:
        barrier()  # even after an error, since the others wait here
    path = download(filename)
    try:
        return load_from_local(str(path), map_location)
    except ValueError:
        path.unlink(missing_ok=True)  # so that the next try downloads again
        raise


def download(url: str) -> Path:
    """Download a checkpoint unless it is in the cache of ``torch.hub``.

    Args:
        url: The address. If the file's name ends with the start of its
            SHA-256, as in ``name-0a1b2c3d.pth``, the hash is checked too.

    Returns:
        The file in the cache.

    Raises:
        ValueError: If the download fails, or the file is incomplete or not
            a checkpoint. Such a file is not kept in the cache.
    """
    parts = urlparse(url)
    name = Path(parts.path).name
    if parts.query:  # two addresses may differ in the query alone
        name = f'{sha256(url.encode()).hexdigest()[:8]}-{name}'
    folder = Path(hub.get_dir()).expanduser() / 'checkpoints'
    path = folder / (name or parts.netloc)
    if path.is_file() and not find_fault(path):
        return path
    print_log(f'Downloading {url} to {path}', logger='current')
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as temporary:
        received = Path(temporary, path.name)
        fault: str | Exception | None
        try:
            fault = _receive(url, received)
        except (OSError, HTTPException) as error:
            # str() of a URLError would put the reason in angle brackets.
            is_http = isinstance(error, HTTPError)
            fault = error if is_http else getattr(error, 'reason', error)
        if fault:
            raise ValueError(
                f'{url} was not downloaded: {fault}. Nothing was kept. Check '
                'the address and try again, or download the file with a '
                'browser and give its path.'
            )
        os.replace(received, path)
    return path


def _receive(url: str, path: Path) -> str | None:
    """Download to ``path``; return what is wrong with the file, if anything.

    ``torch.hub`` has no check of the length that the server announces.
    """
    request = Request(url, headers={'User-Agent': 'torch.hub'})
    digest = sha256()
    with urlopen(request, timeout=TIMEOUT) as answer, path.open('wb') as file:
        announced = answer.length
        with hub.tqdm(
            total=announced,
            disable=None,  # a bar on a terminal, nothing in a log file
            unit='B',
            unit_scale=True,
            unit_divisor=1024,
        ) as bar:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
    arrived = path.stat().st_size
    if announced not in (None, arrived):
        return f'{arrived} of {announced} bytes came'
    if fault := find_fault(path):
        return fault
    wanted = HASH_IN_NAME.search(urlparse(url).path)
    if wanted and not digest.hexdigest().startswith(wanted[1]):
        return (
            f'its SHA-256 starts with {digest.hexdigest()[:8]}, its name says '
            f'{wanted[1]}'
        )
    return None
