-- ARGV: time, worker, then for each generation its id, 1 when the last event ends it, the number of events, and
-- the events (read_events). Returns the ids whose events could not be taken.
local worker, at, refused = ARGV[2], 3, {}
while at <= #ARGV do
  local id, ends, count = ARGV[at], ARGV[at + 1] == '1', tonumber(ARGV[at + 2])
  if not append(id, read_events(at + 3, count), ends, worker) then refused[#refused + 1] = id end
  at = at + 3 + 3 * count
end
settle()
send_outbox()
return refused
