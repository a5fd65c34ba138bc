"""Adapters: small weights beside frozen ones, trained in their place."""
