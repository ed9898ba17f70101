-- ARGV: time, worker, attempt, 1 when the last event ends it, the events (read_events), the job's fields
-- (write_job). 1 when the worker holds the job now, or its end is in the log.
local worker, id = ARGV[2], ARGV[6]
if known(id) then
  local job = call('HMGET', key('job', id), 'holder', 'ended')
  if job[2] or (job[1] ~= '' and job[1] ~= worker) then return 0 end
  unqueue(id)
else
  write_job(6)
end
call('HSET', key('job', id), 'attempts', ARGV[3])
hold(id, worker)
append(id, read_events(ARGV[5]), ARGV[4] == '1')
settle()
send_outbox()
return 1
