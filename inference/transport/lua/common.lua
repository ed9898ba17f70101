-- What every script shares. KEYS[1] is the prefix, ARGV[1] the time or '' for the server's own clock.
-- LEASE, RETENTION, UNRELEASED, MAX_ATTEMPTS, STICKY, LONGEST_LOG, … are set in front of this text.
-- docs/protocol.md lists the keys. All share the prefix's hash tag, so that a cluster keeps them on one node.

local call = redis.call

local function key(...)
  return KEYS[1] .. table.concat({ ... }, ':')
end

-- A number as text that reads back as the same number.
local function exact(number)
  return string.format('%.17g', number)
end

local function read_clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local NOW = read_clock()
local STATE, COUNTERS, HEADS = key('state'), key('counters'), key('heads')
local UNRELEASED_JOBS = key('unreleased')
local LANES, WAITING, LEASES, RUNNING = key('lanes'), key('waiting'), key('leases'), key('running')

-- When this keyspace began: another value means that everything before it was forgotten.
local function since()
  call('HSETNX', STATE, 'since', exact(NOW))
  return call('HGET', STATE, 'since')
end

-- Workers call this whenever they ask. When nobody could for a while, the server was out of their reach, and those
-- that come back a moment later than the first are not to lose their jobs to it.
local AWAY, PATIENCE = 5, 3

local function are_leases_kept()
  local time = call('TIME')
  local now, states = tonumber(time[1]), call('HMGET', STATE, 'asked', 'patient_until')
  local patient = tonumber(states[2] or '0')
  if states[1] and now - tonumber(states[1]) > AWAY then
    patient = now + PATIENCE
    call('HSET', STATE, 'patient_until', patient)
  end
  call('HSET', STATE, 'asked', now)
  return now < patient
end

-- Whether the job has a log; one whose retention is over goes here.
local function known(id)
  local job = call('HMGET', key('job', id), 'seq', 'gone_at')
  if job[2] and tonumber(job[2]) < NOW then
    call('UNLINK', key('job', id), key('log', id))
    return false
  end
  return job[1] ~= false
end

-- Wake workers: one by name, or all by ''.
local function wake(worker)
  call('PUBLISH', key('work'), worker)
end

-- The fair queue (inference/fairness.py). A lane is a band, a kind and a model; it holds the tenants that wait in it by
-- counter, then by the arrival of their first job. A line is one tenant's jobs in a lane, in order.

local function counter(tenant)
  return tonumber(call('HGET', COUNTERS, tenant) or '0')
end

local function served()
  return tonumber(call('HGET', STATE, 'served') or '0')
end

-- A place in a line: 'id prompt weight arrival longest-answer'.
local function read_place(place)
  local id, prompt, weight, at = string.match(place, '^(%S+) (%S+) (%S+) (%S+)')
  return { id = id, prompt = tonumber(prompt), weight = tonumber(weight), at = tonumber(at), place = place }
end

-- Bring a tenant's entry in a lane up to date with the head of its line.
local function seat(lane, tenant)
  local field, head = lane .. ' ' .. tenant, call('ZRANGE', key('line', lane, tenant), 0, 0)[1]
  local old = call('HGET', HEADS, field)
  if old then call('ZREM', key('lane', lane), old) end
  if head then
    local entry = string.format('%020.6f:%s', read_place(head).at, tenant)
    call('HSET', HEADS, field, entry)
    call('ZADD', key('lane', lane), exact(counter(tenant)), entry)
    call('ZADD', LANES, string.match(lane, '^[^:]+'), lane)
    call('SADD', key('in', tenant), lane)
  else
    call('HDEL', HEADS, field)
    call('SREM', key('in', tenant), lane)
    if call('EXISTS', key('lane', lane)) == 0 then call('ZREM', LANES, lane) end
  end
end

-- A tenant that comes back from idle gets no credit for its absence.
local function lift(tenant)
  if call('EXISTS', key('in', tenant)) == 1 then return end
  local lowest
  for _, lane in ipairs(call('ZRANGE', LANES, 0, -1)) do
    local score = tonumber(call('ZRANGE', key('lane', lane), 0, 0, 'WITHSCORES')[2])
    if lowest == nil or score < lowest then lowest = score end
  end
  local lifted = math.max(counter(tenant), lowest or served())
  call('HSET', COUNTERS, tenant, exact(lifted))
end

local function push(id, first)
  local job = call('HMGET', key('job', id), 'tenant', 'lane', 'place', 'at')
  lift(job[1])
  local order = first and call('HINCRBY', STATE, 'first', -1) or call('HINCRBY', STATE, 'order', 1)
  call('ZADD', key('line', job[2], job[1]), order, job[3])
  call('ZADD', WAITING, job[4], id)
  seat(job[2], job[1])
end

-- Take a job out of the line; false when it does not wait.
local function unqueue(id)
  if call('ZREM', WAITING, id) == 0 then return false end
  local job = call('HMGET', key('job', id), 'tenant', 'lane', 'place')
  call('ZREM', key('line', job[2], job[1]), job[3])
  seat(job[2], job[1])
  return true
end

local function charge(tenant, cost)
  local total = exact(counter(tenant) + cost)
  call('HSET', COUNTERS, tenant, total)
  for _, lane in ipairs(call('SMEMBERS', key('in', tenant))) do
    call('ZADD', key('lane', lane), 'XX', total, call('HGET', HEADS, lane .. ' ' .. tenant))
  end
end

-- Token logs. What readers' processes are to hear is gathered, and sent as one message to each.

local outbox = {}

