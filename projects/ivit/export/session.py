# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Run an exported file with onnxruntime."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ..engine import UsageError

#: The key of a file's metadata under which everything of ours is, as JSON.
KEY = 'ivit'


class Session:
    """A file that ``ivit export`` wrote, ready to run.

    Args:
        path: The file.
        threads: Number of threads; that of onnxruntime by default.

    Attributes:
        info: What the metadata says: ``task``, ``classes`` and so on.

    Raises:
        UsageError: If the file is none of ``ivit export``.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        if not Path(path).is_file():
            raise UsageError(f'there is no file {path}')
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        if threads is None:
            threads = int(os.environ.get('OMP_NUM_THREADS', 0))
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, onnxruntime.get_available_providers()
            )
        except Exception as error:  # its classes are not public
            first = str(error).strip().splitlines()[0]
            raise UsageError(
                f'{path} is not an ONNX file that onnxruntime can run: {first}'
            ) from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        if KEY not in metadata:
            raise UsageError(
                f'{path} does not say what it is for; give a file that `ivit '
                'export` wrote'
            )
        self.info: dict[str, Any] = json.loads(metadata[KEY])
        self._names = [one.name for one in self._session.get_outputs()]
        self._images = self._session.get_inputs()[0]

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Predict.

        Args:
            images: RGB, ``(B, 3, H, W)`` of uint8.

        Returns:
            The outputs, by their names.

        Raises:
            UsageError: If the file is for images of another size.
        """
        for name, size, wanted in zip(
            ('batch', 'channels', 'height', 'width'),
            images.shape,
            self._images.shape,
            strict=True,
        ):
            if isinstance(wanted, int) and wanted != size:
                raise UsageError(
                    f'the file is for images of {name} {wanted}, and these '
                    f'have {size}. Export without --shape and --batch for any'
                )
        outputs = self._session.run(self._names, {self._images.name: images})
        return dict(zip(self._names, outputs, strict=True))
