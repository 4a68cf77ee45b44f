-- Read a sale's ledger and all it must agree with, of one moment.
-- KEYS sale, orders
-- Guarantees: nothing changes between the parts, so that an audit may run while people buy. It holds the store for
-- some microseconds an entry.
-- Returns {sale JSON, last hash of the chain, {ledger entry...}, HGETALL of units taken, {waitlist entry...}, {order...},
-- {status, number of claims refused with it, ...}}, or nil for no sale.
local sale = read_sale(KEYS[1])
if not sale then return nil end
local entries = redis.call('LRANGE', KEYS[1] .. ':ledger', 0, -1)
local orders, seen = {}, {}
for _, entry in ipairs(entries) do
  local id = string.match(entry, '"what":"[a-z_]+","order":"([^"]+)"')
  if id and not seen[id] then
    seen[id] = true
    local order = redis.call('HGET', KEYS[2], id)
    if order then orders[#orders + 1] = order end
  end
end
local refused = {}
for _, status in ipairs({ 'sold_out', 'limit_reached', 'not_open', 'closed' }) do
  refused[#refused + 1] = status
  refused[#refused + 1] = redis.call('HGET', KEYS[1], 'refused_' .. status) or '0'
end
return {
  sale_json(sale), sale.chain, entries, redis.call('HGETALL', KEYS[1] .. ':taken'),
  redis.call('LRANGE', KEYS[1] .. ':waitlist', 0, -1), orders, refused
}
