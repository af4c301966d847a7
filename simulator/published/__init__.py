"""Published training runs: read as rows, run as scenarios, compared with what was measured."""
