-- Claims the next shard: its state becomes running, with the next attempt, a higher fence and a lease.
-- Returns the fields of a claim, or nothing if there is no shard to claim.
-- Order: interactive before bulk; within a priority, the tenant with the smallest start tag (see turns.lua); of this tenant,
-- the lane that was served longest ago. If the oldest bulk shard has waited too long, bulk goes first at every second claim.
-- KEYS: leases, lanes of interactive jobs, lanes of bulk jobs
-- ARGV: prefix, owner, now as ISO 8601, lane to claim from or '' for any, free slots in the batch, longest wait of bulk in ms,
-- largest cost of a shard in slots, time in ms after which a waiting tenant makes a worker leave the lane or '' for never
local leases = KEYS[1]
local _, owner, now, wanted_lane, room, max_bulk_wait, max_cost, patience = unpack(ARGV)

-- Claims one shard; nil if its job has finished or no longer exists.
local function take(priority, lane, ref)
  local id, number = string.match(ref, '^(.+):(%d+)$')
  local job, shard = prefix .. 'job:' .. id, prefix .. 'share:' .. ref
  redis.call('ZREM', pending_of(priority, lane), ref)
  local fields = redis.call('HMGET', job, 'fence', 'shares', 'attempt', 'state', 'tenant_share')
  local last_fence, shards, last_attempt, state, tenant_share = unpack(fields, 1, 5)
  if state ~= 'queued' and state ~= 'running' then
    redis.call('DEL', shard)
    end_turn(priority, lane)
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
  local shared, tenant = split_lane(lane)
  charge(priority, tenant, math.min(tonumber(size), tonumber(max_cost)) / tonumber(tenant_share or 1))
  end_turn(priority, lane)
  return {id, tonumber(number), tonumber(fence), attempt, tonumber(size), tonumber(shards), shared, resumes == '1' and 1 or 0}
end

-- Claims the next shard of any lane; nil if none waits.
local function take_any(priority)
  while true do
    local tenant, lane, ref = find_turn(priority)
    if not tenant then return nil end
    local claim = take(priority, lane, ref)
    if claim then return claim end
  end
end

-- Claims the next shard of the wanted lane; nil if no shard of any lane waits, false if other lanes come before, or if the
-- shard does not fit into the batch.
local function take_wanted(priority)
  while true do
    local tenant = find_turn(priority)
    if not tenant then return nil end
    local lane, ref = find_in_lane(priority, wanted_lane, tenant)
    if not lane then return false end
    local is_first = lane == join_lane(wanted_lane, tenant)
    if not is_first and patience ~= '' and must_leave(priority, tenant, owner, tonumber(patience)) then return false end
    local size = tonumber(redis.call('HGET', prefix .. 'share:' .. ref, 'size') or 0)
    if size > tonumber(room) then return false end
    local claim = take(priority, lane, ref)
    if claim then return claim end
  end
end

local priorities = {'interactive', 'bulk'}
local bulk_lane = first_of(KEYS[3])
if bulk_lane then
  local _, oldest = first_of(pending_of('bulk', bulk_lane))
  if oldest and now_ms - tonumber(oldest) > tonumber(max_bulk_wait) then
    -- Only at every second claim, so that a long bulk queue does not stop interactive jobs.
    if redis.call('INCR', prefix .. 'turns') % 2 == 1 then priorities = {'bulk', 'interactive'} end
  end
end
for _, priority in ipairs(priorities) do
  index_lanes(priority)
  local claim
  if wanted_lane == '' then claim = take_any(priority) else claim = take_wanted(priority) end
  if claim ~= nil then return claim end
end
return false
