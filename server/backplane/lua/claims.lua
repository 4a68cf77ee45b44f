-- Decide on claims of one sale, in the order given.
-- KEYS room, log, sale, taken, answers, orders, order ids, outbox
-- ARGV channel, keep, keep_ms, fact gap ms, prefix of users' open orders; then for each claim: user, name, command id, quantity, order id
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
  for _ = 6, #ARGV, 5 do answer('unknown_sale', '', 0) end
  answers[1] = whole(now)
  return answers
end
settle(sale, now, events)
local left, limit = tonumber(sale.left), tonumber(sale.limit)
local placed, units, first_name = 0, 0, nil
local offer = ',"title":' .. text(sale.title) .. ',"price":' .. sale.price .. ',"amount":'
local terms = ',"currency":' .. text(sale.currency) .. ',"version":' .. sale.version .. ',"expires_at":null,"at":' .. whole(now) .. '}'
local sale_id = text(sale.id)

-- What is known of all these users is read in one go, and what changes is written in one go: a batch of 200
-- costs a dozen commands instead of two thousand. In between, these tables are the truth.
local users, questions = {}, {}
for i = 6, #ARGV, 5 do
  users[#users + 1] = ARGV[i]
  questions[#questions + 1] = ARGV[i] .. '\n' .. ARGV[i + 2]
end
local function known(key, fields)
  local values, map = redis.call('HMGET', key, unpack(fields)), {}
  for i, field in ipairs(fields) do map[field] = values[i] end
  return map
end
local answered = known(KEYS[5], questions)
local taken = limit and known(KEYS[4], users) or {}
local new_taken, new_answers, new_orders, new_ids = {}, {}, {}, {}

for n, question in ipairs(questions) do
  local i = 5 * n + 1
  local user, name, quantity, id = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 3]), ARGV[i + 4]
  local before = answered[question]
  if before then
    local order, asked, left_then = string.match(before, '^(%S+) (%d+) (%d+)$')
    if tonumber(asked) == quantity then answer('reserved', order, tonumber(left_then))
    else answer('id_reused', '', 0) end
  elseif sale.state == 'scheduled' or sale.state == 'paused' then
    answer('not_open', '', left)
  elseif not is_live(sale) then
    answer('closed', '', left)
  elseif limit and (tonumber(taken[user]) or 0) + quantity > limit then
    answer('limit_reached', '', left)
  elseif quantity > left then
    answer('sold_out', '', left)
  else
    left = left - quantity
    placed, units, first_name = placed + 1, units + quantity, first_name or name
    local order = '{"order":"' .. id .. '","sale":' .. sale_id .. ',"user":"' .. user .. '","name":' .. text(name)
      .. ',"quantity":' .. whole(quantity) .. ',"status":"placed"' .. offer .. whole(quantity * sale.price) .. terms
    if limit then
      taken[user] = (tonumber(taken[user]) or 0) + quantity
      new_taken[user] = whole(taken[user])
    end
    answered[question] = id .. ' ' .. whole(quantity) .. ' ' .. whole(left)
    new_answers[question] = answered[question]
    redis.call('RPUSH', ARGV[5] .. user, id)
    new_orders[id] = order
    new_ids[#new_ids + 1] = id
    orders[#orders + 1] = 'o' .. user .. ' ' .. order
    answer('reserved', id, left)
  end
end
if placed > 0 then
  local function write(key, map)
    local flat = {}
    for field, value in pairs(map) do flat[#flat + 1] = field; flat[#flat + 1] = value end
    if #flat > 0 then redis.call('HSET', key, unpack(flat)) end
  end
  write(KEYS[4], new_taken); write(KEYS[5], new_answers); write(KEYS[6], new_orders)
  redis.call('RPUSH', KEYS[7], unpack(new_ids))
  for _, id in ipairs(new_ids) do redis.call('XADD', KEYS[8], '*', 'order', id) end
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
