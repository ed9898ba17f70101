"""The inference application: engine, worker, transport. Free of Django.

It runs with torch and transformers alone on a GPU machine; the web imports only
``messages``, ``transport``, ``fairness``, ``admission``, ``errors`` and ``capacity`` from here.
"""
