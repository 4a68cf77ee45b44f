-- Write down what came of an attempt.
-- KEYS endpoint, its lease, what it is owed
-- ARGV node, generation, entry id, how far it has come or '' if it was delivered, then fields and values of the endpoint
-- Returns 1, or 0 if the node may not act for it any more: then nothing is written, and it is delivered again.
if not held(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return 0 end
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[3], ARGV[3])
  redis.call('HINCRBY', KEYS[1], 'delivered', 1)
else
  redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
end
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
