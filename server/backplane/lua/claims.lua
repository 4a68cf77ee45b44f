-- Decide on claims of one sale, in the order given.
-- KEYS room, log, sale, orders, order ids, outbox
-- ARGV channel, keep, keep_ms, prefix of users' open orders, fact gap ms, most that may wait; then for each claim:
--      user, name, command id, quantity, order id
-- Guarantees, together and at once: stock and the user's allowance are taken, the order is written, listed,
-- entered into the ledger, put in the outbox if there is nothing to pay first, and told; never more than there is.
-- A (user, command id) that took stock or a place in the waitlist gets the same answer again, or id_reused if it
-- asks for another quantity; a refusal took nothing and is decided afresh. order_placed facts are collapsed: at
-- most one per gap, with true counts; the rest is pending. Refusals are counted, once a call.
-- Returns {now, 1 if facts are pending, next due or '', then for each claim: status or error code, order id, units
-- left, expires_at or '', position or 0}.
local now = now_ms()
local log = { room = KEYS[1], log = KEYS[2], channel = ARGV[1], keep = ARGV[2], keep_ms = tonumber(ARGV[3]) }
local keys = { orders = KEYS[4], order_ids = KEYS[5], outbox = KEYS[6], open = ARGV[4] }
local FIRST = 7
local answers, events, out = { '', 0, '' }, {}, new_out()
local function answer(status, order, left, expires_at, position)
  local n = #answers
  answers[n + 1], answers[n + 2], answers[n + 3] = status, order, left
  answers[n + 4], answers[n + 5] = expires_at or '', position or 0
end
local sale = read_sale(KEYS[3])
if not sale then
  for _ = FIRST, #ARGV, 5 do answer('unknown_sale', '', 0) end
  answers[1] = whole(now)
  return answers
end
settle(sale, keys, now, events, out)

-- What is known of all these users is read in one go, and what changes is written in one go: a batch of 200
-- costs some dozen commands instead of two thousand. In between, these tables are the truth.
local users, questions = {}, {}
for i = FIRST, #ARGV, 5 do
  users[#users + 1] = ARGV[i]
  questions[#questions + 1] = ARGV[i] .. '\n' .. ARGV[i + 2]
end
local function known(part, fields)
  local values, map = redis.call('HMGET', sale.key .. part, unpack(fields)), {}
  for i, field in ipairs(fields) do map[field] = values[i] end
  return map
end
local answered, taken, waiters = known(':answers', questions), known(':taken', users), {}
if tonumber(sale.waiting) > 0 then waiters = known(':waiters', users) end
local new_taken, new_answers = {}, {}
local left, limit, hold = tonumber(sale.left), tonumber(sale.limit), tonumber(sale.hold)
local status = hold > 0 and 'reserved' or 'placed'
local placed, units, first_name, refusals = 0, 0, nil, {}

local function refuse(why)
  refusals[why] = (refusals[why] or 0) + 1
  answer(why, '', left)
end

-- Positions count from 1; tickets are given in order, and those served are the oldest.
local function position(user) return tonumber(waiters[user]) - (tonumber(redis.call('HGET', sale.key, 'tickets')) - tonumber(sale.waiting)) end

local function again(before, user, quantity)
  local order, asked, left_then, was, expires_at = string.match(before, '^(%S+) (%d+) (%d+) (%S+) ?(%d*)$')
  if tonumber(asked) ~= quantity then answer('id_reused', '', 0)
  elseif was == 'waitlisted' then
    if waiters[user] then answer('waitlisted', '', 0, '', position(user)) else answer('sold_out', '', left) end
  else
    answer('reserved', order, tonumber(left_then), expires_at)
  end
end

local function wait(user, name, id, quantity, order, question)
  if not waiters[user] then
    waiters[user] = redis.call('HINCRBY', sale.key, 'tickets', 1)
    redis.call('HSET', sale.key .. ':waiters', user, waiters[user])
    redis.call('RPUSH', sale.key .. ':waitlist', '{"user":"' .. user .. '","name":' .. text(name) .. ',"id":' .. text(id)
      .. ',"quantity":' .. whole(quantity) .. ',"order":"' .. order .. '"}')
    add(sale, 'waiting', 1)
    enter(sale, now, 'waitlisted', ',"user":"' .. user .. '","quantity":' .. whole(quantity) .. ',"order":"' .. order .. '"')
  end
  answered[question] = '- ' .. whole(quantity) .. ' 0 waitlisted '
  new_answers[question] = answered[question]
  answer('waitlisted', '', 0, '', position(user))
end

for n, question in ipairs(questions) do
  local i = FIRST + 5 * (n - 1)
  local user, name, quantity, id = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 3]), ARGV[i + 4]
  local had = tonumber(taken[user]) or 0
  if answered[question] then again(answered[question], user, quantity)
  elseif sale.state == 'scheduled' or sale.state == 'paused' then refuse('not_open')
  elseif not is_live(sale) then refuse('closed')
  elseif limit and had + quantity > limit then refuse('limit_reached')
  elseif quantity <= left then
    left = left - quantity
    local order = place(sale, keys, now, user, name, quantity, id, status, false, out)
    taken[user] = had + quantity
    new_taken[user] = whole(taken[user])
    local expires_at = order.expires_at and whole(order.expires_at) or ''
    answered[question] = id .. ' ' .. whole(quantity) .. ' ' .. whole(left) .. ' reserved ' .. expires_at
    new_answers[question] = answered[question]
    answer('reserved', id, left, expires_at)
    placed, units, first_name = placed + 1, units + quantity, first_name or name
  elseif left == 0 and hold > 0 and tonumber(sale.reserved) > 0 and tonumber(sale.waiting) < tonumber(ARGV[6]) then
    wait(user, name, ARGV[i + 2], quantity, id, question)
  else
    refuse('sold_out')
  end
end
for why, count in pairs(refusals) do redis.call('HINCRBY', sale.key, 'refused_' .. why, count) end
local function write(part, map)
  local flat = {}
  for field, value in pairs(map) do flat[#flat + 1] = field; flat[#flat + 1] = value end
  if #flat > 0 then redis.call('HSET', sale.key .. part, unpack(flat)) end
end
write(':taken', new_taken); write(':answers', new_answers)
if placed > 0 then
  if hold == 0 then count_placed(sale, first_name, placed, units) end
  if left == 0 then become(sale, 'sold_out', now, events) end
end
if tonumber(sale.pend_orders) > 0 and now - tonumber(sale.fact_at) >= tonumber(ARGV[5]) then tell_placed(sale, now, events) end
write_out(keys, out)
write_sale(sale)
if #events > 0 or #out.orders > 0 then publish(log, events, out.orders, nil, now) end
answers[1] = whole(now)
answers[2] = tonumber(sale.pend_orders) > 0 and 1 or 0
answers[3] = next_due(sale)
return answers
