"""The rank of each match without a sorted ranking: two prefilters, and the counter that settles ties exactly."""
