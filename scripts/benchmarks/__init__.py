"""The figures of `scripts/bench`, measured on real server processes; docs/performance.md explains them."""
