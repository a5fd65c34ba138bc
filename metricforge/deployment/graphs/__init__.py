"""A model as a graph for other runtimes, compared with the model before it is handed out."""
