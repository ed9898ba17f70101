-- ARGV: time, a tenant or ''. The counter served last and that tenant's, then everybody who waits: for each tenant in
-- a lane, the lane, the tenant, its counter and its line.
local found = { exact(served()), exact(counter(ARGV[2])) }
for _, lane in ipairs(call('ZRANGE', LANES, 0, -1)) do
  for _, entry in ipairs(call('ZRANGE', key('lane', lane), 0, -1)) do
    local tenant = string.match(entry, '^[^:]+:(.*)$')
    found[#found + 1] = { lane, tenant, exact(counter(tenant)), call('ZRANGE', key('line', lane, tenant), 0, -1) }
  end
end
return found
