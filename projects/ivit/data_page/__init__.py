# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The page of ``ivit data``: annotated images, counted and drawn."""

from .page import make_data_page

__all__ = ['make_data_page']
