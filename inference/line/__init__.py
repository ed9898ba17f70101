"""Who goes next, how long that takes and who may join the line. Pure: no I/O, no threads, the clock is given."""
