# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What the three classes of the ``shapes`` data set have in common."""

from typing import TYPE_CHECKING, Any

from .shapes import ensure_shapes

if TYPE_CHECKING:  # what the classes that it is mixed into derive from
    from mmengine.dataset import BaseDataset as _Base
else:
    _Base = object


class ShapesMixin(_Base):
    """Makes the data set before a framework's class loads its annotations.

    With ``lazy_init=True`` that is when the data is used for the first time.

    Args:
        data_root: Folder of the data set, made if it does not exist.
        num_train: Number of training images.
        num_val: Number of validation images.
        image_size: Side of the square images, in pixels.
        seed: Seed of all random choices.
        **kwargs: Arguments of the framework's class.
    """

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
        self.settings = {
            'num_train': num_train,
            'num_val': num_val,
            'image_size': image_size,
            'seed': seed,
        }
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Make the data set if it is not there, then load it."""
        ensure_shapes(self.data_root, **self.settings)
        return super().load_data_list()
