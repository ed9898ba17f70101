"""Measurements. Each prints a table and writes ``results/*.json``; speeds are compared inside one run only."""
