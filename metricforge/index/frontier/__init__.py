"""What fewer dimensions, fewer bits and approximate search cost: accuracy, bytes and milliseconds of each choice."""

from metricforge.index.frontier.choice import Frontier
from metricforge.index.frontier.measuring import count_matches, measure_frontier
from metricforge.index.frontier.plan import plan_frontier

__all__ = ["Frontier", "count_matches", "measure_frontier", "plan_frontier"]
