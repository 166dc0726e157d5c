-- Puts a shard back into the queue, at its earlier position. Returns 1, or 0 if the claim is void or the lease was renewed.
-- KEYS: job, shard, leases
-- ARGV: prefix, id, ref, fence of the claim or '' for any, lease that has expired or '' for any, '1' if the attempt counts,
-- maximum number of attempts, '1' if the next attempt must be made in a lane of its own, '1' if the shard must wait for a while

-- Makes a shard wait: one second, twice as long each time, at most a minute; one second again after five good minutes.
local function park(prefix, ref)
  local shard, time = prefix .. 'share:' .. ref, redis.call('TIME')
  local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  if now_ms - tonumber(redis.call('HGET', shard, 'parked') or 0) > 300000 then redis.call('HDEL', shard, 'pauses') end
  local pauses = redis.call('HINCRBY', shard, 'pauses', 1)
  local due_ms = now_ms + math.min(60000, 1000 * 2 ^ math.min(pauses - 1, 10))
  redis.call('HSET', shard, 'parked', string.format('%d', due_ms))
  redis.call('ZADD', prefix .. 'parked', due_ms, ref)
  return 1
end

local job, shard, leases = unpack(KEYS)
local prefix, id, ref, fence, beat, counts, max_attempts, alone, waits = unpack(ARGV)
local fields = redis.call('HMGET', shard, 'state', 'fence', 'lane', 'since', 'attempt')
local state, current_fence, lane, since, attempt = fields[1], fields[2], fields[3], fields[4], tonumber(fields[5])
if state ~= 'running' then
  redis.call('ZREM', leases, ref)
  return 0
end
if fence ~= '' and current_fence ~= fence then return 0 end
if beat ~= '' and redis.call('ZSCORE', leases, ref) ~= beat then return 0 end
-- Another job in the batch may have killed the worker: the last attempt is made without co-batching.
local isolate = alone == '1' or (counts == '1' and attempt + 1 == tonumber(max_attempts))
if isolate and not string.find(lane, '!' .. ref, 1, true) then lane = lane .. '!' .. ref end
if counts ~= '1' then
  attempt = redis.call('HINCRBY', shard, 'attempt', -1)
  if tonumber(redis.call('HGET', job, 'attempt')) == attempt + 1 then redis.call('HSET', job, 'attempt', attempt) end
end
redis.call('ZREM', leases, ref)
redis.call('HSET', shard, 'state', 'pending', 'lane', lane, 'resumes', 1)
redis.call('HINCRBY', job, 'fence', 1)
local priority, shards, left = unpack(redis.call('HMGET', job, 'priority', 'shares', 'left'))
local running = redis.call('HINCRBY', job, 'running', -1)
if running == 0 and shards == left then move(prefix, id, 'queued') end
if waits == '1' then return park(prefix, ref) end
redis.call('ZADD', prefix .. 'pending:' .. priority .. ':' .. lane, since, ref)
redis.call('ZADD', prefix .. 'lanes:' .. priority, 'NX', redis.call('INCR', prefix .. 'served'), lane)
return 1
