-- Make a sale.
-- KEYS room, log, sales, idempotency key
-- ARGV channel, keep, keep_ms, prefix of the sale keys, most live sales, fingerprint or '' for no idempotency,
--      sku, title, price, currency, stock, limit or '', starts_at or '', ends_at or '', hold, gift
-- Guarantees: a sale has its id before anyone sees it; it is open at once if it has begun.
-- Returns the sale as JSON, or {code, message}.
local now = now_ms()
local log = { room = KEYS[1], log = KEYS[2], channel = ARGV[1], keep = ARGV[2], keep_ms = tonumber(ARGV[3]) }
local room = redis.call('HMGET', KEYS[1], 'epoch', 'closed_at')
if not room[1] then return { 'unknown_room', 'there is no such room' } end
if ARGV[6] ~= '' then
  local seen, other = remembered(KEYS[4], ARGV[6])
  if other then return { 'id_reused', 'this Idempotency-Key was used for another request' } end
  if seen then return seen end
end
if room[2] then return { 'room_closed', 'the room is closed' } end
if ARGV[14] ~= '' and tonumber(ARGV[14]) <= now then
  return { 'invalid', 'ends_at is in the past: now is ' .. whole(now) }
end
local live = 0
for _, id in ipairs(redis.call('LRANGE', KEYS[3], -200, -1)) do
  local state = redis.call('HGET', ARGV[4] .. id, 'state')
  if state ~= 'closed' and state ~= 'cancelled' then live = live + 1 end
end
if live >= tonumber(ARGV[5]) then
  return { 'wrong_state', 'the room has ' .. live .. ' sales that are not closed; close some first' }
end
local id = 's' .. redis.call('HINCRBY', KEYS[1], 'sale_count', 1)
local sale = { key = ARGV[4] .. id, changed = {}, entries = {} }
local values = {
  id = id, sku = ARGV[7], title = ARGV[8], price = ARGV[9], currency = ARGV[10], stock = ARGV[11], left = ARGV[11],
  reserved = 0, sold = 0, waiting = 0, tickets = 0, chain = id, gift = ARGV[16],
  limit = ARGV[12], starts_at = ARGV[13], ends_at = ARGV[14], hold = ARGV[15], state = 'scheduled', version = 0,
  orders = 0, at = now, pend_orders = 0, pend_units = 0, pend_name = '', fact_at = 0
}
for name, value in pairs(values) do set(sale, name, value) end
local events = {}
become(sale, 'scheduled', now, events)
if sale.starts_at ~= '' and now >= tonumber(sale.starts_at) then become(sale, 'open', now, events) end
write_sale(sale)
redis.call('RPUSH', KEYS[3], id)
publish(log, events, {}, nil, now)
local json = sale_json(sale)
if ARGV[6] ~= '' then remember(KEYS[4], ARGV[6], json) end
return json
