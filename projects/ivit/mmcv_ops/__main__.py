# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Run a script with the stand-in for mmcv's compiled operators in place.

Usage: ``python -m ivit.mmcv_ops SCRIPT [ARGS...]``. It is for scripts that
import mmcv.ops before they read a config, such as mmdet's own tools.
"""

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run the script named on the command line as ``__main__``."""
    if len(sys.argv) < 2 or sys.argv[1].startswith('-'):
        sys.exit('usage: python -m ivit.mmcv_ops SCRIPT [ARGS...]')
    script = Path(sys.argv[1])
    if not script.exists():
        sys.exit(f'python -m ivit.mmcv_ops: no script {str(script)!r}')
    del sys.argv[0]
    sys.path[0] = str(script.resolve().parent)
    runpy.run_path(str(script), run_name='__main__')


if __name__ == '__main__':
    main()
