"""What `scripts/bench` measures, on real processes of the server; docs/performance.md says what the figures mean."""
