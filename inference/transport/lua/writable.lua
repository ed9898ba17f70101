-- Before anything else, what a server fails that has no memory left or may not write: a script that has begun is not
-- taken back, and what needs no memory would be done, and the rest of it not.
call('HSET', STATE, 'writable', 1)
