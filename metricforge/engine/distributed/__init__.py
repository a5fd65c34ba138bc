"""Several processes that give the gradient of one: start, gather with gradient, sharded parameters."""
