-- ARGV: time, id.
local id = ARGV[2]
if not known(id) then return end
local job = call('HMGET', key('job', id), 'ended', 'holder')
if job[1] then return end
call('HSET', key('job', id), 'cancelled', 1)
if unqueue(id) then
  end_unheld(id, 'cancelled', '', '')
elseif tonumber(call('ZSCORE', LEASES, job[2]) or '0') < NOW then
  -- Its worker is gone, and there may be no other to find that out.
  lose(id, job[2])
  hand_over(id)
else
  call('SADD', key('cancels', job[2]), id)
  wake(job[2])
end
send_outbox()
