"""From a file to pixels: JPEG headers, reduced decoding, the cache of resized images."""
