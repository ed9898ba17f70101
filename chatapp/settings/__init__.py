"""Settings: ``embedded`` (one machine, nothing else needed), ``production`` and ``test`` on ``base``."""
