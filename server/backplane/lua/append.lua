-- Append events to a room's log, several appends in one call.
-- KEYS room, log, then one idempotency key for each append that has one
-- ARGV channel, keep, keep_ms; then for each append: index of its idempotency key or 0, fingerprint,
--      number of changed room fields, name and value of each, number of events, each event's line
-- Guarantees: an append is whole or not at all; appends of one call are neighbours in the log; a repeated
-- idempotency key appends nothing and returns the first offset.
-- Returns for each append: its last offset, or a declared error code.
local now = now_ms()
local log = { room = KEYS[1], log = KEYS[2], channel = ARGV[1], keep = ARGV[2], keep_ms = tonumber(ARGV[3]) }
local room = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'closed_at')
local answers, events, i = {}, {}, 4
local offset, closed = tonumber(room[2]), room[3]
while i <= #ARGV do
  local idem, fingerprint, changes = tonumber(ARGV[i]), ARGV[i + 1], tonumber(ARGV[i + 2])
  local fields = i + 3
  local count = tonumber(ARGV[fields + 2 * changes])
  local first = fields + 2 * changes + 1
  i = first + count
  local answer
  if not room[1] then
    answer = 'unknown_room'
  elseif idem > 0 then
    local seen, other = remembered(KEYS[2 + idem], fingerprint)
    if other then answer = 'id_reused' else answer = seen and tonumber(seen) end
  end
  if not answer and closed then answer = 'room_closed' end
  if not answer then
    for j = 0, changes - 1 do
      redis.call('HSET', KEYS[1], ARGV[fields + 2 * j], ARGV[fields + 2 * j + 1])
    end
    for j = first, first + count - 1 do events[#events + 1] = ARGV[j] end
    offset = offset + count
    answer = offset
    if idem > 0 then remember(KEYS[2 + idem], fingerprint, whole(offset)) end
  end
  answers[#answers + 1] = answer
end
if #events > 0 then publish(log, events, {}, nil, now) end
return answers
