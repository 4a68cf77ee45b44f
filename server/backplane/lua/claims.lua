-- Decide on claims of one sale, in the order given.
-- KEYS room, log, sale, taken, answers, orders, order ids, open, outbox
-- ARGV channel, keep, keep_ms, fact gap ms; then for each claim: user, name, command id, quantity, order id
-- Guarantees, together and at once: stock and the user's allowance are taken, the order is written, listed,
-- put in the outbox for the hand-off, and told; never more than there is. A (user, command id) that took stock
-- gets the same answer again, or id_reused if it asks for another quantity; a refusal took nothing and is
-- decided afresh. order_placed facts are collapsed: at most one per gap, with true counts; the rest is pending.
-- Returns {now, 1 if facts are pending, then for each claim: status or error code, order id, units left}.
local now = now_ms()
local log = { room = KEYS[1], log = KEYS[2], channel = ARGV[1], keep = ARGV[2], keep_ms = tonumber(ARGV[3]) }
local answers, events, orders = { '', 0 }, {}, {}
local function answer(status, order, left)
  answers[#answers + 1] = status; answers[#answers + 1] = order; answers[#answers + 1] = left
end
local sale = read_sale(KEYS[3])
if not sale then
  for _ = 5, #ARGV, 5 do answer('unknown_sale', '', 0) end
  answers[1] = whole(now)
  return answers
end
settle(sale, now, events)
local left, limit = tonumber(sale.left), tonumber(sale.limit)
local placed, units, first_name = 0, 0, nil
local offer = ',"title":' .. text(sale.title) .. ',"price":' .. sale.price .. ',"amount":'
local terms = ',"currency":' .. text(sale.currency) .. ',"version":' .. sale.version .. ',"expires_at":null,"at":' .. whole(now) .. '}'
for i = 5, #ARGV, 5 do
  local user, name, quantity, id = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 3]), ARGV[i + 4]
  local question = user .. '\n' .. ARGV[i + 2]
  local before = redis.call('HGET', KEYS[5], question)
  if before then
    local order, asked, left_then = string.match(before, '^(%S+) (%d+) (%d+)$')
    if tonumber(asked) == quantity then answer('reserved', order, tonumber(left_then))
    else answer('id_reused', '', 0) end
  elseif sale.state == 'scheduled' or sale.state == 'paused' then
    answer('not_open', '', left)
  elseif not is_live(sale) then
    answer('closed', '', left)
  elseif limit and (tonumber(redis.call('HGET', KEYS[4], user)) or 0) + quantity > limit then
    answer('limit_reached', '', left)
  elseif quantity > left then
    answer('sold_out', '', left)
  else
    left = left - quantity
    placed, units, first_name = placed + 1, units + quantity, first_name or name
    local order = '{"order":"' .. id .. '","sale":' .. text(sale.id) .. ',"user":' .. text(user) .. ',"name":' .. text(name)
      .. ',"quantity":' .. whole(quantity) .. ',"status":"placed"' .. offer .. whole(quantity * sale.price) .. terms
    redis.call('HINCRBY', KEYS[4], user, quantity)
    redis.call('HSET', KEYS[5], question, id .. ' ' .. whole(quantity) .. ' ' .. whole(left))
    redis.call('HSET', KEYS[6], id, order)
    redis.call('RPUSH', KEYS[7], id)
    local open = redis.call('HGET', KEYS[8], user)
    redis.call('HSET', KEYS[8], user, open and (open .. ' ' .. id) or id)
    redis.call('XADD', KEYS[9], '*', 'order', order)
    orders[#orders + 1] = 'o' .. user .. ' ' .. order
    answer('reserved', id, left)
  end
end
if placed > 0 then
  local pending = tonumber(sale.pend_orders)
  if pending == 0 then set(sale, 'pend_name', first_name) end
  set(sale, 'pend_orders', pending + placed)
  set(sale, 'pend_units', tonumber(sale.pend_units) + units)
  set(sale, 'left', left)
  set(sale, 'orders', tonumber(sale.orders) + placed)
  set(sale, 'units', tonumber(sale.units) + units)
  if left == 0 then become(sale, 'sold_out', now, events)
  elseif now - tonumber(sale.fact_at) >= tonumber(ARGV[4]) then tell_placed(sale, now, events) end
end
write_sale(sale)
if #events > 0 or #orders > 0 then publish(log, events, orders, nil, now) end
answers[1] = whole(now)
answers[2] = tonumber(sale.pend_orders) > 0 and 1 or 0
return answers
