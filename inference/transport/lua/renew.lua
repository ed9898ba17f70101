-- ARGV: time, worker, its '<kind>:<model>', its report ('' for none). Returns the jobs to stop, those lost, and the memory's name:
-- another one begins with since(), and where a replica takes over, which may not have heard of all that workers told.
local OLD_TAPE = 30 -- seconds: words of ended answers are on it
local worker = ARGV[2]
local left = call('TTL', key('tape', worker))
if left >= 0 and left < UNRELEASED - OLD_TAPE then file_tape(worker) end
are_leases_kept()
if call('EXISTS', key('held', worker)) == 1 then call('ZADD', LEASES, exact(NOW + LEASE), worker) end
if ARGV[4] ~= '' then
  call('HSET', key('models'), worker, ARGV[3])
  call('HSET', key('reports'), worker, ARGV[4])
  call('ZADD', key('seen'), exact(NOW), worker)
  call('ZADD', LEASES, exact(NOW + LEASE), worker)
  for _, gone in ipairs(call('ZRANGEBYSCORE', key('seen'), '-inf', exact(NOW - 3600))) do
    for _, name in ipairs({ 'models', 'reports', 'requests', 'flushes' }) do
      call('HDEL', key(name), gone)
    end
    call('ZREM', key('seen'), gone)
    call('DEL', key('claimed', gone))
  end
end
local lost = call('SMEMBERS', key('lost', worker))
call('DEL', key('lost', worker))
local replication = redis.pcall('INFO', 'replication')
local history = type(replication) == 'string' and string.match(replication, 'master_replid:(%x+)') or ''
return { call('SMEMBERS', key('cancels', worker)), lost, since() .. ' ' .. history }
