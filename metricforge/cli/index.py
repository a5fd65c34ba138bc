"""``metricforge index``: builds an index, changes it, and shows its state."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from metricforge.calibration import Calibration
from metricforge.cli.console import open_console
from metricforge.cli.next_command import next_command
from metricforge.cli.parsers.embed import workers_of
from metricforge.cli.stored_source import stored_source
from metricforge.cli.unreadable_images import unreadable_lines
from metricforge.deployment.image_collection import open_collection
from metricforge.deployment.stored_embeddings import holds_embeddings
from metricforge.errors import EmbeddingsError
from metricforge.index import SearchIndex
from metricforge.index.build import build_index, index_embeddings
from metricforge.index.indexed_model import open_indexed_model
from metricforge.index.planning import why_missed
from metricforge.progress_bars import progress_bar, progress_bars

# PyTorch is imported by what embeds images: embeddings are indexed, and an index is changed and described, without.
console = open_console()


def build(arguments: argparse.Namespace) -> None:
    """Build the index, and print what was measured."""
    options: dict[str, Any] = dict(
        kind=arguments.kind, memory=arguments.memory, recall=arguments.recall, segment_rows=arguments.segment_rows
    )
    unreadable: list[tuple[str, str]] = []
    if holds_embeddings(arguments.source):
        stored = stored_source(arguments)
        with open_indexed_model(arguments.model) as described:
            calibration = described.calibration
            _say(f"model    {described}")
            _say(f"images   {len(stored):,} with embeddings in {stored.folder}, computed in {stored.origin.precision}")
            with progress_bars(console, len(stored), "indexing") as (indexed,):
                index = index_embeddings(described, stored, arguments.out, on_indexed=indexed, **options)
    else:
        from metricforge.deployment import load_model

        collection = open_collection(arguments.source, glob=arguments.glob, lines=sys.stdin)
        model = load_model(arguments.model, device=arguments.device)
        calibration = model.calibration
        _say(f"model    {model}")
        _say(f"images   {len(collection):,} in {collection.source}")
        for left in collection.left_out:
            _say(f"         {left.describe()}")
        with progress_bars(console, len(collection), "embedding", "indexing") as (embedded, indexed):
            index = build_index(
                model,
                collection,
                arguments.out,
                num_workers=workers_of(arguments),
                on_images=embedded,
                on_indexed=indexed,
                on_unreadable=unreadable.extend,
                **options,
            )
    _say("")
    if unreadable:
        from metricforge.deployment.embed_collection import unreadable_path

        for line in unreadable_lines(unreadable, "are not in the index", unreadable_path(arguments.out)):
            _say(line)
    _describe(index)
    if index.calibration is None:
        why = _why_not_calibrated(calibration, len(index))
        _say(f"unknown  {why}: {next_command('index', 'calibrate', arguments.out)}")
    _say(f"\nsearch it: {next_command('search', arguments.out, index.snapshot().tables[0]['path'][0])}")


def add(arguments: argparse.Namespace) -> None:
    """Add images."""
    index = SearchIndex(arguments.index, device=arguments.device)
    next_id = index.manifest.next_id
    ids = index.add(open_collection(arguments.source, glob=arguments.glob, lines=sys.stdin))
    added = sum(image >= next_id for image in ids)
    _say(f"{added:,} images added, {len(ids) - added:,} replaced; {len(index):,} in {arguments.index} now")


def remove(arguments: argparse.Namespace) -> None:
    """Remove images."""
    if not (arguments.paths or arguments.ids or arguments.filter):
        raise EmbeddingsError("nothing to remove: name images by path, --id or --filter")
    index = SearchIndex(arguments.index)
    removed = index.remove(arguments.ids, arguments.paths, arguments.filter)
    _say(f"{removed:,} images removed; {len(index):,} in {arguments.index} now")


def calibrate(arguments: argparse.Namespace) -> None:
    """Calibrate the index, and say what its threshold does."""
    index = SearchIndex(arguments.index, device=arguments.device)
    if arguments.source is None and arguments.device is not None and index.model.learner.similarity.search is not None:
        raise EmbeddingsError(
            f"--device is for embedding images, but without SOURCE the embeddings in {arguments.index} are compared; "
            "leave --device out, or name a SOURCE"
        )
    found = index.calibrate(arguments.source, arguments.rate)
    _say(
        f"threshold {found.threshold:.4f}, on {found.queries:,} queries of {found.classes:,} classes\n"
        f"accepts   {100 * found.accepted:.1f} % of the queries whose class is there, by a right image\n"
        f"mistakes  {100 * found.rate:.2f} % of the queries of unknown classes are accepted; of other classes between "
        f"{100 * found.low:.2f} and {100 * found.high:.2f} % ({100 * found.confidence:.0f} % interval, by classes)"
    )
    _say("searching now says how likely each image is of the query's class, and where there is no match")


def compact(arguments: argparse.Namespace) -> None:
    """Merge all segments into one."""
    index = SearchIndex(arguments.index)
    segments = len(index.manifest.segments)
    index.compact()
    _say(f"{segments:,} segments became {len(index.manifest.segments):,}, with {len(index):,} images")


def migrate(arguments: argparse.Namespace) -> None:
    """Embed the index's images again with another model."""
    from metricforge.deployment import load_model

    index = SearchIndex(arguments.index)
    model = load_model(arguments.model, device=arguments.device)
    calibrated = index.calibration is not None
    _say(f"model    {model}")
    with progress_bar(console, "embedding", len(index)) as advance:
        done = index.migrate(
            model, drop_unreadable=arguments.drop_unreadable, num_workers=arguments.workers, on_images=advance
        )
    for path, fault in done.dropped:
        _say(f"removed  {path}: {fault}")
    if done.taken_up:
        _say(f"{done.taken_up:,} images had been embedded by an earlier start")
    _describe(index)
    if calibrated and index.calibration is None:
        again = next_command("index", "calibrate", arguments.index)
        _say(f"\nthe threshold was of the old model; choose a new one: {again}")


