"""Benchmarks: from what a user downloaded to a manifest, and from a run's answers to scores."""
