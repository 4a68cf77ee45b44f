-- Take, keep or give back an endpoint for a node: one node at a time delivers it.
-- KEYS endpoint, its lease, what it is owed, outbox
-- ARGV 'claim', 'keep' or 'release', node, ms, generation (keep)
-- Guarantees: a claim succeeds only while no other node's lease lasts.
-- Returns for a claim {fields, then for each entry owed, in order: {entry, how far it has come}}, or nil; else 1 or 0.
local what, node = ARGV[1], ARGV[2]
if what == 'release' then
  if redis.call('GET', KEYS[2]) ~= node then return 0 end
  return redis.call('DEL', KEYS[2])
end
if what == 'keep' then
  if not held(KEYS[1], KEYS[2], node, ARGV[4]) then return 0 end
  return redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
local holder = redis.call('GET', KEYS[2])
if redis.call('HGET', KEYS[1], 'state') ~= 'enabled' or (holder and holder ~= node) then return nil end
redis.call('SET', KEYS[2], node, 'PX', ARGV[3])
local answer = { redis.call('HGETALL', KEYS[1]) }
for _, id in ipairs(owed_ids(KEYS[3])) do
  local entry = redis.call('XRANGE', KEYS[4], id, id)[1]
  if entry then answer[#answer + 1] = { entry, redis.call('HGET', KEYS[3], id) }
  else redis.call('HDEL', KEYS[3], id) end
end
return answer
