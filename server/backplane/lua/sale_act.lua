-- Change a sale as the host says, or read it.
-- KEYS room, log, sale, idempotency key
-- ARGV channel, keep, keep_ms, action, number of units (restock), fingerprint or '' for no idempotency
-- Guarantees: what the clock says happens first, so an action meets the sale as it truly stands; stock = left +
-- units sold before and after; one `sale` fact a change.
-- Returns the sale as JSON, or {code, message}.
local now = now_ms()
local log = { room = KEYS[1], log = KEYS[2], channel = ARGV[1], keep = ARGV[2], keep_ms = tonumber(ARGV[3]) }
local action, units = ARGV[4], tonumber(ARGV[5])
local sale = read_sale(KEYS[3])
if not sale then
  if redis.call('EXISTS', KEYS[1]) == 0 then return { 'unknown_room', 'there is no such room' } end
  return { 'unknown_sale', 'there is no such sale in this room' }
end
if ARGV[6] ~= '' then
  local seen, other = remembered(KEYS[4], ARGV[6])
  if other then return { 'id_reused', 'this Idempotency-Key was used for another request' } end
  if seen then return seen end
end
local events = {}
settle(sale, now, events)
local state, refused = sale.state, nil
if action == 'read' then
  -- settled, and nothing else; the sales of a closed room were closed with it
elseif action == 'open' and state == 'scheduled' then
  set(sale, 'starts_at', now)
  become(sale, 'open', now, events)
elseif action == 'pause' and state == 'open' then
  become(sale, 'paused', now, events)
elseif action == 'resume' and state == 'paused' then
  become(sale, sale.left == '0' and 'sold_out' or 'open', now, events)
elseif action == 'close' and is_live(sale) then
  become(sale, 'closed', now, events)
elseif action == 'cancel' and is_live(sale) then
  become(sale, 'cancelled', now, events)
elseif action == 'restock' and is_live(sale) then
  if tonumber(sale.stock) + units > 1000000000 then
    refused = { 'invalid', 'a sale holds at most 1000000000 units' }
  else
    set(sale, 'stock', tonumber(sale.stock) + units)
    set(sale, 'left', tonumber(sale.left) + units)
    become(sale, state == 'sold_out' and 'open' or state, now, events)
  end
else
  refused = { 'wrong_state', 'cannot ' .. action .. ' a sale that is ' .. state }
end
write_sale(sale)
if #events > 0 then publish(log, events, {}, nil, now) end
if refused then return refused end
local json = sale_json(sale)
if ARGV[6] ~= '' then remember(KEYS[4], ARGV[6], json) end
return json
