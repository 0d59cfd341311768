# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What the frameworks' classes of a data set of scenes have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..palette import make_palette
from .fractals.categories import class_names
from .fractals.scenes import ensure_fractal_scenes
from .shapes import ensure_shapes

if TYPE_CHECKING:  # what the classes that it is mixed into derive from
    from mmengine.dataset import BaseDataset as _Base
else:
    _Base = object


class ScenesMixin(_Base):
    """Makes the data set before a framework's class loads its annotations.

    With ``lazy_init=True`` that is when the data is used for the first time.

    Args:
        settings: Arguments of :attr:`ensure` beside the folder.
        **kwargs: Arguments of the framework's class.
    """

    ensure: ClassVar[Callable[..., Path]]

    def __init__(self, settings: dict[str, int], **kwargs: Any) -> None:
        self.settings = settings
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """Make the data set if it is not there, then load it."""
        type(self).ensure(self.data_root, **self.settings)
        return super().load_data_list()


class ShapesMixin(ScenesMixin):
    """Makes ``shapes``.

    Args:
        data_root: Folder of the data set, made if it does not exist.
        num_train: Number of training images.
        num_val: Number of validation images.
        image_size: Side of the square images, in pixels.
        seed: Seed of all random choices.
        **kwargs: Arguments of the framework's class.
    """

    ensure = staticmethod(ensure_shapes)

    def __init__(
        self,
        *,
        data_root: str = 'data/shapes',
        num_train: int = 2000,
        num_val: int = 300,
        image_size: int = 128,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        settings = {
            'num_train': num_train,
            'num_val': num_val,
            'image_size': image_size,
            'seed': seed,
        }
        super().__init__(settings, data_root=data_root, **kwargs)


class FractalScenesMixin(ScenesMixin):
    """Makes ``fractal scenes``.

    Args:
        data_root: Folder of the data set, made if it does not exist.
        num_train: Number of training images.
        num_val: Number of validation images.
        image_size: Side of the square images, in pixels.
        num_categories: Number of categories, 2 to 254.
        seed: Seed of all random choices.
        metainfo: What differs from the categories' names and colours.
        **kwargs: Arguments of the framework's class.
    """

    ensure = staticmethod(ensure_fractal_scenes)
    with_background: ClassVar[bool] = False

    def __init__(
        self,
        *,
        data_root: str = 'data/fractal_scenes',
        num_train: int = 2000,
        num_val: int = 300,
        image_size: int = 128,
        num_categories: int = 200,
        seed: int = 0,
        metainfo: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        settings = {
            'num_train': num_train,
            'num_val': num_val,
            'image_size': image_size,
            'num_categories': num_categories,
            'seed': seed,
        }
        names = class_names(num_categories)
        palette = make_palette(num_categories)
        if self.with_background:
            names, palette = ['background', *names], [(0, 0, 0), *palette]
        metainfo = {'classes': names, 'palette': palette, **(metainfo or {})}
        super().__init__(
            settings, data_root=data_root, metainfo=metainfo, **kwargs
        )
