-- Make a sale.
-- KEYS room, log, sales, idempotency key, run-sheet
-- ARGV channel, keep, keep_ms, prefix of the sale keys, most live sales, fingerprint or '' for no idempotency,
--      sku, title, price, currency, stock, limit or '', starts_at or '', ends_at or '', hold, gift, '1' if it may overlap
--      another sale of its sku; and for an item of the run-sheet: item or '', version of the sheet, delay and duration
--      in ms, or '' for none
-- Guarantees: a sale has its id before anyone sees it; it is open at once if it has begun. An item of the run-sheet
-- has one sale, however often it is started, and its times count from the start.
-- Returns the sale as JSON; {code, message}; or nil: the run-sheet is not of that version any more.
local now = now_ms()
local log = { room = KEYS[1], log = KEYS[2], channel = ARGV[1], keep = ARGV[2], keep_ms = tonumber(ARGV[3]) }
local room = redis.call('HMGET', KEYS[1], 'epoch', 'closed_at')
if not room[1] then return { 'unknown_room', 'there is no such room' } end
if ARGV[6] ~= '' then
  local seen, other = remembered(KEYS[4], ARGV[6])
  if other then return { 'id_reused', 'this Idempotency-Key was used for another request' } end
  if seen then return seen end
end
local item = ARGV[18]
if item ~= '' then
  local started = redis.call('HGET', KEYS[5], 'started:' .. item)
  if started then return sale_json(read_sale(ARGV[4] .. started)) end
  if redis.call('HGET', KEYS[5], 'version') ~= ARGV[19] then return nil end
  if ARGV[13] == '' then ARGV[13] = whole(now + tonumber(ARGV[20])) end
  if ARGV[21] ~= '' then ARGV[14] = whole(math.max(now, tonumber(ARGV[13])) + tonumber(ARGV[21])) end
end
if room[2] then return { 'room_closed', 'the room is closed' } end
if ARGV[14] ~= '' and tonumber(ARGV[14]) <= now then
  return { 'invalid', 'ends_at is in the past: now is ' .. whole(now) }
end
-- Until the host opens it a sale may begin at any time; until the host closes it, it may last for ever.
local from, until_ms = math.max(now, tonumber(ARGV[13]) or 0), tonumber(ARGV[14]) or math.huge
if until_ms < math.huge and tonumber(ARGV[15]) * 1000 > until_ms - from + 600000 then
  return { 'invalid', 'hold_seconds is at most the time until ends_at and a grace: '
    .. whole(math.floor((until_ms - from + 600000) / 1000)) }
end
local live = 0
for _, id in ipairs(redis.call('LRANGE', KEYS[3], -200, -1)) do
  local other = redis.call('HMGET', ARGV[4] .. id, 'state', 'sku', 'starts_at', 'ends_at')
  if other[1] ~= 'closed' and other[1] ~= 'cancelled' then
    live = live + 1
    if other[2] == ARGV[7] and ARGV[17] == '' and from < (tonumber(other[4]) or math.huge)
      and (tonumber(other[3]) or 0) < until_ms then
      return { 'wrong_state', 'sale ' .. id .. ' of this sku is ' .. other[1] .. ' at that time: close it, or give allow_overlap' }
    end
  end
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
  orders = 0, remaining = '', at = now, pend_orders = 0, pend_units = 0, pend_name = '', fact_at = 0
}
for name, value in pairs(values) do set(sale, name, value) end
local events = {}
become(sale, 'scheduled', now, events)
if sale.starts_at ~= '' and now >= tonumber(sale.starts_at) then become(sale, 'open', now, events) end
write_sale(sale)
redis.call('RPUSH', KEYS[3], id)
if item ~= '' then
  redis.call('HSET', KEYS[5], 'started:' .. item, id)
  redis.call('HINCRBY', KEYS[5], 'version', 1)
end
publish(log, events, {}, nil, now)
local json = sale_json(sale)
if ARGV[6] ~= '' then remember(KEYS[4], ARGV[6], json) end
return json