def export(arguments: argparse.Namespace) -> None:
    """Write the index for a vector database."""
    from metricforge.index.databases import export_index

    index = SearchIndex(arguments.index)
    with progress_bar(console, "writing", len(index)) as advance:
        done = export_index(index, arguments.to, arguments.out, name=arguments.name, on_images=advance)
    _say(f"{done.images:,} images of {arguments.index} are in {arguments.out}, {done.target} {done.name!r}")
    _say(f"distance {done.distance}; {done.query}")
    _say(f"model    {done.model}; embed queries with it: metricforge.load_index({str(arguments.index)!r}).model.embed")


def status(arguments: argparse.Namespace) -> None:
    """Print the state of the index."""
    index = SearchIndex(arguments.index)
    if arguments.json:
        print(json.dumps({"images": len(index), **_state(index)}, indent=2))
        return
    _describe(index)


def _state(index: SearchIndex) -> dict[str, Any]:
    manifest = index.manifest
    return {
        "dimensions": manifest.dim,
        "kind": manifest.kind,
        "model": manifest.model_hash,
        "generation": manifest.generation,
        "segments": len(manifest.segments),
        "columns": index.snapshot().table().column_names,
        "measured": dict(manifest.measured),
        "calibrated": manifest.calibration is not None,
    }


def _describe(index: SearchIndex) -> None:
    state = _state(index)
    _say(f"index    {index.path}: {len(index):,} images, {state['dimensions']} dimensions, kind {state['kind']}")
    _say(f"columns  {', '.join(state['columns'])}")
    measured: Mapping[str, Any] = state["measured"]
    if measured:
        _say(
            f"measured recall@1 {measured['recall@1']:.3f} and recall@10 {measured['recall@10']:.3f} of exact search, "
            f"{measured['milliseconds_a_query']:.2f} ms a query, {measured['bytes_a_vector']:,.0f} bytes a vector "
            f"(on {measured['sample']} of its images, when it was built)"
        )
        missed = why_missed(
            state["kind"], len(index), state["dimensions"], measured["recall@10"], measured["wanted_recall"]
        )
        if missed:
            _say(f"missed   recall@10 {missed}")
    if index.calibration is not None:
        _say(f"unknown  {index.calibration.describe()}")
        unfit = index.calibration.unfit_for(len(index))
        if unfit:
            _say(f"         {unfit}; choose a new one: {next_command('index', 'calibrate', index.path)}")


def _why_not_calibrated(calibration: Calibration | None, images: int) -> str:
    if calibration is None:
        return "search gives no 'no match': training had too few validation classes to choose a threshold; choose one"
    return f"the model's calibration is not used: {calibration.unfit_for(images)}; choose another"


def _say(text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
