-- Tell a room of an order that was placed elsewhere.
-- KEYS room, log, nodes, sales, orders from elsewhere, idempotency key
-- ARGV channel, keep, keep_ms, prefix of the sale keys, fingerprint or '' for no idempotency, reference, name,
--      quantity, title, sale or '', price or '', currency
-- Guarantees: a reference is told and counted once; no sale's books are touched. One `order_placed` fact, with the
-- room's numbers beside it.
-- Returns the order as JSON, or {code, message}.
local now = now_ms()
local log = { room = KEYS[1], log = KEYS[2], channel = ARGV[1], keep = ARGV[2], keep_ms = tonumber(ARGV[3]) }
local room = redis.call('HMGET', KEYS[1], 'epoch', 'closed_at')
if not room[1] then return { 'unknown_room', 'there is no such room' } end
if ARGV[5] ~= '' then
  local seen, other = remembered(KEYS[6], ARGV[5])
  if other then return { 'id_reused', 'this Idempotency-Key was used for another request' } end
  if seen then return seen end
end
local is = '{"reference":' .. text(ARGV[6]) .. ',"name":' .. text(ARGV[7]) .. ',"quantity":' .. ARGV[8]
  .. ',"title":' .. text(ARGV[9]) .. ',"sale":' .. text(ARGV[10]) .. ',"price":' .. or_null(ARGV[11])
  .. ',"currency":' .. text(ARGV[12])
local json = redis.call('HGET', KEYS[5], ARGV[6])
if json then
  if string.match(json, '^(.*),"at":%d+}$') ~= is then
    return { 'id_reused', 'this reference was used for another order of this room' }
  end
else
  if room[2] then return { 'room_closed', 'the room is closed' } end
  if ARGV[10] ~= '' and redis.call('EXISTS', ARGV[4] .. ARGV[10]) == 0 then
    return { 'unknown_sale', 'there is no such sale in this room' }
  end
  json = is .. ',"at":' .. whole(now) .. '}'
  redis.call('HSET', KEYS[5], ARGV[6], json)
  redis.call('HINCRBY', KEYS[1], 'elsewhere', 1)
  local fact = 'f{"type":"order_placed","sale":' .. text(ARGV[10]) .. ',"name":' .. text(ARGV[7]) .. ',"quantity":'
    .. ARGV[8] .. ',"others":0,"at":' .. whole(now) .. '}'
  local live = {}
  for _, id in ipairs(redis.call('LRANGE', KEYS[4], -100, -1)) do
    local sale = read_sale(ARGV[4] .. id)
    if is_live(sale) then live[#live + 1] = sale end
  end
  publish(log, { fact }, {}, state_json(KEYS[1], KEYS[3], live, now), now)
end
if ARGV[5] ~= '' then remember(KEYS[6], ARGV[5], json) end
return json
