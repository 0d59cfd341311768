# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A grid of trainings, each in a process of its own, that can be resumed.

::

    FOLDER/NAME/
      settings.json   the whole config, to tell other settings by
      config.py       the same for ``ivit train``
      log.txt         what the process said
      result.json     metrics of the last validation; the run is finished
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console

from ..engine import find_config
from ..nested import iterate_nested
from ..report.history import History

TRAIN = (sys.executable, '-m', 'ivit', 'train')
SHOWN = 5  # differing settings named in a message
END_OF_LOG = 25  # lines
# glibc hands the memory of each step back to the system and asks for it
# again; keeping it saves time (page faults).
KEEP_MEMORY = {
    'MALLOC_TRIM_THRESHOLD_': '8589934592',
    'MALLOC_MMAP_THRESHOLD_': '8589934592',
}


class RunFailed(RuntimeError):  # noqa: N818, as subprocess.TimeoutExpired
    """A training ended with an error; the message has the end of its log."""


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: Its folder in that of the study; may have slashes.
        config: See :func:`..engine.find_config`.
        options: Changes to the config, by dotted keys.
        needs: Names of runs, earlier in the list, that come first.
        late_options: Gives further options; called when ``needs`` are done.
        metric: The metric that the progress shows.
    """

    name: str
    config: str
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    late_options: Callable[[], Mapping[str, Any]] = dict
    metric: str = 'accuracy/top1'


def execute(
    runs: Sequence[Run],
    folder: str | Path,
    jobs: int = 1,
    command: Sequence[str] = TRAIN,
) -> dict[str, dict[str, Any]]:
    """Do the runs that are not finished, ``jobs`` at once.

    A finished one is not done again, an interrupted one goes on from its
    last checkpoint.

    Args:
        runs: In the order in which they start as far as ``needs`` allow.
        folder: Where each has its work dir.
        jobs: Processes at once; each has an equal share of the cores.
        command: What is called with the config and the options of
            ``ivit train``.

    Returns:
        By the names of the runs what their ``result.json`` have: ``metrics``
        of the last validation, ``seconds`` from the first log to the last
        (of all attempts), ``config`` and ``options``.

    Raises:
        ValueError: If a work dir has other settings, names are not unique,
            a run needs one that does not come before it, or ``jobs`` < 1.
        RunFailed: If a training fails. Those beside it are stopped.
    """
    if jobs < 1:
        raise ValueError(f'jobs={jobs} must be at least 1')
    _check_order(runs)
    folder = Path(folder).absolute()
    cores = os.cpu_count() or 1
    environment = {
        **os.environ,
        **KEEP_MEMORY,
        'OMP_NUM_THREADS': str(max(1, cores // jobs)),
    }
    results: dict[str, dict[str, Any]] = {}
    waiting = list(runs)
    running: list[_Attempt] = []
    progress = _Progress(len(runs))
    try:
        while waiting or running:
            for run in [
                run for run in waiting if results.keys() >= {*run.needs}
            ]:
                if len(running) == jobs:
                    break
                waiting.remove(run)
                attempt = _Attempt(run, folder / run.name)
                result = attempt.stored_result()
                if result is None:
                    attempt.start(command, environment)
                    running.append(attempt)
                else:
                    results[run.name] = result
                    progress.report(run, result, new=False)
            time.sleep(0.1 if running else 0)
            for attempt in [item for item in running if item.ended()]:
                running.remove(attempt)
                if attempt.wants_restart():
                    attempt.start(command, environment)
                    running.append(attempt)
                    continue
                result = results[attempt.run.name] = attempt.finish()
                progress.report(attempt.run, result, new=True)
    finally:
        for attempt in running:
            attempt.stop()
    return results


class _Attempt:
    """A run on its way."""

    def __init__(self, run: Run, work_dir: Path) -> None:
        self.run = run
        self.work_dir = work_dir
        self.options = {**run.options, **run.late_options()}
        self.cfg = _load(run.config, self.options)
        self.restarted = False
        work_dir.mkdir(parents=True, exist_ok=True)
        self._check_settings()

    def _check_settings(self) -> None:
        settings = json.loads(json.dumps(self.cfg.to_dict(), default=str))
        path = self.work_dir / 'settings.json'
        if not path.exists():
            write_json(path, settings)
            return
        old = _flatten(json.loads(path.read_text()))
        new = _flatten(settings)
        missing = object()
        differences = [
            f'{key} {old.get(key, "absent")} instead of '
            f'{new.get(key, "absent")}'
            for key in {**old, **new}
            if old.get(key, missing) != new.get(key, missing)
        ]
        if differences:
            more = len(differences) - SHOWN
            raise ValueError(
                f'{self.work_dir} has a run of other settings: '
                + ', '.join(differences[:SHOWN])
                + (f' and {more} more' if more > 0 else '')
                + '. Give another --work-dir, or remove this folder to train '
                'anew.'
            )

    def stored_result(self) -> dict[str, Any] | None:
        """What ``result.json`` has, if the run is finished."""
        path = self.work_dir / 'result.json'
        return json.loads(path.read_text()) if path.exists() else None

    def start(
        self, command: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        """Start the process; it goes on from the last checkpoint, if any."""
        config = self.work_dir / 'config.py'
        self.cfg.dump(str(config))
        arguments = [str(config), '--work-dir', str(self.work_dir), '--resume']
        with (self.work_dir / 'log.txt').open('a') as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def ended(self) -> bool:
        """Whether the process is over."""
        return self.process.poll() is not None

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait()

    def wants_restart(self) -> bool:
        """Whether nothing was left to do but the metrics are not there.

        A training that was interrupted in its last validation has a last
        checkpoint from which mmengine has nothing to go on with: it is done
        again.
        """
        last = self.work_dir / 'last_checkpoint'
        if (
            self.process.returncode
            or self.restarted
            or self._metrics() is not None
            or not last.exists()
        ):
            return False
        last.unlink()
        self.restarted = True
        return True

    def finish(self) -> dict[str, Any]:
        """Write and return the result of a process that is over."""
        metrics = self._metrics()
        code = self.process.returncode
        if code or metrics is None:
            why = f'exit status {code}' if code else 'no last validation'
            log = self.work_dir / 'log.txt'
            lines = log.read_text(errors='replace').splitlines()
            raise RunFailed(
                '\n'.join(lines[-END_OF_LOG:])
                + f'\n{self.run.name} failed ({why}); the whole log: {log}'
            )
        result = {
            'metrics': metrics,
            'seconds': round(self._seconds()),
            'config': self.run.config,
            'options': self.options,
        }
        write_json(self.work_dir / 'result.json', result)
        return result

    def _log_dirs(self) -> list[Path]:
        """The folder of mmengine for each attempt that logged anything."""
        paths = self.work_dir.glob('*/vis_data/scalars.json')
        return sorted(path.parents[1] for path in paths)

    def _metrics(self) -> dict[str, float] | None:
        """Metrics of a validation at the end of the training."""
        loop = self.cfg.train_cfg
        end = loop.get('max_epochs') or loop.get('max_iters')
        for path in reversed(self._log_dirs()):
            for record in reversed(History.read(path).val):
                if record.pop('step') == end:
                    return record
        return None

    def _seconds(self) -> float:
        """From the time in the folder's name to the last line of its log."""
        return sum(
            (path / 'vis_data' / 'scalars.json').stat().st_mtime
            - time.mktime(time.strptime(path.name, '%Y%m%d_%H%M%S'))
            for path in self._log_dirs()
        )


