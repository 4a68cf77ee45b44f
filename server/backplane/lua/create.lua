-- Make a room, or set the title of one that exists.
-- KEYS room   ARGV new epoch, title, '1' to set the title of an existing room
-- Guarantees: a room's epoch and log are never touched by this. Returns {1 if new, HGETALL of the room}.
local new = ensure_room(KEYS[1], ARGV[1], ARGV[2], now_ms())
if not new and ARGV[3] == '1' then redis.call('HSET', KEYS[1], 'title', ARGV[2]) end
return { new and 1 or 0, redis.call('HGETALL', KEYS[1]) }
