-- Read a room in one step.
-- KEYS room, log, nodes, sales
-- ARGV new epoch, '1' to make the room when there is none, epoch and offset of what the caller has (or ''),
--      how many batches at most, prefix of the sale keys
-- Guarantees: if the log is behind what the caller has of the same epoch, events were lost, and the room gets
-- the new epoch, so that no cursor can point to two different events.
-- Returns {HGETALL room, {sale JSON...}, state JSON, {batch...} oldest first, now}, or nil for no room.
local now = now_ms()
if ARGV[2] == '1' then ensure_room(KEYS[1], ARGV[1], '', now) end
local room = hash(KEYS[1])
if not room.epoch then return nil end
local from = '-'
if ARGV[3] == room.epoch then
  if tonumber(ARGV[4]) > tonumber(room.offset) then
    redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
    redis.call('DEL', KEYS[2])
  else
    from = ARGV[4] .. '-0'
  end
end
local batches = {}
local entries = redis.call('XREVRANGE', KEYS[2], '+', from, 'COUNT', ARGV[5])
for i = #entries, 1, -1 do batches[#batches + 1] = entries[i][2][2] end
local shown, live = {}, {}
for _, id in ipairs(redis.call('LRANGE', KEYS[4], -100, -1)) do
  local sale = read_sale(ARGV[6] .. id)
  shown[#shown + 1] = sale_json(sale)
  if is_live(sale) then live[#live + 1] = sale end
end
return { redis.call('HGETALL', KEYS[1]), shown, state_json(KEYS[1], KEYS[3], live, now), batches, whole(now) }
