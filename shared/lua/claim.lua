-- Takes the next share: running, one attempt more, a higher fence, a lease. Nothing if there is none to take.
-- The lane that was served longest ago comes first, interactive before bulk, and bulk every other time when it has waited for too long.
-- KEYS: leases, lanes of interactive jobs, lanes of bulk jobs
-- ARGV: prefix, owner, now as ISO 8601, lane to stay in or '', room in the batch, patience in ms
local leases = KEYS[1]
local prefix, owner, now, wanted, room, patience = unpack(ARGV)
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function pending(rank, lane) return prefix .. 'pending:' .. rank .. ':' .. lane end
local function first(rank) return redis.call('ZRANGE', prefix .. 'lanes:' .. rank, 0, 0)[1] end

local function take(rank, lane, ref)
  local id, number = string.match(ref, '^(.+):(%d+)$')
  local job, share = prefix .. 'job:' .. id, prefix .. 'share:' .. ref
  redis.call('ZREM', pending(rank, lane), ref)
  if redis.call('EXISTS', pending(rank, lane)) == 0 then
    redis.call('ZREM', prefix .. 'lanes:' .. rank, lane)
  else
    redis.call('ZADD', prefix .. 'lanes:' .. rank, redis.call('INCR', prefix .. 'served'), lane)
  end
  local held = redis.call('HMGET', job, 'fence', 'shares', 'attempt', 'state')
  if held[4] ~= 'queued' and held[4] ~= 'running' then -- the job has ended, or is gone
    redis.call('DEL', share)
    return nil
  end
  -- By the clock, so that a fence is not handed out again after Redis was wiped.
  local fence = string.format('%d', math.max(tonumber(held[1]) + 1, now_ms))
  local attempt = redis.call('HINCRBY', share, 'attempt', 1)
  redis.call('HSET', share, 'state', 'running', 'owner', owner, 'fence', fence)
  redis.call('HSET', job, 'fence', fence, 'attempt', math.max(attempt, tonumber(held[3])))
  redis.call('HSETNX', job, 'started_at', now)
  redis.call('HINCRBY', job, 'running', 1)
  redis.call('ZADD', leases, fence, ref) -- no two claims of a share have a beat in common
  move(prefix, id, 'running')
  local facts = redis.call('HMGET', share, 'size', 'resumes')
  return {id, tonumber(number), tonumber(fence), attempt, tonumber(facts[1]), tonumber(held[2]), lane,
    facts[2] == '1' and 1 or 0}
end

local function look(rank, lane)
  while true do
    local ref = redis.call('ZRANGE', pending(rank, lane), 0, 0)[1]
    if not ref then return nil end
    local size = tonumber(redis.call('HGET', prefix .. 'share:' .. ref, 'size') or 0)
    if wanted ~= '' and size > tonumber(room) then return nil end
    local taken = take(rank, lane, ref)
    if taken then return taken end
  end
end

local ranks = {'interactive', 'bulk'}
local patient = first('bulk')
if patient then
  local oldest = redis.call('ZRANGE', pending('bulk', patient), 0, 0, 'WITHSCORES')
  if oldest[2] and now_ms - tonumber(oldest[2]) > tonumber(patience) then
    -- Every other time: a backlog must not keep those waiting who are in a hurry.
    if redis.call('INCR', prefix .. 'turns') % 2 == 1 then ranks = {'bulk', 'interactive'} end
  end
end
for _, rank in ipairs(ranks) do
  if wanted ~= '' then
    if redis.call('EXISTS', pending(rank, wanted)) == 1 then return look(rank, wanted) or false end
    if first(rank) then return false end -- others of this rank come before the rest of this lane
  else
    while true do
      local lane = first(rank)
      if not lane then break end
      local taken = look(rank, lane)
      if taken then return taken end
      redis.call('ZREM', prefix .. 'lanes:' .. rank, lane) -- nothing is left in it
    end
  end
end
return false
