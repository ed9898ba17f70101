-- ARGV: time, worker, ids. Those it holds go to whoever claims next, without counting as a lost worker.
local worker = ARGV[2]
for n = 3, #ARGV do
  local id = ARGV[n]
  if call('HGET', key('job', id), 'holder') == worker then
    file_job(id, worker)
    forget_holder(id, worker)
    call('HINCRBY', key('job', id), 'attempts', -1)
    hand_over(id)
  end
end
send_outbox()
wake('')
