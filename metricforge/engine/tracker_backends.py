"""Where a run's losses and scores may also go: TensorBoard, Weights & Biases, MLflow, through mmengine's visualizer.

mmengine's back-ends for the last two have faults. What is wrong with each is said beside what takes its place under the
same name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.registry import VISBACKENDS, VISUALIZERS
from mmengine.visualization import MLflowVisBackend, WandbVisBackend
from mmengine.visualization.vis_backend import force_init_env

from metricforge.arrays import Bytes
from metricforge.component_arguments import argument_faults
from metricforge.spelling import nearest

# the module that a back-end imports, and what installs it
PACKAGES = {
    "TensorboardVisBackend": ("tensorboard", '"metricforge[tensorboard]"'),
    "WandbVisBackend": ("wandb", '"metricforge[wandb]"'),
    "MLflowVisBackend": ("mlflow", '"metricforge[mlflow]"'),
    "ClearMLVisBackend": ("clearml", "clearml"),
    "NeptuneVisBackend": ("neptune", "neptune"),
    "DVCLiveVisBackend": ("dvclive", "dvclive pygit2"),
    "AimVisBackend": ("aim", "aim"),
}
DRAWING = ("captum", "jinja2", "umap")  # what pictures of a report need


def tracker_faults(visualizer: Any) -> Iterator[str]:
    """What is wrong with the back-ends of a config's ``visualizer``, such as a package that is not installed."""
    if not isinstance(visualizer, Mapping):
        return
    backends = visualizer.get("vis_backends") or []
    if not isinstance(backends, (list, tuple)):
        yield f"visualizer.vis_backends: {backends!r} must be a list, such as [dict(type='LocalVisBackend')]"
        return
    kind = visualizer.get("type")
    if not isinstance(kind, str) or kind not in VISUALIZERS.module_dict:
        yield f"visualizer.type: {kind!r} must be one of {', '.join(sorted(VISUALIZERS.module_dict))}"
    else:
        yield from argument_faults(VISUALIZERS.module_dict[kind], visualizer, "visualizer", {})
    for number, backend in enumerate(backends):
        path = f"visualizer.vis_backends[{number}]"
        name = backend.get("type") if isinstance(backend, Mapping) else None
        if name is None:
            yield f"{path}: {backend!r} must be a dict with a type"
        elif isinstance(name, str) and name in VISBACKENDS.module_dict:
            yield from argument_faults(VISBACKENDS.module_dict[name], backend, path, {"save_dir": None})
        if name is not None and name not in VISBACKENDS.module_dict:
            yield f'{path}.type: "{name}" is not a known back-end{nearest(str(name), sorted(VISBACKENDS.module_dict))}'
        if name in PACKAGES and find_spec(PACKAGES[name][0]) is None:
            module, install = PACKAGES[name]
            yield f"{path}: {name} needs the package {module}, which is not installed; pip install {install}"


def picture_faults(hooks: Any, visualizer: Any) -> Iterator[str]:
    """Why a ``PictureHook`` among ``custom_hooks`` would draw for nobody, or cannot draw."""
    for number, hook in enumerate(hooks if isinstance(hooks, (list, tuple)) else []):
        if not isinstance(hook, Mapping) or hook.get("type") != "PictureHook":
            continue
        backends = visualizer.get("vis_backends") if isinstance(visualizer, Mapping) else None
        names = [one.get("type") for one in backends or [] if isinstance(one, Mapping)]
        if not set(names) & PACKAGES.keys():
            yield (
                f"custom_hooks[{number}]: PictureHook draws for the back-ends of visualizer.vis_backends, and there is "
                "none; name one, such as TensorboardVisBackend, or leave it out and use metricforge report RUN --png"
            )
        missing = [name for name in DRAWING if find_spec(name) is None]
        if missing:
            yield (
                f"custom_hooks[{number}]: PictureHook needs {', '.join(missing)}, which are not installed; "
                'pip install "metricforge[report]"'
            )


@VISBACKENDS.register_module(name="WandbVisBackend", force=True)
class IterationWandbBackend(WandbVisBackend):
    """mmengine's, with the iteration as the axis of every curve, where mmengine's counts its calls."""

    def _init_env(self) -> None:
        super()._init_env()
        self._wandb.define_metric("*", step_metric="iteration")

    @force_init_env
    def add_scalars(self, scalar_dict: dict[str, Any], step: int = 0, file_path: Any = None, **kwargs: Any) -> None:
        self._wandb.log({**scalar_dict, "iteration": step})

    @force_init_env
    def add_image(self, name: str, image: Bytes, step: int = 0, **kwargs: Any) -> None:
        self._wandb.log({name: self._wandb.Image(image), "iteration": step})


@VISBACKENDS.register_module(name="MLflowVisBackend", force=True)
class DatabaseMLflowBackend(MLflowVisBackend):
    """mmengine's, into a database, with names that MLflow takes.

    mmengine's writes into folders, which MLflow refuses since version 3, passes names such as ``recall@1`` on, which
    it refuses too (here ``recall_at_1``), and looks for the run's folder where there is none. ``tracking_uri`` is by
    default ``mlflow.db`` in the run's folder, and pictures then go into ``mlartifacts`` beside it: into the experiment
    "metricforge" if ``exp_name`` is None, because MLflow's own, "Default", keeps them in the current folder.
    """

    def __init__(self, save_dir: str, tracking_uri: str | None = None, **arguments: Any) -> None:
        if tracking_uri is None:
            folder = Path(save_dir).resolve()
            tracking_uri = f"sqlite:///{folder / 'mlflow.db'}"
            arguments["exp_name"] = arguments.get("exp_name") or "metricforge"
            arguments["artifact_location"] = arguments.get("artifact_location") or (folder / "mlartifacts").as_uri()
        super().__init__(save_dir, tracking_uri=tracking_uri, **arguments)

    def _init_env(self) -> None:
        import mlflow  # slow, and an extra: only where a config asks for it

        self._mlflow = mlflow
        Path(self._save_dir).mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(self._tracking_uri)
        name = self._exp_name or "Default"
        if self._artifact_location is not None and mlflow.get_experiment_by_name(name) is None:
            mlflow.create_experiment(name, artifact_location=self._artifact_location)
        mlflow.set_experiment(name)
        mlflow.start_run(run_name=self._run_name, tags=self._tags)
        mlflow.log_params(self._params or {})

    @force_init_env
    def add_scalars(self, scalar_dict: dict[str, Any], step: int = 0, file_path: Any = None, **kwargs: Any) -> None:
        names = {name: re.sub(r"[^\w\-./ ]", "_", name.replace("@", "_at_")) for name in scalar_dict}
        self._mlflow.log_metrics({names[name]: value for name, value in scalar_dict.items()}, step)

    @force_init_env
    def add_image(self, name: str, image: Bytes, step: int = 0, **kwargs: Any) -> None:
        self._mlflow.log_image(image, f"{name}_{step}.png")  # an artifact; mmengine's name has no ending

    def close(self) -> None:
        if hasattr(self, "_mlflow"):
            self._mlflow.end_run()
