-- Shared by the scripts that sell: put between the prelude and the script.
--
-- A sale's books: stock = left + reserved + sold, at every instant. An order is in one pool at a time, told by
-- its status; move() is the only way from one to another, and it keeps the books, the buyer's allowance, the
-- ledger, the outbox and what viewers are told together.

local SALE_FIELDS = {
  'id', 'sku', 'title', 'gift', 'price', 'currency', 'stock', 'left', 'reserved', 'sold', 'limit', 'starts_at', 'ends_at',
  'hold', 'state', 'version', 'orders', 'waiting', 'at', 'pend_orders', 'pend_units', 'pend_name', 'fact_at', 'chain', 'remaining'
}

local HOLDS_AT_ONCE = 200  -- expired in one call; the rest at the next, which is at once

local function read_sale(key)
  local values = redis.call('HMGET', key, unpack(SALE_FIELDS))
  if not values[1] then return nil end
  local sale = { key = key, changed = {}, entries = {} }
  for i, name in ipairs(SALE_FIELDS) do sale[name] = values[i] or '' end
  return sale
end

local function set(sale, name, value)
  if type(value) == 'number' then value = whole(value) end
  sale[name] = value
  sale.changed[name] = value
end

local function add(sale, name, n) set(sale, name, (tonumber(sale[name]) or 0) + n) end

