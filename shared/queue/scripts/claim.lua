-- Claims the next shard: its state becomes running, with the next attempt, a higher fence and a lease.
-- Returns the fields of a claim, or nothing if there is no shard to claim.
-- Order: interactive before bulk; within a priority, the tenant with the smallest start tag (see turns.lua); of this tenant,
-- the lane that was served longest ago. If the oldest bulk shard has waited too long, bulk goes first at every second claim.
-- KEYS: leases
-- ARGV: prefix, owner, now as ISO 8601, lane to claim from or '' for any, free slots in the batch, longest wait of bulk in ms,
-- largest cost of a shard in slots, time in ms after which a waiting tenant makes a worker leave the lane or '' for never,
-- reader of the worker, highest format that it reads
local leases = KEYS[1]
local _, owner, now, wanted_lane, room, max_bulk_wait, max_cost, patience, reader, format = unpack(ARGV)

-- Whether a shard that waits in a queue may be claimed from it. An earlier version may have put it into a second queue, or
-- into that of shards that all can read.
local function is_claimable(queue, lane, ref)
  local state, section = unpack(redis.call('HMGET', prefix .. 'share:' .. ref, 'state', 'section'), 1, 2)
  if state ~= 'pending' then return false end
  if not section or can_read(section, reader, format) then return true end
  local priority, since = string.match(queue, '^[^@]+'), redis.call('HGET', prefix .. 'share:' .. ref, 'since')
  enqueue(prefix, priority, section, lane, since, ref)
  if has_readers(section) then park(prefix, ref) end
  return false
end

-- Claims one shard; nil if its job has finished or no longer exists, or if it must not be claimed.
local function take(queue, lane, ref)
  local id, number = string.match(ref, '^(.+):(%d+)$')
  local job, shard = prefix .. 'job:' .. id, prefix .. 'share:' .. ref
  redis.call('ZREM', pending_of(queue, lane), ref)
  local fields = redis.call('HMGET', job, 'fence', 'shares', 'attempt', 'state', 'tenant_share')
  local last_fence, shards, last_attempt, state, tenant_share = unpack(fields, 1, 5)
  local has_ended = state ~= 'queued' and state ~= 'running'
  if has_ended or not is_claimable(queue, lane, ref) then
    if has_ended then redis.call('DEL', shard) end
    end_turn(queue, lane)
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
  local size, resumes, section = unpack(redis.call('HMGET', shard, 'size', 'resumes', 'section'), 1, 3)
  if section then redis.call('ZREM', prefix .. 'parked', ref) end
  if section == exclude('', EARLIER) then redis.call('HDEL', shard, 'section') end -- any version may be able to read it
  local shared, tenant = split_lane(lane)
  charge(queue, tenant, math.min(tonumber(size), tonumber(max_cost)) / tonumber(tenant_share or 1))
  end_turn(queue, lane)
  return {id, tonumber(number), tonumber(fence), attempt, tonumber(size), tonumber(shards), shared, resumes == '1' and 1 or 0}
end

-- Claims the next shard of any lane; nil if none waits.
local function take_any(queue)
  while true do
    local tenant, lane, ref = find_turn(queue)
    if not tenant then return nil end
    local claim = take(queue, lane, ref)
    if claim then return claim end
  end
end

-- Claims the next shard of the wanted lane; nil if no shard of any lane waits, false if other lanes come before, or if the
-- shard does not fit into the batch.
local function take_wanted(queue)
  while true do
    local tenant = find_turn(queue)
    if not tenant then return nil end
    local lane, ref = find_in_lane(queue, wanted_lane, tenant)
    if not lane then return false end
    local is_first = lane == join_lane(wanted_lane, tenant)
    if not is_first and patience ~= '' and must_leave(queue, tenant, owner, tonumber(patience)) then return false end
    local size = tonumber(redis.call('HGET', prefix .. 'share:' .. ref, 'size') or 0)
    if size > tonumber(room) then return false end
    local claim = take(queue, lane, ref)
    if claim then return claim end
  end
end

-- Whether the worker has to leave its lane for the shards of a section, of which none is in the lane.
local function must_leave_for(queue)
  local tenant = wanted_lane ~= '' and patience ~= '' and find_turn(queue)
  if not tenant or find_in_lane(queue, wanted_lane, tenant) then return false end
  return must_leave(queue, tenant, owner, tonumber(patience))
end

-- The queues of a priority that the worker can read, each first in turn.
local function list_queues(priority, sections)
  local queues = {priority}
  if #sections == 0 then return queues end
  local first = redis.call('INCR', prefix .. 'turns:sections:next')
  for number = 0, #sections do
    local section = sections[(first + number) % (#sections + 1)] or ''
    queues[number + 1] = name_queue(priority, section)
  end
  return queues
end

-- Claims the next shard of a priority; nil if none waits, false if others come before.
local function take_next(priority, sections)
  local queues, answer = list_queues(priority, sections), nil
  for _, queue in ipairs(queues) do
    index_lanes(queue)
    if queue ~= priority and must_leave_for(queue) then return false end
  end
  for _, queue in ipairs(queues) do
    local claim
    if wanted_lane == '' then claim = take_any(queue) else claim = take_wanted(queue) end
    if claim then return claim end
    if claim == false then answer = false end
  end
  return answer
end

-- When the bulk shard that waits longest in the first lane of its queue was queued, in ms.
local function find_oldest_bulk(sections)
  local first
  for number = 0, #sections do
    local queue = name_queue('bulk', sections[number] or '')
    local lane = first_of(prefix .. 'lanes:' .. queue)
    if lane then
      local _, since = first_of(pending_of(queue, lane))
      if since and (not first or tonumber(since) < first) then first = tonumber(since) end
    end
  end
  return first
end

local sections, priorities = list_sections(prefix, reader, format), PRIORITIES
local oldest = find_oldest_bulk(sections)
if oldest and now_ms - oldest > tonumber(max_bulk_wait) then
  -- Only at every second claim, so that a long bulk queue does not stop interactive jobs.
  if redis.call('INCR', prefix .. 'turns') % 2 == 1 then priorities = {'bulk', 'interactive'} end
end
for _, priority in ipairs(priorities) do
  local claim = take_next(priority, sections)
  if claim ~= nil then return claim end
end
return false
