-- Close a room for good.
-- KEYS room, log, sales, idempotency key, orders, order ids, outbox
-- ARGV channel, keep, keep_ms, prefix of the sale keys, fingerprint or '' for no idempotency, prefix of users' open
--      orders
-- Guarantees: its live sales are closed and told, then the room; after this nothing is added and nothing sold.
-- Returns the offset of the last event, or {code, message}.
local now = now_ms()
local log = { room = KEYS[1], log = KEYS[2], channel = ARGV[1], keep = ARGV[2], keep_ms = tonumber(ARGV[3]) }
local room = redis.call('HMGET', KEYS[1], 'epoch', 'closed_at')
if not room[1] then return { 'unknown_room', 'there is no such room' } end
if ARGV[5] ~= '' then
  local seen, other = remembered(KEYS[4], ARGV[5])
  if other then return { 'id_reused', 'this Idempotency-Key was used for another request' } end
  if seen then return tonumber(seen) end
end
if room[2] then return { 'room_closed', 'the room is closed already' } end
local keys = { orders = KEYS[5], order_ids = KEYS[6], outbox = KEYS[7], open = ARGV[6] }
local events, out = {}, new_out()
for _, id in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do
  local sale = read_sale(ARGV[4] .. id)
  settle(sale, keys, now, events, out)
  if is_live(sale) then become(sale, 'closed', now, events) end
  write_out(keys, out)
  write_sale(sale)
end
events[#events + 1] = 'f{"type":"room_closed","at":' .. whole(now) .. '}'
redis.call('HSET', KEYS[1], 'closed_at', whole(now))
local last = publish(log, events, out.orders, nil, now)
if ARGV[5] ~= '' then remember(KEYS[4], ARGV[5], whole(last)) end
return last
