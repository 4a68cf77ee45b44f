-- Read the open orders of some users.
-- KEYS open, orders   ARGV user, ...
-- Returns for each user a JSON array, oldest first.
local answers = {}
local lists = redis.call('HMGET', KEYS[1], unpack(ARGV))
for i = 1, #ARGV do
  local found = {}
  if lists[i] then
    for id in string.gmatch(lists[i], '%S+') do
      local order = redis.call('HGET', KEYS[2], id)
      if order then found[#found + 1] = order end
    end
  end
  answers[i] = '[' .. table.concat(found, ',') .. ']'
end
return answers
