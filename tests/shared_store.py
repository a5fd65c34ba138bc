"""A store of one process, as torch's TCPStore behaves."""

from __future__ import annotations


class SharedStore(dict):
    def set(self, key, value):
        self[key] = value

    def get(self, key):
        return self[key].encode()

    def check(self, keys):
        return all(key in self for key in keys)

    def compare_set(self, key, expected, desired):
        return self.setdefault(key, desired).encode()
