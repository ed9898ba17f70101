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
  forget_holder(id, job[2])
  call('SADD', key('lost', job[2]), id)
  call('EXPIRE', key('lost', job[2]), 3600)
  hand_over(id)
else
  call('SADD', key('cancels', job[2]), id)
  wake(job[2])
end
send_outbox()
