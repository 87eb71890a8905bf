"""The only place that wires stages to models: presets, build, library, command line."""