local function write_sale(sale)
  local flat = {}
  for name, value in pairs(sale.changed) do flat[#flat + 1] = name; flat[#flat + 1] = value end
  if #flat > 0 then redis.call('HSET', sale.key, unpack(flat)) end
  sale.changed = {}
  if #sale.entries > 0 then redis.call('RPUSH', sale.key .. ':ledger', unpack(sale.entries)) end
  sale.entries = {}
end

local function sale_json(sale)
  return '{"type":"sale","sale":' .. text(sale.id) .. ',"sku":' .. text(sale.sku) .. ',"state":"' .. sale.state
    .. '","title":' .. text(sale.title) .. ',"gift":' .. text(sale.gift) .. ',"price":' .. sale.price
    .. ',"currency":' .. text(sale.currency) .. ',"stock":' .. sale.stock .. ',"left":' .. sale.left
    .. ',"reserved":' .. sale.reserved .. ',"sold":' .. sale.sold .. ',"per_user_limit":' .. or_null(sale.limit)
    .. ',"starts_at":' .. or_null(sale.starts_at) .. ',"ends_at":' .. or_null(sale.ends_at)
    .. ',"hold_seconds":' .. sale.hold .. ',"orders":' .. sale.orders .. ',"waiting":' .. sale.waiting
    .. ',"version":' .. sale.version .. ',"at":' .. sale.at .. '}'
end

-- Write an entry into the sale's ledger. Each carries the hash of the one before it and of itself, so that no
-- entry can be changed, left out or put in without the chain breaking.
local function enter(sale, now, what, fields)
  local entry = '{"at":' .. whole(now) .. ',"what":"' .. what .. '"' .. fields .. ',"stock":' .. sale.stock
    .. ',"left":' .. sale.left .. ',"reserved":' .. sale.reserved .. ',"sold":' .. sale.sold .. '}'
  local chain = redis.sha1hex(sale.chain .. entry)
  set(sale, 'chain', chain)
  sale.entries[#sale.entries + 1] = chain .. ' ' .. entry
end

-- Log that orders were placed since it was last told: one fact for all of them.
local function tell_placed(sale, now, events)
  local orders = tonumber(sale.pend_orders) or 0
  if orders == 0 then return end
  events[#events + 1] = 'f{"type":"order_placed","sale":' .. text(sale.id) .. ',"name":' .. text(sale.pend_name)
    .. ',"quantity":' .. sale.pend_units .. ',"others":' .. whole(orders - 1) .. ',"at":' .. whole(now) .. '}'
  set(sale, 'pend_orders', 0); set(sale, 'pend_units', 0); set(sale, 'pend_name', ''); set(sale, 'fact_at', now)
end

local function count_placed(sale, name, orders, units)
  if tonumber(sale.pend_orders) == 0 then set(sale, 'pend_name', name) end
  add(sale, 'pend_orders', orders)
  add(sale, 'pend_units', units)
end

-- Change a sale's state, and log it as it now stands. What is pending goes before, so the order is true.
local function become(sale, state, now, events)
  tell_placed(sale, now, events)
  set(sale, 'state', state)
  add(sale, 'version', 1)
  set(sale, 'at', now)
  events[#events + 1] = 'f' .. sale_json(sale)
  enter(sale, now, 'state', ',"state":"' .. state .. '","version":' .. sale.version .. ',"price":' .. sale.price
    .. ',"limit":' .. or_null(sale.limit))
end

local function is_live(sale) return sale.state ~= 'closed' and sale.state ~= 'cancelled' end

-- --- orders --------------------------------------------------------------------------------------------

-- Where the units of an order are, by its status. Final ones are no longer among the user's open orders.
local POOL = {
  reserved = 'reserved', placed = 'sold', paid = 'sold', handed_off = 'sold', accepted = 'sold', shipped = 'sold',
  completed = 'sold', cancel_requested = 'sold',
  expired = 'left', cancelled = 'left', rejected = 'left', refunded = 'left'
}
local FINAL = { expired = 1, cancelled = 1, rejected = 1, refunded = 1, completed = 1 }
-- What the supply partner is told: an order is theirs from the moment it is paid or placed.
local HANDED = { placed = 1, paid = 1, cancelled = 1, cancel_requested = 1, refunded = 1 }

-- Put into the platform's outbox what the partner is told, with the order as it stands. The type goes first.
local function hand(sale, keys, o, what, json, now)
  redis.call('XADD', keys.outbox, '*', 'type', 'order.' .. what, 'at', whole(now), 'room',
    string.match(sale.key, '^liveroom:{([^}]*)}'), 'order', o.order, 'status', o.status, 'json', json)
end

local function order_json(o)
  return '{"order":"' .. o.order .. '","sale":' .. text(o.sale) .. ',"user":"' .. o.user .. '","name":' .. text(o.name)
    .. ',"quantity":' .. whole(o.quantity) .. ',"status":"' .. o.status .. '","title":' .. text(o.title)
    .. ',"gift":' .. text(o.gift) .. ',"price":' .. whole(o.price) .. ',"amount":' .. whole(o.amount)
    .. ',"refunded":' .. whole(o.refunded) .. ',"currency":' .. text(o.currency) .. ',"version":' .. whole(o.version)
    .. ',"expires_at":' .. (o.expires_at and whole(o.expires_at) or 'null') .. ',"offered":' .. tostring(o.offered)
    .. ',"at":' .. whole(o.at) .. ',"changed_at":' .. whole(o.changed_at) .. '}'
end

local function read_order(keys, id)
  local json = redis.call('HGET', keys.orders, id)
  if not json then return nil end
  local o = cjson.decode(json)
  if o.expires_at == cjson.null then o.expires_at = nil end
  return o
end

-- Make an order under the offer as it now stands, in `status`. keys = {orders =, order_ids =, outbox =, open =}.
local function place(sale, keys, now, user, name, quantity, id, status, offered, out)
  local o = {
    order = id, sale = sale.id, user = user, name = name, quantity = quantity, status = status, title = sale.title,
    gift = sale.gift, price = tonumber(sale.price), amount = quantity * sale.price, refunded = 0,
    currency = sale.currency, version = tonumber(sale.version), offered = offered, at = now, changed_at = now
  }
  if status == 'reserved' then
    o.expires_at = now + tonumber(sale.hold) * 1000
    redis.call('ZADD', sale.key .. ':holds', o.expires_at, id)
    add(sale, 'reserved', quantity)
  else
    add(sale, 'sold', quantity)
    add(sale, 'orders', 1)
  end
  add(sale, 'left', -quantity)
  local json = order_json(o)
  out.new_orders[#out.new_orders + 1] = id; out.new_orders[#out.new_orders + 1] = json
  out.new_ids[#out.new_ids + 1] = id
  redis.call('RPUSH', keys.open .. user, id)
  if HANDED[status] then hand(sale, keys, o, status, json, now) end
  out.orders[#out.orders + 1] = 'o' .. user .. ' ' .. json
  enter(sale, now, status, ',"order":"' .. id .. '","user":"' .. user .. '","quantity":' .. whole(quantity)
    .. ',"price":' .. sale.price .. ',"version":' .. sale.version .. (offered and ',"offered":true' or ''))
  return o
end

local function new_out() return { new_orders = {}, new_ids = {}, orders = {} } end

local function write_out(keys, out)
  if #out.new_ids == 0 then return end
  redis.call('HSET', keys.orders, unpack(out.new_orders))
  redis.call('RPUSH', keys.order_ids, unpack(out.new_ids))
  out.new_orders, out.new_ids = {}, {}
end

-- Move an order to another status, with everything that goes with it. The caller has checked that it may.
local function move(sale, keys, o, status, now, out)
  local from, to = POOL[o.status], POOL[status]
  if o.status == 'shipped' and status == 'refunded' then to = 'sold' end  -- the goods are gone
  if o.status == 'reserved' then
    redis.call('ZREM', sale.key .. ':holds', o.order)
    if to == 'sold' then
      add(sale, 'orders', 1)
      count_placed(sale, o.name, 1, o.quantity)
    end
  end
  if from ~= to then
    add(sale, from, -o.quantity)
    add(sale, to, o.quantity)
    if to == 'left' then
      if from == 'sold' then add(sale, 'orders', -1) end
      redis.call('HINCRBY', sale.key .. ':taken', o.user, -o.quantity)
    end
  end
  local before = o.status
  o.status, o.changed_at = status, now
  if status ~= 'reserved' then o.expires_at = nil end
  local json = order_json(o)
  redis.call('HSET', keys.orders, o.order, json)
  if FINAL[status] then redis.call('LREM', keys.open .. o.user, 1, o.order) end
  local what = before == status and 'refunded' or status  -- the same status again: a part was refunded
  if HANDED[what] and before ~= 'reserved' or what == 'paid' then hand(sale, keys, o, what, json, now) end
  out.orders[#out.orders + 1] = 'o' .. o.user .. ' ' .. json
  enter(sale, now, status, ',"order":"' .. o.order .. '","user":"' .. o.user .. '","quantity":' .. whole(o.quantity)
    .. ',"from":"' .. before .. '"')
end

-- --- the waitlist --------------------------------------------------------------------------------------

-- Offer what came back to those who wait, in their order; each offer is a hold of its own, with its own timer.
-- Never to everyone at once: what is offered is not left.
local function offer(sale, keys, now, w, quantity, out)
  redis.call('HINCRBY', sale.key .. ':taken', w.user, quantity)
  place(sale, keys, now, w.user, w.name, quantity, w.order, 'reserved', true, out)
  redis.call('HSET', sale.key .. ':answers', w.user .. '\n' .. w.id,
    w.order .. ' ' .. whole(w.quantity) .. ' ' .. sale.left .. ' reserved ')
end

local function serve_waitlist(sale, keys, now, out)
  local list = sale.key .. ':waitlist'
  while tonumber(sale.left) > 0 and tonumber(sale.waiting) > 0 and (sale.state == 'open' or sale.state == 'sold_out') do
    local head = redis.call('LPOP', list)
    if not head then set(sale, 'waiting', 0); return end
    add(sale, 'waiting', -1)
    local w = cjson.decode(head)
    redis.call('HDEL', sale.key .. ':waiters', w.user)
    local quantity = math.min(w.quantity, tonumber(sale.left))
    if sale.limit ~= '' then  -- who bought elsewhere meanwhile gets no more than the limit leaves
      local had = tonumber(redis.call('HGET', sale.key .. ':taken', w.user)) or 0
      quantity = math.min(quantity, tonumber(sale.limit) - had)
    end
    if quantity > 0 then
      offer(sale, keys, now, w, quantity, out)
    else
      enter(sale, now, 'passed_over', ',"order":"' .. w.order .. '","user":"' .. w.user .. '"')
    end
  end
end

-- After units moved: those who wait first, then the state follows what is left.
-- held: units reserved before they moved. When the last hold of a sold out sale is gone, that is told too: now
-- nothing can come back, and nodes may answer claims without asking.
local function rebalance(sale, keys, now, events, out, held)
  serve_waitlist(sale, keys, now, out)
  if sale.state == 'open' and tonumber(sale.left) == 0 then become(sale, 'sold_out', now, events)
  elseif sale.state == 'sold_out' and tonumber(sale.left) > 0 then become(sale, 'open', now, events)
  elseif sale.state == 'sold_out' and held > 0 and sale.reserved == '0' then become(sale, 'sold_out', now, events) end
end

-- --- the clock -----------------------------------------------------------------------------------------

-- Do what the clock says: open what has begun, expire holds, close what has ended. Safe to call at any time, by
-- anyone, any number of times: whoever comes first does it, whoever comes later finds it done.
local function settle(sale, keys, now, events, out)
  if sale.state == 'scheduled' and sale.starts_at ~= '' and now >= tonumber(sale.starts_at) then
    become(sale, 'open', now, events)
  end
  local expired, held = false, tonumber(sale.reserved)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', sale.key .. ':holds', '-inf', now, 'LIMIT', 0, HOLDS_AT_ONCE)) do
    move(sale, keys, read_order(keys, id), 'expired', now, out)
    expired = true
  end
  if is_live(sale) and sale.ends_at ~= '' and now >= tonumber(sale.ends_at) then
    become(sale, 'closed', now, events)
  elseif expired then
    rebalance(sale, keys, now, events, out, held)
  end
end

-- When the sale changes next by the clock, or ''.
local function next_due(sale)
  local due = nil
  local function sooner(at) if at and at ~= '' and (not due or tonumber(at) < due) then due = tonumber(at) end end
  if sale.state == 'scheduled' then sooner(sale.starts_at) end
  if is_live(sale) then sooner(sale.ends_at) end
  sooner(redis.call('ZRANGE', sale.key .. ':holds', 0, 0, 'WITHSCORES')[2])
  return due and whole(due) or ''
end

-- The room's numbers as one JSON map. sales: those whose stock is told.
local function state_json(room, nodes, sales, now)
  local viewers = 0
  local leases = redis.call('HGETALL', nodes)
  for i = 1, #leases, 2 do
    local count, until_ms = string.match(leases[i + 1], '^(%d+) (%d+)')
    if tonumber(until_ms) >= now then viewers = viewers + tonumber(count)
    else redis.call('HDEL', nodes, leases[i]) end
  end
  local stock, orders = {}, {}
  for i, sale in ipairs(sales) do
    stock[i] = text(sale.id) .. ':' .. sale.left
    orders[i] = text(sale.id) .. ':' .. sale.orders
  end
  local numbers = redis.call('HMGET', room, 'likes', 'elsewhere')
  if numbers[2] then orders[#orders + 1] = '"":' .. numbers[2] end  -- orders placed elsewhere are of no sale
  return '{"likes":' .. (numbers[1] or '0') .. ',"viewers":' .. whole(viewers)
    .. ',"stock":{' .. table.concat(stock, ',') .. '},"orders":{' .. table.concat(orders, ',') .. '}}'
end
