-- Drop entries that are old and that everyone has.
-- KEYS outbox, names of the endpoints (set), acknowledged positions by consumer (hash)
-- ARGV prefix of the endpoints' keys, how long an entry stays at least, ms
-- Guarantees: what an endpoint that is not disabled, a consumer of the feed or a consumer group of the stream does
-- not have yet stays, however old it is.
-- Returns how many entries were dropped.
local from = whole(math.max(0, now_ms() - tonumber(ARGV[2]))) .. '-0'
local function stays(id) if id and later(from, id) then from = id end end
for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local is = redis.call('HMGET', ARGV[1] .. name, 'cursor', 'state')
  if is[1] and is[2] ~= 'disabled' then
    stays(is[1])
    stays(owed_ids(ARGV[1] .. name .. ':owed')[1])
  end
end
for _, position in ipairs(redis.call('HVALS', KEYS[3])) do stays(position) end
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local about = {}
  for i = 1, #group, 2 do about[group[i]] = group[i + 1] end
  stays(about['last-delivered-id'])
  local pending = redis.call('XPENDING', KEYS[1], about.name)
  if pending[1] > 0 then stays(pending[2]) end
end
return redis.call('XTRIM', KEYS[1], 'MINID', '=', from)
