"""What needs validation classes that a config does not set aside, or sets them aside for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metricforge.component_arguments import is_component
from metricforge.config_check.keyword_faults import keyword_faults
from metricforge.engine.optim.trial_step import failure
from metricforge.engine.readout.beginning import beginning_of
from metricforge.engine.readout.readout_options import ReadoutOptions


def unread_validation(config: Mapping[str, Any]) -> list[str]:
    """What reads validation scores that there will not be, or scores that nothing reads."""
    never = config.get("train_cfg") and config["train_cfg"].get("val_interval", 1) == 0
    if config.get("validation") is not None:
        return [
            "train_cfg.val_interval: 0 never validates, so the classes of validation are set aside for nothing; "
            "leave it out, or set validation=None"
        ] * bool(never)
    way_out = "set training classes aside (validation=0.1)"
    doctor = config.get("doctor") or {}
    best = (config.get("checkpoint") or {}).get("save_best")
    faults = [
        f"checkpoint.save_best: {best!r} is a score of validation classes, and there are none; {way_out}, or "
        "leave it out: the weights of the last epoch score the test"
    ] * bool(best)
    if isinstance(doctor, Mapping) and doctor.get("gap") is not None:
        faults.append(f"doctor.gap: {doctor['gap']!r} needs validation classes, and there are none; {way_out}")
    for number, hook in enumerate(config.get("custom_hooks") or []):
        if isinstance(hook, Mapping) and ("monitor" in hook or hook.get("type") == "EarlyStoppingHook"):
            score = hook.get("monitor", "recall@1")
            faults.append(f"custom_hooks[{number}].monitor: {score!r} needs a validation, and there is none; {way_out}")
    return faults


def readout_faults(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with a readout, or keeps one that the config asks for from taking effect."""
    options = config["readout"]
    faults = keyword_faults(ReadoutOptions, options, "readout", set()) or failure(
        lambda: ReadoutOptions(**options), "readout"
    )
    if config.get("validation") in (None, "test"):
        seen = "there are none" if config.get("validation") is None else 'validation="test" has the test classes alone'
        faults.append(
            f"readout: chooses on validation classes, and {seen}; set training classes aside (validation=0.1), or "
            "leave readout out, or set it to None"
        )
    backbone = (config.get("model") or {}).get("backbone")
    shares = options.get("interpolations") if isinstance(options, Mapping) else None
    if shares and isinstance(backbone, Mapping) and is_component(backbone):
        between = beginning_of(backbone).nothing_between
        if between:
            faults.append(
                f"readout.interpolations: {shares!r} need pretrained weights: {between}; leave them out, or name some "
                "(model.backbone.pretrained=True or weights=FILE)"
            )
    return faults
