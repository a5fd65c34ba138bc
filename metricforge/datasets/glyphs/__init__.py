"""The built-in data set: characters drawn from fonts."""
