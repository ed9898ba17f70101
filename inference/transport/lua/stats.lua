-- ARGV: time, seconds a heartbeat counts. Returns the reports of living workers, how many jobs wait and run, since(),
-- and how many jobs went to the worker they preferred, and to another.
local alive = call('ZRANGEBYSCORE', key('seen'), exact(NOW - tonumber(ARGV[2])), '+inf')
local reports, running = {}, 0
for n, worker in ipairs(alive) do
  reports[n] = call('HGET', key('reports'), worker)
end
for _, worker in ipairs(call('ZRANGE', LEASES, 0, -1)) do
  running = running + call('SCARD', key('held', worker))
end
local sticky = call('HMGET', STATE, 'sticky_hits', 'sticky_misses')
return { reports, call('ZCARD', WAITING), running, since(), tonumber(sticky[1] or '0'), tonumber(sticky[2] or '0') }
