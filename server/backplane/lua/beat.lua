-- One node's beat for a room: likes in, viewer count renewed, sales settled, state told.
-- KEYS room, log, nodes, gate, then the keys of the sales to settle
-- ARGV channel, keep, keep_ms, node, sequence number of this node's beat, viewers, lease ms, likes, gate ms, fact gap ms
-- Guarantees: likes of a beat are added once, however often it is sent; the state is told at most once per
-- gate, for the whole cluster; a dead node's viewers are gone when its lease ends.
-- Returns {now, 1 if the state was told, 1 if order_placed facts are still pending}, or nil for no room.
local now = now_ms()
local log = { room = KEYS[1], log = KEYS[2], channel = ARGV[1], keep = ARGV[2], keep_ms = tonumber(ARGV[3]) }
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local lease = redis.call('HGET', KEYS[3], ARGV[4])
local last = lease and tonumber(string.match(lease, '%d+$')) or 0
if tonumber(ARGV[8]) > 0 and tonumber(ARGV[5]) > last then redis.call('HINCRBY', KEYS[1], 'likes', ARGV[8]) end
if tonumber(ARGV[5]) >= last then  -- an older beat that comes late must not bring an older count back
  redis.call('HSET', KEYS[3], ARGV[4], ARGV[6] .. ' ' .. whole(now + tonumber(ARGV[7])) .. ' ' .. ARGV[5])
end
local events, live, pending = {}, {}, 0
for i = 5, #KEYS do
  local sale = read_sale(KEYS[i])
  if sale then
    settle(sale, now, events)
    if tonumber(sale.pend_orders) > 0 then
      if now - tonumber(sale.fact_at) >= tonumber(ARGV[10]) then tell_placed(sale, now, events)
      else pending = 1 end
    end
    write_sale(sale)
    live[#live + 1] = sale
  end
end
local told = redis.call('SET', KEYS[4], '1', 'NX', 'PX', ARGV[9]) and 1 or 0
local state = told == 1 and state_json(KEYS[1], KEYS[3], live, now) or nil
publish(log, events, {}, state, now)
return { whole(now), told, pending }
