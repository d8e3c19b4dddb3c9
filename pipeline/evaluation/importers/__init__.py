"""The annotation files of the benchmarks, in each layout in which they are found."""
