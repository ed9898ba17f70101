-- A worker's tape: what it has written of all its jobs since the tape was last filed, each event a record. To write
-- there is one command a flush, to a log are three an event. Whoever reads or writes a job's log, or takes the job from
-- its worker, looks on the tape first.

-- The events of a job on a worker's tape, in order.
local function on_tape(id, worker)
  local events, tape = {}, worker ~= '' and call('GET', key('tape', worker)) or ''
  local mark = '\n' .. id .. ' '
  local from, to = string.find(tape, mark, 1, true)
  while from do
    local seq, tokens, line = string.match(tape, '^(%d+) (%d+) ([^\n]+)', to + 1)
    events[#events + 1] = { tonumber(seq), tonumber(tokens), line }
    from, to = string.find(tape, mark, to, true)
  end
  return events
end

-- File what is on the tape of one job.
local function file_job(id, worker)
  append(id, on_tape(id, worker), false, worker, true)
end

-- Whom a worker's tape is told: every process that reads one of its jobs.
local function find_audience(worker)
  local audience = key('audience', worker)
  call('DEL', audience)
  for _, id in ipairs(call('SMEMBERS', key('held', worker))) do
    for reader in string.gmatch(call('HGET', key('job', id), 'readers') or '', '%S+') do
      call('SADD', audience, reader)
    end
  end
  call('EXPIRE', audience, UNRELEASED)
end

-- File a whole tape, and begin it anew.
local function file_tape(worker)
  local runs = {}
  for id, seq, tokens, line in string.gmatch(call('GET', key('tape', worker)) or '', '(%S+) (%d+) (%d+) ([^\n]+)') do
    local run = runs[id] or {}
    runs[id], run[#run + 1] = run, { tonumber(seq), tonumber(tokens), line }
  end
  for id, run in pairs(runs) do append(id, run, false, worker, true) end
  call('DEL', key('tape', worker))
  find_audience(worker)
end

-- A job is taken from its worker, who is told: what it writes until it has heard that is looked at job by job.
local function lose(id, holder)
  file_job(id, holder)
  forget_holder(id, holder)
  call('HDEL', key('flushes'), holder)
  call('SADD', key('lost', holder), id)
  call('EXPIRE', key('lost', holder), 3600)
  wake(holder)
end

-- The events of a log after a number, and it may be some before it: a text for each flush.
local function entries(id, after)
  local lines = {}
  for _, entry in ipairs(call('XRANGE', key('log', id), string.format('%d-0', after + 1), '+')) do
    lines[#lines + 1] = entry[2][2]
  end
  local job = call('HMGET', key('job', id), 'seq', 'holder')
  for _, event in ipairs(on_tape(id, job[2] or '')) do
    if event[1] > math.max(after, tonumber(job[1])) then lines[#lines + 1] = event[3] end
  end
  return lines
end
