"""The tests of these programs are run where their libraries are: `python -m tests.bench.rivals.vouchers --run`."""

collect_ignore_glob = ["with_*"]
