-- Write a room's run-sheet.
-- KEYS room, run-sheet (hash: version, items, and started:<item> for each that has a sale)
-- ARGV the version that is to be replaced, 0 for none; items as JSON
-- Guarantees: of two who replace the same version one wins, and a start counts as a replacement.
-- Returns the new version; nil, it is not that version any more; or {code, message}.
local room = redis.call('HMGET', KEYS[1], 'epoch', 'closed_at')
if not room[1] then return { 'unknown_room', 'there is no such room' } end
if room[2] then return { 'room_closed', 'the room is closed' } end
if (redis.call('HGET', KEYS[2], 'version') or '0') ~= ARGV[1] then return nil end
redis.call('HSET', KEYS[2], 'items', ARGV[2])
return redis.call('HINCRBY', KEYS[2], 'version', 1)
