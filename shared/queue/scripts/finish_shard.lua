-- Marks one of several shards as ended. If it was the last shard, the caller also claims the assembly of the job.
-- Returns -1 if the claim is void, 0 if other shards are left, else fence and attempt of the assembly.
-- KEYS: job, shard, leases, shard record of the assembly   ARGV: ref, fence, ref of the assembly, owner
local job, shard, leases, assembly = unpack(KEYS)
local ref, fence, assembly_ref, owner = unpack(ARGV)
local state, current_fence, lane, since = unpack(redis.call('HMGET', shard, 'state', 'fence', 'lane', 'since'))
if state ~= 'running' or current_fence ~= fence then return -1 end
redis.call('ZREM', leases, ref)
redis.call('HSET', shard, 'state', 'ended')
redis.call('HINCRBY', job, 'running', -1)
if redis.call('HINCRBY', job, 'left', -1) > 0 then return 0 end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local next_fence = string.format('%d', math.max(tonumber(redis.call('HGET', job, 'fence')) + 1, now_ms))
redis.call('HSET', job, 'fence', next_fence)
redis.call('HINCRBY', job, 'running', 1)
redis.call('HSET', assembly, 'state', 'running', 'size', 1, 'attempt', 1, 'lane', lane, 'since', since,
  'owner', owner, 'fence', next_fence)
redis.call('ZADD', leases, next_fence, assembly_ref)
return {tonumber(next_fence), 1}
