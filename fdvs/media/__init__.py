"""From a path to frames and clips: containers, decoders, key frames, sampling."""
