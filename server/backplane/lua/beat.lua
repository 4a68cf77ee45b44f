-- One node's beat for a room: likes in, viewer count renewed, sales settled, state told.
-- KEYS room, log, nodes, gate, orders, order ids, outbox, then the keys of the sales to settle
-- ARGV channel, keep, keep_ms, node, sequence number of this node's beat, viewers, lease ms, likes, gate ms, fact gap ms,
--      prefix of users' open orders
-- Guarantees: likes of a beat are added once, however often it is sent; the state is told at most once per
-- gate, for the whole cluster; a dead node's viewers are gone when its lease ends.
-- Returns {now, 1 if the state was told, 1 if order_placed facts are still pending, when a sale changes next by the
-- clock or ''}, or nil for no room.
local now = now_ms()
local log = { room = KEYS[1], log = KEYS[2], channel = ARGV[1], keep = ARGV[2], keep_ms = tonumber(ARGV[3]) }
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local lease = redis.call('HGET', KEYS[3], ARGV[4])
local last = lease and tonumber(string.match(lease, '%d+$')) or 0
if tonumber(ARGV[8]) > 0 and tonumber(ARGV[5]) > last then redis.call('HINCRBY', KEYS[1], 'likes', ARGV[8]) end
if tonumber(ARGV[5]) >= last then  -- an older beat that comes late must not bring an older count back
  redis.call('HSET', KEYS[3], ARGV[4], ARGV[6] .. ' ' .. whole(now + tonumber(ARGV[7])) .. ' ' .. ARGV[5])
end
local keys = { orders = KEYS[5], order_ids = KEYS[6], outbox = KEYS[7], open = ARGV[11] }
local events, live, pending, out, due = {}, {}, 0, new_out(), ''
for i = 8, #KEYS do
  local sale = read_sale(KEYS[i])
  if sale then
    settle(sale, keys, now, events, out)
    if tonumber(sale.pend_orders) > 0 then
      if now - tonumber(sale.fact_at) >= tonumber(ARGV[10]) then tell_placed(sale, now, events)
      else pending = 1 end
    end
    write_out(keys, out)
    write_sale(sale)
    local at = next_due(sale)
    if at ~= '' and (due == '' or tonumber(at) < tonumber(due)) then due = at end
    live[#live + 1] = sale
  end
end
local told = redis.call('SET', KEYS[4], '1', 'NX', 'PX', ARGV[9]) and 1 or 0
local state = told == 1 and state_json(KEYS[1], KEYS[3], live, now) or nil
publish(log, events, out.orders, state, now)
return { whole(now), told, pending, due }
