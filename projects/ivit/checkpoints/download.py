# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Download checkpoints, and keep only what is one."""

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

from .files import fault_of, load_from_local

CHUNK = 1 << 20
TIMEOUT = 60  # seconds without a byte
# As save_hashed writes it. Digits alone may be a date.
HASH = re.compile(r'-(?=\d*[a-f])([0-9a-f]{8,64})\.\w+$')


def load_from_http(filename: str, map_location: Any = None) -> Any:
    """Load a checkpoint by its address, as mmengine does, but check it.

    Of several processes the first one downloads.

    Args:
        filename: An address, ``http://`` or ``https://``.
        map_location: See ``torch.load``.

    Raises:
        ValueError: See :func:`download`, or if the file cannot be read.
    """
    try:
        if is_main_process():
            download(filename)
    finally:
        barrier()  # or the others would wait for one that failed
    path = download(filename)
    try:
        return load_from_local(str(path), map_location)
    except ValueError:
        path.unlink(missing_ok=True)  # so that the next try downloads again
        raise


def download(url: str) -> Path:
    """Bring a checkpoint into the cache of ``torch.hub``, if it is not there.

    Args:
        url: Its address. If the name ends with the start of the SHA-256, as
            in ``name-0a1b2c3d.pth``, that is checked too.

    Returns:
        The file in the cache.

    Raises:
        ValueError: If it could not be downloaded, or what came is not whole
            or no checkpoint. The cache is left as it was.
    """
    parts = urlparse(url)
    name = Path(parts.path).name
    if parts.query:  # may be all that tells two files apart
        name = f'{sha256(url.encode()).hexdigest()[:8]}-{name}'
    folder = Path(hub.get_dir()).expanduser() / 'checkpoints'
    path = folder / (name or parts.netloc)
    if path.is_file() and not fault_of(path):
        return path
    print_log(f'Downloading {url} to {path}', logger='current')
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as temporary:
        received = Path(temporary, path.name)
        try:
            fault = _receive(url, received)
        except (OSError, HTTPException) as error:
            # The text of a URLError is its reason in angle brackets.
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
    """Write what the server sends to ``path`` and say what is wrong with it.

    torch.hub does not compare the length with the one announced.
    """
    request = Request(url, headers={'User-Agent': 'torch.hub'})
    digest = sha256()
    with urlopen(request, timeout=TIMEOUT) as answer, path.open('wb') as file:
        announced = answer.length
        # None: shown on terminals alone.
        with hub.tqdm(
            total=announced,
            disable=None,
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
    if fault := fault_of(path):
        return fault
    wanted = HASH.search(urlparse(url).path)
    if wanted and not digest.hexdigest().startswith(wanted[1]):
        return (
            f'its SHA-256 starts with {digest.hexdigest()[:8]}, its name says '
            f'{wanted[1]}'
        )
    return None
