"""The result of a simulation and its renderers: text, JSON, HTML and Chrome trace."""
