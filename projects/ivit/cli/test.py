# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Test a trained detector, segmentor or classifier."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.registry import METRICS

from .. import engine
from ..preflight import check_config
from .export import import_export
from .parser import Parser


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser('ivit test', __doc__)
    parser.add_argument('config', help='path of a config, or name of ours')
    parser.add_argument(
        'checkpoint', help='checkpoint file, or a file of ivit export'
    )
    engine.add_common_arguments(parser)
    parser.add_argument(
        '--out', metavar='FILE.pkl', help='write the predictions to this file'
    )
    parser.add_argument(
        '--show', action='store_true', help='show each prediction in a window'
    )
    parser.add_argument(
        '--show-dir', help='write pictures of the predictions to this folder'
    )
    parser.add_argument(
        '--wait-time',
        type=float,
        default=2,
        help='seconds that --show keeps a window (default: %(default)s)',
    )
    parser.add_argument(
        '--tta', action='store_true', help='test-time augmentation'
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='compile the backbone; the first step takes minutes',
    )
    args = parser.parse_args(argv)
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out {args.out}: the file must end with .pkl')
    return args


def draw_predictions(cfg: Config, args: argparse.Namespace) -> None:
    """Turn the task's visualization hook on, in place."""
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise engine.UsageError(
            '--show and --show-dir need a visualization hook; add to the '
            'config: default_hooks = dict(visualization=dict(type=...)) with '
            'DetVisualizationHook (mmdet), SegVisualizationHook (mmseg) or '
            'VisualizationHook (mmpretrain)'
        )
    folder = args.show_dir and str(Path(args.show_dir).absolute())
    kind = hook.type.rpartition('.')[2]
    hook.show = args.show
    hook.wait_time = args.wait_time
    if kind == 'VisualizationHook':
        if args.tta:
            raise engine.UsageError(
                "mmpretrain's VisualizationHook cannot draw augmented images: "
                'use --tta without --show and --show-dir'
            )
        hook.enable = True
        hook.interval = 1
        hook.out_dir = folder
        return
    hook.draw = True
    if kind == 'SegVisualizationHook' and folder:
        cfg.visualizer.save_dir = folder
        cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    elif folder:
        hook.test_out_dir = folder


def augment(cfg: Config) -> None:
    """Replace model and pipeline by the config's augmented ones, in place."""
    absent = [key for key in ('tta_model', 'tta_pipeline') if key not in cfg]
    if absent:
        raise engine.UsageError(
            f'--tta needs {" and ".join(absent)} in the config'
        )
    if (cfg.model.get('roi_head') or {}).get('mask_head'):
        raise engine.UsageError(
            "--tta: mmdet's DetTTAModel merges boxes, not masks. Leave the "
            'masks out: --cfg-options model.roi_head.mask_head=None '
            'test_evaluator.metric=bbox'
        )
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline


def refuse_for_files(args: argparse.Namespace) -> None:
    """Refuse options that an exported file has no use for."""
    options = dict(tta=args.tta, compile=args.compile)
    options['launcher'] = args.launcher != 'none'
    for name, is_given in options.items():
        if is_given:
            raise engine.UsageError(
                f'--{name} does not go with {args.checkpoint}: an exported '
                'file is run as it is, by one process'
            )


def test(args: argparse.Namespace) -> None:
    """Test as the command line says."""
    cfg = engine.load_config(
        args.config,
        args.cfg_options,
        args.work_dir,
        args.launcher,
        args.local_rank,
    )
    cfg.resume = False
    if args.checkpoint.endswith('.onnx'):
        import_export()  # its packages are an extra
        from ..export.model import use_file

        refuse_for_files(args)
        check_config(cfg, ('test',))
        use_file(cfg, args.checkpoint)
    else:
        engine.check_checkpoint_path(args.checkpoint)
        cfg.load_from = args.checkpoint
        engine.set_compile(cfg, args.compile)
        check_config(cfg, ('test',))
    if args.show or args.show_dir:
        draw_predictions(cfg, args)
    if args.tta:
        augment(cfg)
    runner = engine.build_runner(cfg, whole_checkpoint=True)
    if args.out:
        detection = cfg.get('default_scope') == 'mmdet'
        kind = 'mmdet.DumpDetResults' if detection else 'DumpResults'
        metric = dict(type=kind, out_file_path=args.out)
        runner.test_evaluator.metrics.append(METRICS.build(metric))
    runner.test()


def main(argv: Sequence[str] | None = None) -> None:
    """Test, and leave the group of processes."""
    args = parse_args(argv)
    with engine.one_line_errors():
        test(args)
    engine.leave_process_group()
