-- Shared by the outbox scripts: put between the prelude and the script.
--
-- The outbox is one stream for the platform; the scripts that sell append to it together with the order. An
-- endpoint has a cursor in it, and a hash of the entries at or before the cursor that it is still owed:
-- entry id -> "<failed attempts> <first attempt, ms> <next attempt, ms> <1 if set aside>".

local UNTRIED = '0 0 0 0'

-- Whether stream id a is later than b; both whole, "<ms>-<number>".
local function later(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)%-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)%-(%d+)$')
  a_ms, b_ms = tonumber(a_ms), tonumber(b_ms)
  return a_ms > b_ms or (a_ms == b_ms and tonumber(a_seq) > tonumber(b_seq))
end

-- A stream's last id, also when that entry is gone; 0-0 for a stream that is not there.
local function last_id(stream)
  local about = redis.pcall('XINFO', 'STREAM', stream)
  if about.err then return '0-0' end
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then return about[i + 1] end
  end
  return '0-0'
end

-- Whether a node may still act for an endpoint: it has the lease, and no one changed the endpoint since.
local function held(webhook, lease, node, generation)
  if redis.call('GET', lease) ~= node then return false end
  local is = redis.call('HMGET', webhook, 'generation', 'state')
  return is[1] == generation and is[2] == 'enabled'
end

local function owed_ids(owed)
  local ids = redis.call('HKEYS', owed)
  table.sort(ids, function(a, b) return later(b, a) end)
  return ids
end
