-- Take up the next entries for an endpoint: it is owed them from now on, and its cursor is after them.
-- KEYS endpoint, its lease, what it is owed, outbox
-- ARGV node, generation, most entries to look at, then the types it wants (none: all)
-- Returns {entries looked at, then those it wants}, or nil if the node may not act for it any more.
if not held(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return nil end
local wanted = {}
for i = 4, #ARGV do wanted[ARGV[i]] = true end
local found = redis.call('XRANGE', KEYS[4], '(' .. redis.call('HGET', KEYS[1], 'cursor'), '+', 'COUNT', ARGV[3])
local answer = { #found }
for _, entry in ipairs(found) do
  if #ARGV < 4 or wanted[entry[2][2]] then  -- the type is the first field
    redis.call('HSET', KEYS[3], entry[1], UNTRIED)
    answer[#answer + 1] = entry
  end
end
if #found > 0 then redis.call('HSET', KEYS[1], 'cursor', found[#found][1]) end
return answer
