-- Puts a shard back into the queue, at its earlier position. Returns 1, or 0 if the claim is void or the lease was renewed.
-- KEYS: job, shard, leases
-- ARGV: prefix, id, ref, fence of the claim or '' for any, lease that has expired or '' for any, '1' if the attempt counts,
-- maximum number of attempts, '1' if the next attempt must be made in a lane of its own, '1' if the shard must wait for a while,
-- reader that could not read the shard or ''
local job, shard, leases = unpack(KEYS)
local prefix, id, ref, fence, beat, counts, max_attempts, alone, waits, reader = unpack(ARGV)
local fields = redis.call('HMGET', shard, 'state', 'fence', 'lane', 'since', 'attempt', 'section')
local state, current_fence, lane, since, attempt, section = unpack(fields, 1, 6)
if state ~= 'running' then
  redis.call('ZREM', leases, ref)
  return 0
end
if fence ~= '' and current_fence ~= fence then return 0 end
if beat ~= '' and redis.call('ZSCORE', leases, ref) ~= beat then return 0 end
-- Another job in the batch may have killed the worker: the last attempt is made without co-batching.
local isolate = alone == '1' or (counts == '1' and tonumber(attempt) + 1 == tonumber(max_attempts))
if isolate and not string.find(lane, '!' .. ref, 1, true) then lane = lane .. '!' .. ref end
if counts ~= '1' then
  attempt = redis.call('HINCRBY', shard, 'attempt', -1)
  if tonumber(redis.call('HGET', job, 'attempt')) == attempt + 1 then redis.call('HSET', job, 'attempt', attempt) end
end
redis.call('ZREM', leases, ref)
section = section or ''
if reader ~= '' then
  section = exclude(section, reader)
  redis.call('HSET', shard, 'section', section)
end
redis.call('HSET', shard, 'state', 'pending', 'lane', lane, 'resumes', 1)
redis.call('HINCRBY', job, 'fence', 1)
local priority, shards, left = unpack(redis.call('HMGET', job, 'priority', 'shares', 'left'))
local running = redis.call('HINCRBY', job, 'running', -1)
if running == 0 and shards == left then move(prefix, id, 'queued') end
if waits == '1' or has_readers(section) then park(prefix, ref) end
if waits ~= '1' or reader ~= '' then enqueue(prefix, priority, section, lane, since, ref) end
return 1
