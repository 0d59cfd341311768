# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""``python -m ivit COMMAND`` is ``ivit COMMAND`` of this interpreter."""

from .cli import main

if __name__ == '__main__':
    main()
