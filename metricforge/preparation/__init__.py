"""Gets the benchmarks: downloads, checks, unpacks, and gives a folder its name only when it is whole."""

from metricforge.preparation.benchmarks import BENCHMARKS, Archive, Benchmark
from metricforge.preparation.fetch import fetch_archive
from metricforge.preparation.prepare import prepare
from metricforge.preparation.shard_index import IndexedShards, expand_shards, index_shards
from metricforge.preparation.unpack import unpack

__all__ = [
    "BENCHMARKS",
    "Archive",
    "Benchmark",
    "IndexedShards",
    "expand_shards",
    "fetch_archive",
    "index_shards",
    "prepare",
    "unpack",
]
