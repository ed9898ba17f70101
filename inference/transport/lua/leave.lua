-- ARGV: time, id, reader. The reader's process has nobody left who reads this log.
local job = key('job', ARGV[2])
local readers = call('HGET', job, 'readers')
if readers then
  local rest = string.gsub(readers, ARGV[3] .. ' ', '')
  call('HSET', job, 'readers', rest)
end
