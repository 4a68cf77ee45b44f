-- Move an order as its buyer, the platform or the supply partner says.
-- KEYS room, log, sale, orders, order ids, outbox, idempotency key
-- ARGV channel, keep, keep_ms, prefix of users' open orders, action, order, buyer or '' for the platform, amount to
--      refund or '' for the whole, fingerprint or '' for no idempotency
-- Guarantees: what the clock says happens first, so a payment and an expiry of the same millisecond have one winner
-- and the other is told the state it met; books, allowance, ledger, outbox and what is told change together; an
-- action that was done is not done again.
-- Returns the order as JSON, or {code, message}.
local now = now_ms()
local log = { room = KEYS[1], log = KEYS[2], channel = ARGV[1], keep = ARGV[2], keep_ms = tonumber(ARGV[3]) }
local keys = { orders = KEYS[4], order_ids = KEYS[5], outbox = KEYS[6], open = ARGV[4] }
local action, buyer, fingerprint = ARGV[5], ARGV[7], ARGV[9]

-- What each action makes of each status; what is not here is refused. docs/sales.md draws it.
local NEXT = {
  pay = { reserved = 'paid' },
  cancel_mine = { reserved = 'cancelled' },
  cancel = { reserved = 'cancelled', placed = 'cancelled', paid = 'cancelled', handed_off = 'cancel_requested', accepted = 'cancel_requested' },
  hand_off = { placed = 'handed_off', paid = 'handed_off' },
  accept = { handed_off = 'accepted' },
  reject = { handed_off = 'rejected', accepted = 'rejected' },
  ship = { handed_off = 'shipped', accepted = 'shipped' },
  complete = { shipped = 'completed' },
  accept_cancel = { cancel_requested = 'cancelled' },
  refuse_cancel = { cancel_requested = 'accepted' },
  refund = { placed = 'refunded', paid = 'refunded', handed_off = 'refunded', accepted = 'refunded', shipped = 'refunded', cancel_requested = 'refunded' }
}
if fingerprint ~= '' then
  local seen, other = remembered(KEYS[7], fingerprint)
  if other then return { 'id_reused', 'this Idempotency-Key was used for another request' } end
  if seen then return seen end
end
local sale = read_sale(KEYS[3])
if not sale then return { 'unknown_order', 'there is no such order in this room' } end
local events, out = {}, new_out()
settle(sale, keys, now, events, out)
local order, refused = read_order(keys, ARGV[6]), nil
if not order or (buyer ~= '' and order.user ~= buyer) then
  refused = { 'unknown_order', buyer ~= '' and 'you have no such order in this room' or 'there is no such order in this room' }
else
  local status = NEXT[action][order.status]
  local done = false
  for _, after in pairs(NEXT[action]) do done = done or after == order.status end
  local amount = tonumber(ARGV[8])
  if status and action == 'refund' then
    local open_amount = order.amount - order.refunded
    if amount and amount > open_amount then
      refused = { 'invalid', 'a refund is at most what was paid and not yet refunded: ' .. whole(open_amount) }
    else
      order.refunded = order.refunded + (amount or open_amount)
      enter(sale, now, 'refund', ',"order":"' .. order.order .. '","amount":' .. whole(amount or open_amount))
      if order.refunded < order.amount then status = order.status end
    end
  end
  if refused then
    -- told below
  elseif status then
    local held = tonumber(sale.reserved)
    move(sale, keys, order, status, now, out)
    rebalance(sale, keys, now, events, out, held)
  elseif not done then
    refused = { 'wrong_state', 'cannot ' .. string.gsub((string.gsub(action, '_mine$', '')), '_', ' ') .. ' an order that is ' .. order.status }
  end
end
if tonumber(sale.pend_orders) > 0 then tell_placed(sale, now, events) end
write_out(keys, out)
write_sale(sale)
if #events > 0 or #out.orders > 0 then publish(log, events, out.orders, nil, now) end
if refused then return refused end
local json = redis.call('HGET', KEYS[4], ARGV[6])
if fingerprint ~= '' then remember(KEYS[7], fingerprint, json) end
return json
