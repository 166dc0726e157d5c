-- Claims the next shard: its state becomes running, with the next attempt, a higher fence and a lease.
-- Returns the fields of a claim, or nothing if there is no shard to claim.
-- Order: interactive before bulk; within a priority, the lane that was served longest ago. If the oldest bulk shard has
-- waited too long, bulk goes first at every second claim.
-- KEYS: leases, lanes of interactive jobs, lanes of bulk jobs
-- ARGV: prefix, owner, now as ISO 8601, lane to claim from or '' for any, free slots in the batch, longest wait of bulk in ms
local leases = KEYS[1]
local prefix, owner, now, wanted_lane, room, max_bulk_wait = unpack(ARGV)
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function pending_of(priority, lane) return prefix .. 'pending:' .. priority .. ':' .. lane end
local function first_lane(priority) return redis.call('ZRANGE', prefix .. 'lanes:' .. priority, 0, 0)[1] end

-- Claims one shard; nil if its job has finished or no longer exists.
local function take(priority, lane, ref)
  local id, number = string.match(ref, '^(.+):(%d+)$')
  local job, shard = prefix .. 'job:' .. id, prefix .. 'share:' .. ref
  redis.call('ZREM', pending_of(priority, lane), ref)
  if redis.call('EXISTS', pending_of(priority, lane)) == 0 then
    redis.call('ZREM', prefix .. 'lanes:' .. priority, lane)
  else
    redis.call('ZADD', prefix .. 'lanes:' .. priority, redis.call('INCR', prefix .. 'served'), lane)
  end
  local fields = redis.call('HMGET', job, 'fence', 'shares', 'attempt', 'state')
  local last_fence, shards, last_attempt, state = fields[1], fields[2], fields[3], fields[4]
  if state ~= 'queued' and state ~= 'running' then
    redis.call('DEL', shard)
    return nil
  end
  -- At least the time, so that a fence is not used twice after Redis has lost its data.
  local fence = string.format('%d', math.max(tonumber(last_fence) + 1, now_ms))
  local attempt = redis.call('HINCRBY', shard, 'attempt', 1)
  redis.call('HSET', shard, 'state', 'running', 'owner', owner, 'fence', fence)
  redis.call('HSET', job, 'fence', fence, 'attempt', math.max(attempt, tonumber(last_attempt)))
  redis.call('HSETNX', job, 'started_at', now)
  redis.call('HINCRBY', job, 'running', 1)
  redis.call('ZADD', leases, fence, ref) -- the lease starts at the fence, so that two claims of a shard never have the same lease
  move(prefix, id, 'running')
  local size, resumes = unpack(redis.call('HMGET', shard, 'size', 'resumes'))
  return {id, tonumber(number), tonumber(fence), attempt, tonumber(size), tonumber(shards), lane, resumes == '1' and 1 or 0}
end

-- Claims the first shard of a lane that can be claimed; nil if there is none, or if it does not fit into the batch.
local function take_from(priority, lane)
  while true do
    local ref = redis.call('ZRANGE', pending_of(priority, lane), 0, 0)[1]
    if not ref then return nil end
    local size = tonumber(redis.call('HGET', prefix .. 'share:' .. ref, 'size') or 0)
    if wanted_lane ~= '' and size > tonumber(room) then return nil end
    local claim = take(priority, lane, ref)
    if claim then return claim end
  end
end

local priorities = {'interactive', 'bulk'}
local bulk_lane = first_lane('bulk')
if bulk_lane then
  local oldest = redis.call('ZRANGE', pending_of('bulk', bulk_lane), 0, 0, 'WITHSCORES')
  if oldest[2] and now_ms - tonumber(oldest[2]) > tonumber(max_bulk_wait) then
    -- Only at every second claim, so that a long bulk queue does not stop interactive jobs.
    if redis.call('INCR', prefix .. 'turns') % 2 == 1 then priorities = {'bulk', 'interactive'} end
  end
end
for _, priority in ipairs(priorities) do
  if wanted_lane ~= '' then
    if redis.call('EXISTS', pending_of(priority, wanted_lane)) == 1 then return take_from(priority, wanted_lane) or false end
    if first_lane(priority) then return false end -- other lanes of this priority come before the rest of the wanted lane
  else
    while true do
      local lane = first_lane(priority)
      if not lane then break end
      local claim = take_from(priority, lane)
      if claim then return claim end
      redis.call('ZREM', prefix .. 'lanes:' .. priority, lane) -- the lane is empty
    end
  end
end
return false
