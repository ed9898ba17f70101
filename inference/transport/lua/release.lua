-- ARGV: time, id. The answer is in the database: the log goes when its retention is over.
local id = ARGV[2]
call('ZREM', UNRELEASED_JOBS, id)
if not known(id) then return end
local job = call('HMGET', key('job', id), 'ended', 'holder')
local ended = job[1]
if not ended then
  -- The database knows better: its end was lost.
  if not unqueue(id) and job[2] ~= '' then lose(id, job[2]) end
  end_unheld(id, 'cancelled', '', '')
  send_outbox()
  call('ZREM', UNRELEASED_JOBS, id)
  ended = exact(NOW)
end
local gone_at = tonumber(ended) + RETENTION
call('HSET', key('job', id), 'gone_at', exact(gone_at))
local seconds = math.max(1, math.ceil(gone_at - NOW))
call('EXPIRE', key('job', id), seconds)
call('EXPIRE', key('log', id), seconds)
