-- Look at all endpoints in passing.
-- KEYS names of the endpoints (set), outbox
-- ARGV prefix of the endpoints' keys
-- Returns {last id of the outbox, then for each endpoint: name, generation, state, node that has its lease or ''}.
local answer = { last_id(KEYS[2]) }
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local is = redis.call('HMGET', ARGV[1] .. name, 'generation', 'state')
  if is[1] then
    answer[#answer + 1] = name
    answer[#answer + 1] = is[1]
    answer[#answer + 1] = is[2]
    answer[#answer + 1] = redis.call('GET', ARGV[1] .. name .. ':lease') or ''
  end
end
return answer
