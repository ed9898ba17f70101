-- ARGV: time. Ids of the jobs that wait or that a worker holds.
local ids = call('ZRANGE', WAITING, 0, -1)
for _, worker in ipairs(call('ZRANGE', LEASES, 0, -1)) do
  for _, id in ipairs(call('SMEMBERS', key('held', worker))) do ids[#ids + 1] = id end
end
return ids
