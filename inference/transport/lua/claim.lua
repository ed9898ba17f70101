-- ARGV: time, worker, number of this request, free slots, free KV tokens, how many of the slots are spare.
-- Returns the seconds after which a job kept for another worker may be had ('' for none), then for each claim
-- the job, its attempt, its tenant's counter and the log's entries.
-- A request that is repeated, its answer having been lost, gets the same answer.
local WINDOW = 8 -- tenants, and jobs of each, looked at when those in front are kept for another worker
local worker, number, slots, kv_tokens = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local spare = tonumber(ARGV[6])
local held, claimed = key('held', worker), key('claimed', worker)
local kept

local function expire_leases()
  for _, gone in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', '(' .. exact(NOW))) do
    call('ZREM', LEASES, gone)
    file_tape(gone)
    for _, id in ipairs(call('SMEMBERS', key('held', gone))) do
      lose(id, gone)
      hand_over(id)
    end
  end
end

-- Tenants in the highest band this worker can serve, lowest counter first: {counter, entry, lane}.
local function waiting_tenants()
  local kind, model = string.match(call('HGET', key('models'), worker) or 'answer:', '^([^:]+):(.*)$')
  local band, tenants = nil, {}
  for _, lane in ipairs(call('ZRANGE', LANES, 0, -1)) do
    local lane_band, lane_kind, lane_model = string.match(lane, '^([^:]+):([^:]+):(.*)$')
    if band and lane_band ~= band then break end
    if lane_kind == kind and (model == '' or lane_model == model or lane_model == '') then
      band = lane_band
      local found = call('ZRANGE', key('lane', lane), 0, WINDOW - 1, 'WITHSCORES')
      for n = 1, #found, 2 do
        tenants[#tenants + 1] = { tonumber(found[n + 1]), found[n], lane }
      end
    end
  end
  table.sort(tenants, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[2] < b[2]
  end)
  return tenants
end

-- Delay scheduling: a conversation's next turn waits a moment for the worker that has its keys and values.
local function kept_for_another(id)
  local job = call('HMGET', key('job', id), 'prefers', 'prefers_until')
  if not job[1] or job[1] == worker then return false end
  local left = tonumber(job[2]) - NOW
  if left <= 0 then return false end
  kept = math.min(kept or left, left)
  return true
end

-- fairness.may_use_spare
local function may_use_spare(place, tenant, lane)
  if string.sub(lane, 1, 2) ~= '0:' then return false end
  local own = tonumber(call('ZSCORE', RUNNING, tenant) or '0')
  local found, most = call('ZREVRANGE', RUNNING, 0, 1, 'WITHSCORES'), 0
  for n = 1, #found, 2 do
    if found[n] ~= tenant then most = math.max(most, tonumber(found[n + 1])) end
  end
  return own < TINY or own + 1 / place.weight <= most + TINY
end

local function prompt_cost(place, lane)
  local cost = string.match(lane, '^[^:]+:([^:]+)') == 'answer' and PROMPT_COST or EMBEDDED_COST
  return place.prompt * cost / place.weight
end

-- The next job for this worker, as its place, tenant and lane; for a spare slot, as FairQueue.pop has it.
local function choose(for_spare)
  local head, after
  for _, entry in ipairs(waiting_tenants()) do
    local tenant, lane = string.match(entry[2], '^[^:]+:(.*)$'), entry[3]
    if head and tenant ~= head and entry[1] > after then return end
    for _, text in ipairs(tenant ~= head and call('ZRANGE', key('line', lane, tenant), 0, WINDOW - 1) or {}) do
      local place = read_place(text)
      if not kept_for_another(place.id) then
        if not for_spare or may_use_spare(place, tenant, lane) then return place, tenant, lane end
        if head then return end
        head, after = tenant, entry[1] + prompt_cost(place, lane)
        break
      end
    end
  end
end

local function count_sticky(id, conversation)
  if conversation == '' then return end
  local preferred = call('HGET', key('job', id), 'prefers')
  if preferred then call('HINCRBY', STATE, preferred == worker and 'sticky_hits' or 'sticky_misses', 1) end
  call('HDEL', key('job', id), 'prefers', 'prefers_until')
  call('SET', key('sticky', conversation), worker, 'EX', 3600)
end

local function lend(id)
  local job = call('HMGET', key('job', id), 'job', 'conversation')
  hold(id, worker)
  count_sticky(id, job[2])
  local attempt = call('HINCRBY', key('job', id), 'attempts', 1)
  call('HSET', key('job', id), 'counter', exact(served()))
  call('SADD', claimed, id)
  call('EXPIRE', claimed, 3600)
  return attempt
end

local function describe(id)
  local job = call('HMGET', key('job', id), 'job', 'attempts', 'counter')
  return { job[1], tonumber(job[2]), job[3], entries(id, 0) }
end

if not are_leases_kept() then expire_leases() end
local claims = {}
if call('HGET', key('requests'), worker) == number then
  for _, id in ipairs(call('SMEMBERS', claimed)) do
    if call('SISMEMBER', held, id) == 1 then claims[#claims + 1] = describe(id) end
  end
else
  call('HSET', key('requests'), worker, number)
  call('DEL', claimed)
end
while #claims < slots do
  local place, tenant, lane = choose(slots - #claims <= spare)
  -- A worker that holds nothing takes any job: what can never fit, its engine refuses by name.
  if not place or (place.prompt > kv_tokens and call('EXISTS', held) == 1) then break end
  kv_tokens = kv_tokens - place.prompt
  unqueue(place.id)
  call('HSET', STATE, 'served', exact(counter(tenant)))
  charge(tenant, prompt_cost(place, lane))
  lend(place.id)
  claims[#claims + 1] = describe(place.id)
end
send_outbox()
table.insert(claims, 1, kept and exact(kept) or '')
return claims
