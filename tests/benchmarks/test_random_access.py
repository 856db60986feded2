from __future__ import annotations


def test_every_reader_is_timed(benchmark_module, capsys):
    benchmark_module("random_access").main(["--cases", "2", "--nodes", "100", "--rounds", "1"])
    printed = capsys.readouterr().out
    for name in ("store, lz4, 16384 rows: as published", "zarr-python, zstd", "published NPZ"):
        assert name in printed
