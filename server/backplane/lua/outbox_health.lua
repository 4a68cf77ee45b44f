-- Read endpoints with how they are.
-- KEYS names of the endpoints (set), outbox
-- ARGV prefix of the endpoints' keys, most entries to count, one name or '' for all
-- Returns for each endpoint, by name: {name, fields, number owed, number set aside, depth, id of the oldest or ''};
-- depth counts the owed and the entries after the cursor, to the most.
local answer = {}
local names = { ARGV[3] }
if ARGV[3] == '' then names = redis.call('SMEMBERS', KEYS[1]) end
table.sort(names)
for _, name in ipairs(names) do
  local key = ARGV[1] .. name
  local fields = redis.call('HGETALL', key)
  if #fields > 0 then
    local aside = 0
    for _, owing in ipairs(redis.call('HVALS', key .. ':owed')) do
      if string.sub(owing, -2) == ' 1' then aside = aside + 1 end
    end
    local owed = owed_ids(key .. ':owed')
    local fresh = redis.call('XRANGE', KEYS[2], '(' .. redis.call('HGET', key, 'cursor'), '+', 'COUNT', ARGV[2])
    local oldest = owed[1] or (fresh[1] and fresh[1][1]) or ''
    answer[#answer + 1] = { name, fields, #owed, aside, math.min(tonumber(ARGV[2]), #owed + #fresh), oldest }
  end
end
return answer