-- What one event is to readers, and on a tape: a line of its job, its number, its tokens and itself.
local function record(id, event)
  return '\n' .. id .. ' ' .. event[1] .. ' ' .. event[2] .. ' ' .. event[3]
end

local function tell(readers, id, events)
  for reader in string.gmatch(readers or '', '%S+') do
    local box = outbox[reader] or {}
    outbox[reader] = box
    for _, event in ipairs(events) do
      box[#box + 1] = record(id, event)
    end
  end
end

local function send_outbox()
  for reader, records in pairs(outbox) do
    call('PUBLISH', key('reader', reader), table.concat(records))
  end
end

-- What each tenant has under way of answers, divided by its weight (fairness.may_use_spare).
local function count_running(id, sign)
  local job = call('HMGET', key('job', id), 'tenant', 'weight', 'lane')
  if not string.match(job[3], '^[^:]+:answer:') then return end
  local share = call('ZINCRBY', RUNNING, exact(sign / tonumber(job[2])), job[1])
  if tonumber(share) < TINY then call('ZREM', RUNNING, job[1]) end
end

-- What its worker has written is in the log by then.
local function forget_holder(id, holder)
  if call('SREM', key('held', holder), id) == 1 then count_running(id, -1) end
  if call('EXISTS', key('held', holder)) == 0 then call('DEL', key('tape', holder), key('audience', holder)) end
  call('SREM', key('cancels', holder), id)
end

local function close_log(id, holder)
  if holder ~= '' then forget_holder(id, holder) end
  call('HSET', key('job', id), 'ended', exact(NOW), 'holder', '')
  call('HDEL', key('job', id), 'job', 'place', 'readers')
  call('ZADD', UNRELEASED_JOBS, exact(NOW), id)
  call('EXPIRE', key('job', id), UNRELEASED)
  call('EXPIRE', key('log', id), UNRELEASED)
end

-- What tenants owe for the tokens appended here: charged once for all of a flush (settle).
local owed = {}

local function settle()
  for tenant, cost in pairs(owed) do charge(tenant, cost) end
end

-- Append those of ``events`` ({seq, tokens, line}, in order) that follow what is there. False, and nothing done, when
-- events between are missing, or the job is not the writer's (nil: anybody's). To be settled; not so where they are
-- ``filed``, which have been told and charged before.
local function append(id, events, ends, writer, filed)
  local name = key('job', id)
  local job = call('HMGET', name, 'seq', 'tokens', 'tenant', 'weight', 'readers', 'holder')
  if not job[1] or (writer and job[6] ~= writer) then return false end
  local seq, tokens, new, lines = tonumber(job[1]), 0, {}, {}
  for _, event in ipairs(events) do
    if event[1] > seq then
      if event[1] ~= seq + 1 then return false end
      seq, tokens, new[#new + 1], lines[#lines + 1] = event[1], tokens + event[2], event, event[3]
    end
  end
  if #lines == 0 then return true end
  call('XADD', key('log', id), 'MAXLEN', '~', LONGEST_LOG, seq .. '-0', 'e', table.concat(lines, '\n'))
  call('HSET', name, 'seq', seq, 'tokens', tonumber(job[2]) + tokens)
  if filed then return true end
  if tokens > 0 then owed[job[3]] = (owed[job[3]] or 0) + tokens * OUTPUT_COST / tonumber(job[4]) end
  tell(job[5], id, new)
  if ends then close_log(id, job[6]) end
  return true
end

local ENDED = '{"v":%d,"kind":"ended","event":{"seq":%d,"reason":"%s","output_tokens":%d,"error_code":"%s",'
  .. '"error_message":"%s","at":%s}}'

-- End a job that no worker holds.
local function end_unheld(id, reason, code, message)
  local job = call('HMGET', key('job', id), 'seq', 'tokens')
  local seq = tonumber(job[1]) + 1
  local line = string.format(ENDED, VERSION, seq, reason, tonumber(job[2]), code, message, exact(NOW))
  append(id, { { seq, 0, line } }, true)
end

-- A worker is gone: back to the head of the line, or failed when the job took too many with it.
local function hand_over(id)
  local job = call('HMGET', key('job', id), 'cancelled', 'attempts')
  call('HSET', key('job', id), 'holder', '')
  if job[1] then
    end_unheld(id, 'cancelled', '', '')
  elseif tonumber(job[2]) < MAX_ATTEMPTS then
    push(id, true)
  else
    end_unheld(id, 'failed', 'worker_lost', 'The model stopped twice while writing this answer.')
  end
end

local function hold(id, worker)
  call('HSET', key('job', id), 'holder', worker)
  if call('SADD', key('held', worker), id) == 1 then count_running(id, 1) end
  for reader in string.gmatch(call('HGET', key('job', id), 'readers') or '', '%S+') do
    call('SADD', key('audience', worker), reader)
  end
  call('ZADD', LEASES, exact(NOW + LEASE), worker)
end

-- Events out of a text with one on each line: its sequence number, its tokens and itself.
local function read_events(text)
  local events = {}
  for seq, tokens, line in string.gmatch(text, '(%d+) (%d+) ([^\n]+)') do
    events[#events + 1] = { tonumber(seq), tonumber(tokens), line }
  end
  return events
end

-- A job's own fields from ARGV[first] on: id, json, tenant, lane, weight, arrival, conversation, place.
local function write_job(first)
  local id, json, tenant, lane, weight, at, conversation, place = unpack(ARGV, first, first + 7)
  call('HSET', key('job', id), 'job', json, 'tenant', tenant, 'lane', lane, 'weight', weight, 'at', at,
    'conversation', conversation, 'place', place, 'seq', 0, 'tokens', 0, 'attempts', 0, 'holder', '')
  return id
end
