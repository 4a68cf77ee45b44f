-- Read the feed, or note how far a consumer has it.
-- KEYS outbox, acknowledged positions by consumer (hash)
-- ARGV 'page', consumer or '', position or '' for the consumer's own, most entries; or 'ack', consumer, position;
--      or 'forget', consumer
-- Guarantees: an acknowledgement never goes back.
-- Returns for a page {position it starts after, last id of the outbox, entries...}; for an ack the position it is at;
-- for a consumer to forget 1 if there was one.
if ARGV[1] == 'forget' then return redis.call('HDEL', KEYS[2], ARGV[2]) end
local mine = ARGV[2] ~= '' and redis.call('HGET', KEYS[2], ARGV[2]) or '0-0'
if ARGV[1] == 'ack' then
  if not later(ARGV[3], mine) then return mine end
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
  return ARGV[3]
end
local start = ARGV[3] ~= '' and ARGV[3] or mine
local answer = { start, last_id(KEYS[1]) }
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. start, '+', 'COUNT', ARGV[4])) do
  answer[#answer + 1] = entry
end
return answer
