# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The hook that compiles a backbone, and the option that sets it."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel, BaseTTAModel
from mmengine.runner import Runner
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.nn.parallel import DataParallel

from ivit.engine import CompileBackboneHook, UsageError, set_compile

HOOK = dict(type='CompileBackboneHook')


class Conv(nn.Module):
    """A backbone; of torch's own modules dynamo makes no graph."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x).relu()


class Net(BaseModel):
    """A backbone and a head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = Conv()
        self.head = nn.Linear(4, 1)

    def forward(self, inputs, mode='tensor'):
        score = self.head(self.backbone(inputs).mean((2, 3)))
        return dict(loss=score.square().sum()) if mode == 'loss' else [score]


class Mean(BaseMetric):
    """The mean score."""

    def process(self, data_batch, data_samples):
        self.results += [sample.item() for sample in data_samples]

    def compute_metrics(self, results):
        return dict(score=sum(results) / len(results))


class Augmented(BaseTTAModel):
    """Merges nothing."""

    def merge_preds(self, data_samples_list):
        return data_samples_list


@pytest.fixture
def counter(monkeypatch):
    """Graphs that are made, and run as they are."""
    made = CompileCounter()
    compile_with = torch.compile
    monkeypatch.setattr(
        torch,
        'compile',
        lambda *args, **kwargs: compile_with(*args, backend=made, **kwargs),
    )
    torch._dynamo.reset()
    with torch._dynamo.config.patch(optimize_ddp=True, specialize_float=False):
        yield made
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ('before', 'enable', 'after'),
    [
        ({}, False, None),
        ({}, True, [HOOK]),
        (dict(custom_hooks=None), True, [HOOK]),
        (dict(custom_hooks=[HOOK]), True, [HOOK]),
        (dict(custom_hooks=[HOOK]), False, [HOOK]),
        (
            dict(custom_hooks=[dict(type='EMAHook')]),
            True,
            [dict(type='EMAHook'), HOOK],
        ),
    ],
)
def test_the_option_adds_the_hook_once(before, enable, after):
    cfg = Config(copy.deepcopy(before))
    set_compile(cfg, enable)
    assert cfg.get('custom_hooks') == after


@pytest.mark.parametrize('wrap', [lambda m: m, DataParallel, Augmented])
def test_the_backbone_is_found_and_keeps_its_names(wrap, counter):
    model = Net()
    names = list(model.state_dict())
    expected = model(torch.ones(2, 3, 8, 8))
    CompileBackboneHook().before_run(SimpleNamespace(model=wrap(model)))
    assert list(model.state_dict()) == names
    assert not torch._dynamo.config.optimize_ddp
    assert torch._dynamo.config.specialize_float
    for size in (8, 9, 13):
        x = torch.ones(2, 3, size, size + 1)
        torch.testing.assert_close(model(x), expected)
    assert counter.frame_count == 1
    # The backbone alone: no copy of it, and nothing around it.
    for other in (copy.deepcopy(model.backbone), model.head, model):
        assert other._compiled_call_impl is None


def test_a_model_without_backbone_is_refused():
    runner = SimpleNamespace(model=nn.Linear(1, 1))
    with pytest.raises(UsageError, match='Linear has no backbone'):
        CompileBackboneHook().before_run(runner)


def train(folder, hooks, epochs=2, **kwargs):
    """Two epochs on two images of different size, from the config on."""
    data = [dict(inputs=torch.ones(3, 8, n) * n) for n in (8, 11)]
    loader = dict(
        dataset=data,
        batch_size=1,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    runner = Runner(
        model=Net(),
        work_dir=str(folder),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=Evaluator(Mean()),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3, momentum=0.9)),
        custom_hooks=hooks,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook')),
        default_scope='mmengine',
        experiment_name=f'{folder.name}{epochs}',
        **kwargs,
    )
    runner.train()
    return torch.load(folder / f'epoch_{epochs}.pth', weights_only=False)


@pytest.mark.parametrize('ema', [[], [dict(type='EMAHook', momentum=0.5)]])
def test_a_run_is_what_it_is_without(ema, counter, tmp_path):
    """Checkpoints, averaged weights and a resumed run included."""
    plain = train(tmp_path / 'plain', ema)
    assert counter.frame_count == 0
    # The option's order, and the other.
    train(tmp_path / 'compiled', [HOOK, *ema], epochs=1)
    assert counter.frame_count > 0
    counter.frame_count = 0
    torch._dynamo.reset()
    compiled = train(
        tmp_path / 'compiled',
        [*ema, HOOK],
        resume=True,
        load_from=str(tmp_path / 'compiled/epoch_1.pth'),
    )
    assert counter.frame_count > 0
    for name in ('state_dict', 'ema_state_dict'):
        assert plain.get(name, {}).keys() == compiled.get(name, {}).keys()
        for key, value in plain.get(name, {}).items():
            torch.testing.assert_close(compiled[name][key], value)
