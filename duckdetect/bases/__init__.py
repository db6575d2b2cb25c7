"""One adapter for each engine that base models come from; the only rooms that know the engine."""
