-- ARGV: time, worker, then for each generation a text: on its first line the id, and 1 when the last event ends it; on
-- the others the events (read_events). Returns the ids whose events could not be taken.
local worker, refused = ARGV[2], {}
for at = 3, #ARGV do
  local id, ends, events = string.match(ARGV[at], '^(%S+) (%d)\n(.*)$')
  if not append(id, read_events(events), ends == '1', worker) then refused[#refused + 1] = id end
end
settle()
send_outbox()
return refused
