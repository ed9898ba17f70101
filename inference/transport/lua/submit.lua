-- ARGV: time, the job's fields (write_job). 1 when it is new.
since()
local id = ARGV[2]
if known(id) then return 0 end
write_job(2)
local conversation = ARGV[8]
local preferred = conversation ~= '' and call('GET', key('sticky', conversation))
if preferred and tonumber(call('ZSCORE', LEASES, preferred) or '0') >= NOW then
  call('HSET', key('job', id), 'prefers', preferred, 'prefers_until', exact(NOW + STICKY))
end
push(id, false)
wake('')
return 1
