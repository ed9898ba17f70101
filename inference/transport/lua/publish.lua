-- ARGV: time, worker, the name of its flush before and of this one, what goes on its tape (records), what that costs (on
-- each line a cost and its tenant), then for each generation that is looked at event by event a text: on its first line
-- the id, and 1 when the last event ends it; on the others the events (read_events). Returns the ids whose events could
-- not be taken. false, and nothing is done: this is not where the worker's tape goes on, so all is to be looked at.
local worker, before, this, tape, costs = unpack(ARGV, 2, 6)
local refused = {}

local function write_tape()
  local size = call('APPEND', key('tape', worker), tape)
  if size == #tape then call('EXPIRE', key('tape', worker), UNRELEASED) end
  for cost, tenant in string.gmatch(costs, '(%S+) ([^\n]+)') do
    charge(tenant, tonumber(cost))
  end
  for _, reader in ipairs(call('SMEMBERS', key('audience', worker))) do
    call('PUBLISH', key('reader', reader), tape)
  end
  if size > LONGEST_TAPE then file_tape(worker) end
end

if tape ~= '' then
  local last = call('HGET', key('flushes'), worker)
  if last ~= this then -- else it has come before, and its answer was lost
    if last ~= before then return false end
    write_tape()
  end
end
call('HSET', key('flushes'), worker, this)
for at = 7, #ARGV do
  local id, ends, events = string.match(ARGV[at], '^(%S+) (%d)\n(.*)$')
  file_job(id, worker)
  if not append(id, read_events(events), ends == '1', worker) then refused[#refused + 1] = id end
end
settle()
send_outbox()
return refused
