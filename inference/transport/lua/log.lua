-- ARGV: time, id, sequence number, reader ('' for none). nil when unknown, else whether it has ended, and the
-- entries with events after that number. A reader's process hears of later events from then on.
local id, reader = ARGV[2], ARGV[4]
if not known(id) then return nil end
local job = call('HMGET', key('job', id), 'ended', 'readers', 'holder')
if reader ~= '' and not job[1] and not string.find(job[2] or '', reader, 1, true) then
  call('HSET', key('job', id), 'readers', (job[2] or '') .. reader .. ' ')
  if job[3] ~= '' then call('SADD', key('audience', job[3]), reader) end
end
return { job[1] and 1 or 0, entries(id, tonumber(ARGV[3])) }
