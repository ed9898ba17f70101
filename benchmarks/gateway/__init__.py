"""What the product adds between a model server and a reader: ``python -m benchmarks.gateway``.

Read ``__main__`` first (which cases), then ``load`` (one case), ``clients`` (who reads), ``upstream`` (who writes),
``product``, ``peer`` and ``processes`` (what is between them), ``figures`` (what it comes to).
"""
