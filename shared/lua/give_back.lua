-- Puts a job back into the queue for whoever holds the fence; the attempt does not count. 0: it is not theirs.
-- KEYS: job, leases, pending, index of running, index of queued   ARGV: id, fence
local job, leases, pending, running, queued = unpack(KEYS)
local id, fence = unpack(ARGV)
local held = redis.call('HMGET', job, 'state', 'fence')
if held[1] ~= 'running' or held[2] ~= fence then return 0 end
local time = redis.call('TIME')
redis.call('HINCRBY', job, 'attempt', -1)
redis.call('HSET', job, 'state', 'queued')
redis.call('ZREM', leases, id)
redis.call('ZREM', running, id)
redis.call('ZADD', queued, 0, id)
redis.call('ZADD', pending, time[1] * 1000 + math.floor(time[2] / 1000), id)
return 1
