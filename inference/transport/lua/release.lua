-- ARGV: time, id. The answer is in the database: the log goes when its retention is over.
local id = ARGV[2]
call('ZREM', UNRELEASED_JOBS, id)
local ended = call('HGET', key('job', id), 'ended')
if not ended then return end
local gone_at = tonumber(ended) + RETENTION
call('HSET', key('job', id), 'gone_at', exact(gone_at))
local seconds = math.max(1, math.ceil(gone_at - NOW))
call('EXPIRE', key('job', id), seconds)
call('EXPIRE', key('log', id), seconds)
