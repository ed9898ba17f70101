-- ARGV: time, id, sequence number, reader ('' for none). nil when unknown, else whether it has ended, and the
-- entries with events after that number. A reader's process hears of later events from then on.
local id, reader = ARGV[2], ARGV[4]
if not known(id) then return nil end
local job = call('HMGET', key('job', id), 'ended', 'readers')
if reader ~= '' and not job[1] and not string.find(job[2] or '', reader, 1, true) then
  call('HSET', key('job', id), 'readers', (job[2] or '') .. reader .. ' ')
end
return { job[1] and 1 or 0, entries(id, tonumber(ARGV[3])) }
