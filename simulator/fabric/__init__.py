"""The network link by link: topologies, routes, and what flows that share links get of them."""
