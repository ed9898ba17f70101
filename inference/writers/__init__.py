"""What can write an answer for a worker: ``torch``, an engine of this process, and ``relay``, servers elsewhere."""
