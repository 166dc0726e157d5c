-- Takes a shard with an expired lease from its worker: a higher fence and a new lease.
-- Returns fence, attempt and number of shards, or nothing if the lease was renewed.
-- KEYS: job, shard, leases   ARGV: ref, lease that has expired, owner
local job, shard, leases = unpack(KEYS)
local ref, beat, owner = unpack(ARGV)
if redis.call('ZSCORE', leases, ref) ~= beat then return false end
if redis.call('HGET', shard, 'state') ~= 'running' then
  redis.call('ZREM', leases, ref)
  return false
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local fence = string.format('%d', math.max(tonumber(redis.call('HGET', job, 'fence')) + 1, now_ms))
redis.call('HSET', job, 'fence', fence)
redis.call('HSET', shard, 'owner', owner, 'fence', fence)
redis.call('ZINCRBY', leases, 1, ref)
return {tonumber(fence), tonumber(redis.call('HGET', shard, 'attempt')), tonumber(redis.call('HGET', job, 'shares'))}
