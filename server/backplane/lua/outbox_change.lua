-- Make, change or remove an endpoint.
-- KEYS names of the endpoints (set), endpoint, its lease, what it is owed, outbox
-- ARGV name, 'put' or 'delete', generation it must have ('' for an endpoint that is not there yet), 1 if all it is
--      owed is to be due and untried, id after which all is to be delivered again or '', then fields and values
-- Guarantees: a change is made to what its maker has seen, or not at all; every change makes a new generation, so a
-- node that delivers by the old one can write nothing any more; a new endpoint begins with what comes next.
-- Returns 1, or 0 if the endpoint is not what was expected.
local generation = redis.call('HGET', KEYS[2], 'generation') or ''
if ARGV[2] == 'delete' then
  if generation == '' then return 0 end
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
  redis.call('SREM', KEYS[1], ARGV[1])
  return 1
end
if generation ~= ARGV[3] then return 0 end
if generation == '' then
  redis.call('SADD', KEYS[1], ARGV[1])
  redis.call('HSET', KEYS[2], 'cursor', last_id(KEYS[5]), 'generation', whole(now_ms()), 'created_at', whole(now_ms()))
end
local again = ARGV[5]
for _, id in ipairs(owed_ids(KEYS[4])) do
  if again ~= '' and later(id, again) then redis.call('HDEL', KEYS[4], id)
  elseif ARGV[4] == '1' then redis.call('HSET', KEYS[4], id, UNTRIED) end
end
if again ~= '' and later(redis.call('HGET', KEYS[2], 'cursor'), again) then redis.call('HSET', KEYS[2], 'cursor', again) end
for i = 6, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('HINCRBY', KEYS[2], 'generation', 1)
return 1
