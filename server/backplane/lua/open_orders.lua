-- Read the open orders of some users.
-- KEYS orders   ARGV prefix of the users' lists of open orders, user, ...
-- Returns for each user a JSON array, oldest first; of very many, the newest 100.
local answers = {}
for i = 2, #ARGV do
  local ids = redis.call('LRANGE', ARGV[1] .. ARGV[i], -100, -1)
  answers[i - 1] = #ids == 0 and '[]' or '[' .. table.concat(redis.call('HMGET', KEYS[1], unpack(ids)), ',') .. ']'
end
return answers
