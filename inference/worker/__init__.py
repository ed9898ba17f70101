"""The worker process, ``python -m inference.worker``: it claims jobs, has a writer write them and publishes the text.

``command`` reads the options, ``loop`` is the thread that owns the writer, ``link`` talks to the transport meanwhile.
"""
