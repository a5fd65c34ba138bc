"""``metricforge submit CONFIG``: train on a Slurm cluster, and go on there when the job's time is over."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from metricforge.cli.console import open_console
from metricforge.cli.stopped import was_stopped
from metricforge.engine.chosen_device import chosen_device
from metricforge.errors import ConfigError, MetricForgeError
from metricforge.overrides import format_override
from metricforge.runner import check_job

WARNING_SECONDS = 120
CPUS_PER_TASK = 4


class Training:
    """What a process of the job does; ``submitit`` pickles it.

    Args:
        words: the arguments of ``metricforge train``.
    """

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def __call__(self) -> None:
        """Train; where Slurm's warning ended it, queue the job again."""
        from submitit.helpers import TorchDistributedEnvironment

        from metricforge.cli.main import main

        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        try:
            main(["train", *self.words, "--resume", "auto"])
        except SystemExit as end:
            if not was_stopped(end):
                if end.code:
                    raise RuntimeError(f"metricforge train ended with {end.code}; its messages stand above") from end
            elif os.environ.get("RANK") == "0" and "SLURM_JOB_ID" in os.environ:
                subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=True)

    def checkpoint(self, *args: Any) -> Any:
        """Tell submitit how to go on after a warning that came before training began."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(arguments: argparse.Namespace) -> None:
    """Submit the training that ``arguments`` describe, and say how to follow it.

    Raises:
        ConfigError: without submitit, Slurm or a folder, or for a job that cannot be.
        MetricForgeError: if a local job failed.
    """
    try:
        import submitit
    except ImportError as error:
        raise ConfigError(["submitit is missing: pip install 'metricforge[slurm]'"], "the environment") from error
    if not arguments.work_dir:
        raise ConfigError(["--work-dir: is required, so that a requeued job finds its run"], "the command")
    _refuse_odd_jobs(arguments)
    count = arguments.nodes * arguments.tasks_per_node
    check_job(arguments.config, arguments.cfg_options, arguments.seed, count)
    words = [arguments.config, "--work-dir", str(Path(arguments.work_dir).absolute())]
    for name in ("seed", "device"):
        if getattr(arguments, name) is not None:
            words += [f"--{name}", str(getattr(arguments, name))]
    if arguments.cfg_options:
        words += ["--cfg-options", *(format_override(key, value) for key, value in arguments.cfg_options.items())]
    on_gpus = arguments.device != "cpu" and (arguments.cluster == "slurm" or chosen_device(None).type == "cuda")
    executor = submitit.AutoExecutor(
        folder=str(Path(arguments.work_dir) / "slurm" / "%j"), cluster=arguments.cluster, slurm_python=sys.executable
    )
    parameters = {
        "name": Path(arguments.work_dir).name,
        "nodes": arguments.nodes,
        "tasks_per_node": arguments.tasks_per_node,
        "timeout_min": arguments.minutes,
        "cpus_per_task": arguments.cpus_per_task or CPUS_PER_TASK,
        "gpus_per_node": arguments.tasks_per_node if on_gpus else 0,
        "slurm_signal_delay_s": WARNING_SECONDS,
    }
    if arguments.partition:
        parameters["slurm_partition"] = arguments.partition
    executor.update_parameters(**parameters)
    try:
        job = executor.submit(Training(words))
    except submitit.core.utils.FailedJobError as error:
        said = next((line for line in reversed(str(error).splitlines()) if line.strip()), "it does not say why")
        raise MetricForgeError(f"Slurm does not take the job: {said.strip()}") from error
    console = open_console()
    console.print(f"submitted job {job.job_id}: {count} processes", highlight=False)
    console.print(f"its output is in {job.paths.stdout} and {job.paths.stderr}", highlight=False, soft_wrap=True)
    if arguments.cluster == "local":
        try:
            job.results()
        except submitit.core.utils.UncompletedJobError as error:
            raise MetricForgeError(
                f"job {job.job_id} failed; what it says is in {job.paths.stderr} and {job.paths.stdout}"
            ) from error


def _refuse_odd_jobs(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for a job that no cluster can run, or that is warned of its end as it begins."""
    if arguments.minutes * 60 <= WARNING_SECONDS:
        raise ConfigError(
            [
                f"--minutes: {arguments.minutes} must be more than {WARNING_SECONDS // 60}, because the run is saved "
                "that many minutes before the limit"
            ],
            "the command",
        )
    if arguments.cluster == "local" and arguments.nodes > 1:
        raise ConfigError(
            [
                f"--nodes: {arguments.nodes} machines, but --cluster local has only this one; use --tasks-per-node "
                "instead"
            ],
            "the command",
        )
    given = {"--partition": arguments.partition, "--cpus-per-task": arguments.cpus_per_task}
    for name, value in given.items() if arguments.cluster == "local" else ():
        if value is not None:
            raise ConfigError(
                [f"{name}: {value} is for Slurm, and --cluster local has no effect of it; leave it out"], "the command"
            )
    if arguments.cluster == "local":
        chosen_device(arguments.device)
    if arguments.cluster == "slurm" and shutil.which("srun") is None:
        raise ConfigError(
            ["--cluster slurm: this machine has no srun; submit from a machine of the cluster, or try --cluster local"],
            "the command",
        )
