# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""``fractals`` for mmpretrain: one class for each category."""

from functools import partial
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS
from mmpretrain.datasets import BaseDataset

from .categories import (
    Categories,
    class_names,
    perturb_fractal,
    search_category,
)
from .systems import NUM_FLUCTUATIONS


@DATASETS.register_module()
class FractalDataset(BaseDataset):
    """Classes of fractals, after FractalDB (arXiv 2101.08515).

    The systems of the categories are searched on first use and kept in
    ``data_root``; the pictures are drawn by ``DrawFractal``, the first step
    of the pipeline. Each category has its fluctuations, each of which is an
    item. With ``test_mode`` each category has one item that is always drawn
    in the same way, of another fluctuation from category to category.

    Args:
        data_root: Folder of the file with the systems.
        num_categories: Number of categories.
        num_fluctuations: 1 to 25; FractalDB has 25, and OFDB (arXiv
            2307.14710), which has one instance a category, has 1.
        filling_rate: The least part of the pixels that a category's fractal
            hits.
        seed: Seed of the categories.
        pipeline: See mmpretrain's ``BaseDataset``, as for ``**kwargs``.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        *,
        data_root: str = 'data/fractals',
        num_categories: int = 1000,
        num_fluctuations: int = NUM_FLUCTUATIONS,
        filling_rate: float = 0.2,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        # 100,000 points on 512 x 512 pixels cannot hit more than 0.31.
        if not 0 < filling_rate <= 0.25:
            raise ValueError(
                f'filling_rate={filling_rate} must be in (0, 0.25]'
            )
        self.filling_rate = filling_rate
        self._set_up(data_root, num_categories, num_fluctuations, seed, kwargs)

    def _set_up(
        self,
        data_root: str,
        num_categories: int,
        num_fluctuations: int,
        seed: int,
        kwargs: dict[str, Any],
    ) -> None:
        limits = {
            'num_categories': (num_categories, 2, 1_000_000),
            'num_fluctuations': (num_fluctuations, 1, NUM_FLUCTUATIONS),
            'seed': (seed, 0, 2**63),
        }
        for name, (value, low, high) in limits.items():
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(
                    f'{name}={value!r} must be an integer from {low} to {high}'
                )
        self.num_categories = num_categories
        self.num_fluctuations = num_fluctuations
        self.seed = seed
        metainfo = kwargs.pop('metainfo', None) or {}
        kwargs['metainfo'] = {
            'classes': class_names(num_categories),
            **metainfo,
        }
        super().__init__(ann_file='', data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """The items; the systems are searched if they are not there."""
        systems = self._categories().load(
            Path(self.data_root, f'{self._file_name()}.npy')
        )
        count = self.num_fluctuations
        return [
            {
                'system': system,
                'category': category,
                'fluctuation': fluctuation,
                'gt_label': category,
                'draw_seed': [self.seed, category] if self.test_mode else None,
            }
            for category, system in enumerate(systems)
            for fluctuation in (
                [category % count] if self.test_mode else range(count)
            )
        ]

    def _categories(self) -> Categories:
        find = partial(
            search_category, self.seed, filling_rate=self.filling_rate
        )
        return Categories(self.num_categories, find)

    def _file_name(self) -> str:
        """Of the file with the systems, with all that they depend on."""
        return (
            f'searched_rate{self.filling_rate:g}_seed{self.seed}_'
            f'{self.num_categories}'
        )


@DATASETS.register_module()
class OneFractalDataset(FractalDataset):
    """Classes of perturbations of one fractal, 1p-frac (arXiv 2408.00677).

    Each category is a perturbation of the parameters and has one instance;
    all else is as in :class:`FractalDataset`.

    Args:
        data_root: Folder of the file with the systems.
        num_categories: Number of perturbations.
        delta: How far a parameter is off at most, as a part of it.
        sigma_factor: How complex the one fractal is; see
            :func:`.systems.random_contractions`.
        seed: Seed of the one fractal and of the perturbations.
        **kwargs: Arguments of mmpretrain's ``BaseDataset``.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        *,
        data_root: str = 'data/fractals',
        num_categories: int = 1000,
        delta: float = 0.1,
        sigma_factor: float = 3.5,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if not 0 < delta < 1:
            raise ValueError(f'delta={delta} must be between 0 and 1')
        self.delta = delta
        self.sigma_factor = sigma_factor
        self._set_up(data_root, num_categories, 1, seed, kwargs)

    def _categories(self) -> Categories:
        find = partial(
            perturb_fractal,
            self.seed,
            delta=self.delta,
            sigma_factor=self.sigma_factor,
        )
        return Categories(self.num_categories, find)

    def _file_name(self) -> str:
        return (
            f'perturbed_delta{self.delta:g}_sigma{self.sigma_factor:g}_'
            f'seed{self.seed}_{self.num_categories}'
        )
