-- Notes that a share has ended. -1: it is not theirs to end. The last one begins to put them together: its fence and
-- attempt; for the others 0.
-- KEYS: job, share, leases, share of the whole   ARGV: ref, fence, ref of the whole, owner
local job, share, leases, whole = unpack(KEYS)
local ref, fence, ref_of_whole, owner = unpack(ARGV)
local held = redis.call('HMGET', share, 'state', 'fence', 'lane', 'since')
if held[1] ~= 'running' or held[2] ~= fence then return -1 end
redis.call('ZREM', leases, ref)
redis.call('HSET', share, 'state', 'ended')
redis.call('HINCRBY', job, 'running', -1)
if redis.call('HINCRBY', job, 'left', -1) > 0 then return 0 end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local next_fence = string.format('%d', math.max(tonumber(redis.call('HGET', job, 'fence')) + 1, now_ms))
redis.call('HSET', job, 'fence', next_fence)
redis.call('HINCRBY', job, 'running', 1)
redis.call('HSET', whole, 'state', 'running', 'size', 1, 'attempt', 1, 'lane', held[3], 'since', held[4],
  'owner', owner, 'fence', next_fence)
redis.call('ZADD', leases, next_fence, ref_of_whole)
return {tonumber(next_fence), 1}
