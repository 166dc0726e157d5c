-- Takes a share from whoever fell silent, to end it: a higher fence and a new lease. Nothing if it was renewed since.
-- KEYS: job, share, leases   ARGV: ref, beat at which its lease ran out, owner
local job, share, leases = unpack(KEYS)
local ref, beat, owner = unpack(ARGV)
if redis.call('ZSCORE', leases, ref) ~= beat then return false end
if redis.call('HGET', share, 'state') ~= 'running' then
  redis.call('ZREM', leases, ref)
  return false
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local fence = string.format('%d', math.max(tonumber(redis.call('HGET', job, 'fence')) + 1, now_ms))
redis.call('HSET', job, 'fence', fence)
redis.call('HSET', share, 'owner', owner, 'fence', fence)
redis.call('ZINCRBY', leases, 1, ref)
return {tonumber(fence), tonumber(redis.call('HGET', share, 'attempt')), tonumber(redis.call('HGET', job, 'shares'))}
