"""An index over HTTP: an API, and a page to search with an image in a browser. It needs the extra ``serve``."""
