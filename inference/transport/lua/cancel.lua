-- ARGV: time, id.
local id = ARGV[2]
if not known(id) then return end
local job = call('HMGET', key('job', id), 'ended', 'holder')
if job[1] then return end
call('HSET', key('job', id), 'cancelled', 1)
if unqueue(id) then
  end_unheld(id, 'cancelled', '', '')
  send_outbox()
else
  call('SADD', key('cancels', job[2]), id)
  wake(job[2])
end
