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
