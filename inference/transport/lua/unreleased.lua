-- ARGV: time. Ids of jobs that have ended and that nobody has released, the longest ended first, at most MOST.
local MOST = 1000
call('ZREMRANGEBYSCORE', UNRELEASED_JOBS, '-inf', '(' .. exact(NOW - UNRELEASED))
return call('ZRANGE', UNRELEASED_JOBS, 0, MOST - 1)