class _Progress:
    """One line for each run, with the time that those left may take."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = self.new = 0
        self.start = time.time()
        self.console = Console(highlight=False, soft_wrap=True)

    def report(self, run: Run, result: Mapping[str, Any], new: bool) -> None:
        """Tell that a run is finished, now or earlier."""
        self.done += 1
        self.new += new
        left = self.total - self.done
        line = f'[{self.done}/{self.total}] {run.name}: {run.metric} '
        value = result['metrics'].get(run.metric)
        line += 'n/a, ' if value is None else f'{value:.4g}, '
        line += f'{result["seconds"]} s' if new else 'finished earlier'
        if left and self.new:
            seconds = (time.time() - self.start) / self.new * left
            line += f'; {left} left, some {seconds / 60:.0f} min'
        self.console.print(line, markup=False)


def _check_order(runs: Sequence[Run]) -> None:
    names: set[str] = set()
    for run in runs:
        if run.name in names:
            raise ValueError(
                f'two runs have the name {run.name!r}; give every seed once'
            )
        for name in run.needs:
            if name not in names:
                raise ValueError(
                    f'{run.name} needs {name!r}, which is not before it in '
                    'the list of runs'
                )
        names.add(run.name)


def _load(config: str, options: Mapping[str, Any]) -> Config:
    cfg = Config.fromfile(find_config(config), import_custom_modules=False)
    cfg.merge_from_dict(dict(options))
    return cfg


def _flatten(settings: dict[str, Any]) -> dict[str, Any]:
    """The values that hold no others, by their dotted keys."""
    return {
        key: value
        for key, value in iterate_nested(settings)
        if not (value and isinstance(value, (dict, list)))
    }


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that the file is whole or absent.

    Args:
        path: The file; it is replaced.
        content: What ``json.dumps`` takes; anything else in it as text.
    """
    new = path.with_suffix('.new')
    new.write_text(json.dumps(content, indent=2, default=str) + '\n')
    new.replace(path)
