"""Speed, latency and memory of the networks, their layers and the plugin, as `scripts/benchmark.py` reports them."""
