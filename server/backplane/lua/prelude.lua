-- Shared by every script: put before it when it is loaded.
--
-- A room's message is text, one line an item; JSON never holds a raw newline, so it splits at newlines.
--   header   "1 <epoch> <offset of the first event> <number of events> <now>"
--   f<json>  a fact           c<json>  a comment         (these have offsets, in order)
--   o<user> <json>  an order, for its buyer alone        s<json>  the room's numbers
-- Every script that logs calls publish() once, so offset, stream and PUBLISH change together.

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Lua numbers are doubles; %d of a large one fails on some builds, and tostring() would write 1.79e+12.
local function whole(n) return string.format('%.0f', n) end

local function text(s) return cjson.encode(s) end

local function or_null(s) if s == nil or s == '' then return 'null' end return s end

local function hash(key)
  local flat, h = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do h[flat[i]] = flat[i + 1] end
  return h
end

-- Give the events their offsets, add them (and the orders) to the log, and publish them with the state.
-- log = {room =, log =, channel =, keep =, keep_ms =}. Returns the offset of the last event.
local function publish(log, events, orders, state, now)
  local count = #events
  local epoch = redis.call('HGET', log.room, 'epoch')
  local last = redis.call('HINCRBY', log.room, 'offset', count)
  local lines = { '1 ' .. epoch .. ' ' .. whole(last - count + 1) .. ' ' .. count .. ' ' .. whole(now) }
  for i = 1, count do lines[#lines + 1] = events[i] end
  for i = 1, #orders do lines[#lines + 1] = orders[i] end
  if #lines > 1 then
    -- The id is the cursor after the entry: what a cursor has not seen is what has a greater id.
    redis.call('XADD', log.log, 'MAXLEN', '~', log.keep, whole(last) .. '-*', 'b', table.concat(lines, '\n'))
    for _ = 1, 4 do  -- age: a few at a time, so the cost of an append stays constant
      local oldest = redis.call('XRANGE', log.log, '-', '+', 'COUNT', 1)[1]
      local at = oldest and tonumber(string.match(oldest[2][2], '^1 %S+ %d+ %d+ (%d+)'))
      if not at or at >= now - log.keep_ms or oldest[1] == whole(last) .. '-0' then break end
      redis.call('XDEL', log.log, oldest[1])
    end
  end
  if state then lines[#lines + 1] = 's' .. state end
  if #lines > 1 then redis.call('PUBLISH', log.channel, table.concat(lines, '\n')) end
  return last
end

-- The answer stored under an idempotency key, or nil; second value: the key was used for something else.
local function remembered(key, fingerprint)
  local seen = redis.call('HMGET', key, 'fingerprint', 'answer')
  if not seen[1] then return nil, false end
  if seen[1] ~= fingerprint then return nil, true end
  return seen[2], false
end

local function remember(key, fingerprint, answer)
  redis.call('HSET', key, 'fingerprint', fingerprint, 'answer', answer)
  redis.call('PEXPIRE', key, 86400000)
end

-- Make the room when there is none; returns whether it is new.
local function ensure_room(key, epoch, title, now)
  if redis.call('HSETNX', key, 'epoch', epoch) == 0 then return false end
  redis.call('HSET', key, 'offset', 0, 'title', title, 'created_at', whole(now), 'likes', 0)
  return true
end

-- --- sales ---------------------------------------------------------------------------------------------

local SALE_FIELDS = {
  'id', 'sku', 'title', 'price', 'currency', 'stock', 'left', 'limit', 'starts_at', 'ends_at', 'hold', 'state',
  'version', 'orders', 'units', 'at', 'pend_orders', 'pend_units', 'pend_name', 'fact_at'
}

local function read_sale(key)
  local values = redis.call('HMGET', key, unpack(SALE_FIELDS))
  if not values[1] then return nil end
  local sale = { key = key, changed = {} }
  for i, name in ipairs(SALE_FIELDS) do sale[name] = values[i] or '' end
  return sale
end

local function set(sale, name, value)
  if type(value) == 'number' then value = whole(value) end
  sale[name] = value
  sale.changed[name] = value
end

local function write_sale(sale)
  local flat = {}
  for name, value in pairs(sale.changed) do flat[#flat + 1] = name; flat[#flat + 1] = value end
  if #flat > 0 then redis.call('HSET', sale.key, unpack(flat)) end
  sale.changed = {}
end

local function sale_json(sale)
  return '{"type":"sale","sale":' .. text(sale.id) .. ',"sku":' .. text(sale.sku) .. ',"state":"' .. sale.state
    .. '","title":' .. text(sale.title) .. ',"price":' .. sale.price .. ',"currency":' .. text(sale.currency)
    .. ',"stock":' .. sale.stock .. ',"left":' .. sale.left .. ',"per_user_limit":' .. or_null(sale.limit)
    .. ',"starts_at":' .. or_null(sale.starts_at) .. ',"ends_at":' .. or_null(sale.ends_at)
    .. ',"hold_seconds":' .. sale.hold .. ',"orders":' .. sale.orders .. ',"version":' .. sale.version
    .. ',"at":' .. sale.at .. '}'
end

-- Log that orders were placed since it was last told: one fact for all of them.
local function tell_placed(sale, now, events)
  local orders = tonumber(sale.pend_orders) or 0
  if orders == 0 then return end
  events[#events + 1] = 'f{"type":"order_placed","sale":' .. text(sale.id) .. ',"name":' .. text(sale.pend_name)
    .. ',"quantity":' .. sale.pend_units .. ',"others":' .. whole(orders - 1) .. ',"at":' .. whole(now) .. '}'
  set(sale, 'pend_orders', 0); set(sale, 'pend_units', 0); set(sale, 'pend_name', ''); set(sale, 'fact_at', now)
end

-- Change a sale's state, and log it as it now stands. What is pending goes before, so the order is true.
local function become(sale, state, now, events)
  tell_placed(sale, now, events)
  set(sale, 'state', state)
  set(sale, 'version', tonumber(sale.version) + 1)
  set(sale, 'at', now)
  events[#events + 1] = 'f' .. sale_json(sale)
end

local function is_live(sale) return sale.state ~= 'closed' and sale.state ~= 'cancelled' end

-- Do what the clock says: open what has begun, close what has ended. Safe to call at any time, by anyone.
local function settle(sale, now, events)
  if sale.state == 'scheduled' and sale.starts_at ~= '' and now >= tonumber(sale.starts_at) then
    become(sale, 'open', now, events)
  end
  if is_live(sale) and sale.ends_at ~= '' and now >= tonumber(sale.ends_at) then
    become(sale, 'closed', now, events)
  end
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
  return '{"likes":' .. (redis.call('HGET', room, 'likes') or '0') .. ',"viewers":' .. whole(viewers)
    .. ',"stock":{' .. table.concat(stock, ',') .. '},"orders":{' .. table.concat(orders, ',') .. '}}'
end
