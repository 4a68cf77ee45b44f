-- Change a sale as the host says, or read it.
-- KEYS room, log, sale, idempotency key, orders, order ids, outbox
-- ARGV channel, keep, keep_ms, action, number of units (restock), fingerprint or '' for no idempotency, prefix of
--      users' open orders, then name and new value of each change (change)
-- Guarantees: what the clock says happens first, so an action meets the sale as it truly stands; stock = left +
-- reserved + sold before and after; one `sale` fact a change. A sale paused with its clock (pause_clock) has as long
-- to go when it is resumed as it had then; both ends of it are facts.
-- Returns the sale as JSON, or {code, message}.

-- A price is a promise: while people buy, it may fall and limits may rise, and an extended end is told to everyone.
-- Returns nil, or why not; nothing is changed then.
local function change(sale, args, first)
  local begun = sale.state ~= 'scheduled'
  for i = first, #args, 2 do
    local name, value = args[i], args[i + 1]
    local was, new = tonumber(sale[name]), tonumber(value)
    if not begun then
      -- nobody was promised anything yet
    elseif name == 'price' and new > was then
      return { 'invalid', 'the price of a sale that has begun can only fall: it is ' .. sale.price }
    elseif name == 'limit' and value ~= '' and (not was or new < was) then
      return { 'invalid', 'per_user_limit of a sale that has begun can only rise' }
    elseif name == 'ends_at' and value ~= '' and (not was or new < was) then
      return { 'invalid', 'ends_at of a sale that has begun can only be extended' }
    elseif name ~= 'price' and name ~= 'limit' and name ~= 'ends_at' then
      return { 'invalid', name .. ' of a sale that has begun cannot change: orders were made under it' }
    end
  end
  for i = first, #args, 2 do set(sale, args[i], args[i + 1]) end
  return nil
end

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
local keys = { orders = KEYS[5], order_ids = KEYS[6], outbox = KEYS[7], open = ARGV[7] }
local events, out = {}, new_out()
settle(sale, keys, now, events, out)
local state, refused = sale.state, nil
if action == 'read' then
  -- settled, and nothing else; the sales of a closed room were closed with it
elseif action == 'open' and state == 'scheduled' then
  set(sale, 'starts_at', now)
  become(sale, 'open', now, events)
elseif action == 'pause' and state == 'open' then
  become(sale, 'paused', now, events)
elseif action == 'pause_clock' and state == 'open' then
  -- The end is taken away while it is paused, so that it cannot come; everyone sees that.
  if sale.ends_at ~= '' then
    set(sale, 'remaining', tonumber(sale.ends_at) - now)
    set(sale, 'ends_at', '')
  end
  become(sale, 'paused', now, events)
elseif action == 'resume' and state == 'paused' then
  if sale.remaining ~= '' then
    set(sale, 'ends_at', now + tonumber(sale.remaining))
    set(sale, 'remaining', '')
  end
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
    enter(sale, now, 'restock', ',"units":' .. whole(units))
    serve_waitlist(sale, keys, now, out)
    become(sale, state == 'sold_out' and tonumber(sale.left) > 0 and 'open' or state, now, events)
  end
elseif action == 'change' and is_live(sale) then
  refused = change(sale, ARGV, 8)
  if not refused then become(sale, state, now, events) end
else
  refused = { 'wrong_state', 'cannot ' .. string.gsub(action, '_clock$', '') .. ' a sale that is ' .. state }
end
write_out(keys, out)
write_sale(sale)
if #events > 0 or #out.orders > 0 then publish(log, events, out.orders, nil, now) end
if refused then return refused end
local json = sale_json(sale)
if ARGV[6] ~= '' then remember(KEYS[4], ARGV[6], json) end
return json
