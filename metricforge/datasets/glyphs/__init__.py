"""The embedded data set: characters drawn from fonts."""
